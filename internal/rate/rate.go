// Package rate is a token bucket that many senders share.
package rate

import (
	"context"
	"io"
	"sync"
	"time"

	"purr/internal/sys"
)

// A bucket is the arithmetic of a limiter, without a clock: a token bucket
// that counts in time. Every byte costs a moment, and what has been taken is
// paid for at due.
type bucket struct {
	rate int64         // bytes a second
	due  time.Duration // on the clock that take is told
}

// bucketDepth is how far a sender that was held up, by its source or by a late
// timer, may catch up. It is also all that can go out at once.
const bucketDepth = 50 * time.Millisecond

// take books n bytes at the time now and returns how long they have to wait.
func (b *bucket) take(now time.Duration, n int) time.Duration {
	b.due = max(b.due, now-bucketDepth)
	wait := max(0, b.due-now)
	b.due += time.Duration(float64(n) / float64(b.rate) * float64(time.Second))
	return wait
}

// A Limiter is one bucket for everybody who sends. Its methods may be called
// from many goroutines; nil is no limit.
type Limiter struct {
	begun time.Time

	mu     sync.Mutex
	bucket bucket
}

// New returns a limiter for rate bytes a second, nil if rate is 0.
func New(rate int64) *Limiter {
	if rate == 0 {
		return nil
	}
	return &Limiter{begun: time.Now(), bucket: bucket{rate: rate}}
}

// Book takes n bytes and returns how long to wait before they are sent.
func (l *Limiter) Book(n int) time.Duration {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket.take(time.Since(l.begun), n)
}

// Wait returns when n more bytes may be sent; ctx's cause if it ends first.
func (l *Limiter) Wait(ctx context.Context, n int) error {
	if d := l.Book(n); d > 0 && !sys.Sleep(ctx, d) {
		return context.Cause(ctx)
	}
	return nil
}

// sliceTime is how much of the rate is sent at once: little enough to be
// smooth, enough to keep system calls rare.
const sliceTime = 20 * time.Millisecond

// Slice returns the most to send at once: max without a limit, and at least 1.
func (l *Limiter) Slice(max int) int {
	if l == nil {
		return max
	}
	return int(min(int64(max), 1+l.bucket.rate/int64(time.Second/sliceTime)))
}

// Chunk is slice for what is sent in frames that have a head of their own: not
// so small that the heads would be most of it.
func (l *Limiter) Chunk(most int) int { return max(l.Slice(most), min(most, 1<<10)) }

// A Writer passes bytes on in slices, each once admit has let it. A way
// that knows how many bytes are coming asks admit by itself, and writes to the
// Writer inside: a wrapped connection would lose zero-copy.
type Writer struct {
	io.Writer
	Limit *Limiter
	Admit func(n int) error // waits until n bytes may be sent
}

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
