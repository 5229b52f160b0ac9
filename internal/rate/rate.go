// Package rate limits the bytes a second that several senders send together: a
// token bucket.
package rate

import (
	"context"
	"io"
	"sync"
	"time"

	"purr/internal/sys"
)

// A bucket is a token bucket without a clock. It counts in time: each byte
// takes 1/rate seconds, and all bytes taken so far are sent at due.
type bucket struct {
	rate int64         // bytes a second
	due  time.Duration // on the clock of take
}

// bucketDepth is how far a sender may catch up after a slow source or a late
// timer. It is also the longest burst.
const bucketDepth = 50 * time.Millisecond

// take takes n bytes at the time now and returns how long they have to wait.
func (b *bucket) take(now time.Duration, n int) time.Duration {
	b.due = max(b.due, now-bucketDepth)
	wait := max(0, b.due-now)
	b.due += time.Duration(float64(n) / float64(b.rate) * float64(time.Second))
	return wait
}

// A Limiter is a token bucket for several senders. Any goroutine may use it;
// nil is no limit.
type Limiter struct {
	begun time.Time

	mu     sync.Mutex
	bucket bucket
}

// New returns a Limiter of rate bytes a second, nil if rate is 0.
func New(rate int64) *Limiter {
	if rate == 0 {
		return nil
	}
	return &Limiter{begun: time.Now(), bucket: bucket{rate: rate}}
}

// Book takes n bytes from the limit without waiting. It returns how long the
// caller has to wait before it sends them.
func (l *Limiter) Book(n int) time.Duration {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket.take(time.Since(l.begun), n)
}

// Wait waits until n more bytes may be sent. It returns the cause of ctx if
// that ends first.
func (l *Limiter) Wait(ctx context.Context, n int) error {
	if d := l.Book(n); d > 0 && !sys.Sleep(ctx, d) {
		return context.Cause(ctx)
	}
	return nil
}

// sliceTime is the time that the bytes of one slice take: short enough to be
// smooth, long enough for few system calls.
const sliceTime = 20 * time.Millisecond

// Slice returns the most bytes to send at once: what the limit allows in
// sliceTime, at least 1 and at most max. A nil limit allows max.
func (l *Limiter) Slice(max int) int {
	if l == nil {
		return max
	}
	return int(min(int64(max), 1+l.bucket.rate/int64(time.Second/sliceTime)))
}

// Chunk is Slice for frames with a header: at least 1 KiB, if most allows it,
// so that the headers are a small part.
func (l *Limiter) Chunk(most int) int { return max(l.Slice(most), min(most, 1<<10)) }

// A Writer writes in slices, each after Admit. A copier inside the kernel,
// which needs the connection itself, calls Admit and uses the inner Writer.
type Writer struct {
	io.Writer
	Limit *Limiter
	Admit func(n int) error // waits until n bytes may be sent
}

// Write writes b. It returns the error of Admit or of the inner Writer.
func (w *Writer) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		n := w.Limit.Slice(len(b) - written)
		if err := w.Admit(n); err != nil {
			return written, err
		}
		n, err := w.Writer.Write(b[written : written+n])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
