package rate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// The arithmetic, without a clock.
func TestBucket(t *testing.T) {
	t.Parallel()
	type step struct {
		now  time.Duration
		n    int
		wait time.Duration
	}
	const ms = time.Millisecond
	for _, test := range []struct {
		name  string
		rate  int64
		steps []step
	}{
		{"evenly", 1000, []step{{0, 100, 0}, {0, 100, 100 * ms}, {100 * ms, 100, 100 * ms}, {200 * ms, 100, 100 * ms}}},
		{"all at once", 1000, []step{{0, 100, 0}, {0, 100, 100 * ms}, {0, 100, 200 * ms}, {0, 100, 300 * ms}}},
		{"catches up after a late timer", 1000, []step{{0, 100, 0}, {100 * ms, 100, 0}, {230 * ms, 100, 0}, {230 * ms, 100, 70 * ms}}},
		{"saves no more than the depth", 1000, []step{{10 * time.Second, 50, 0}, {10 * time.Second, 50, 0}, {10 * time.Second, 50, 50 * ms}}},
		{"one byte a second", 1, []step{{0, 1, 0}, {0, 1, time.Second}, {time.Second, 1, time.Second}}},
		{"a datagram longer than a second", 1000, []step{{0, 5000, 0}, {0, 1, 5 * time.Second}}},
		{"nothing", 1000, []step{{0, 0, 0}, {0, 0, 0}}},
		{"as fast as there are numbers", 1 << 62, []step{{0, 1 << 20, 0}, {0, 1 << 20, 0}}},
	} {
		b := bucket{rate: test.rate}
		for i, s := range test.steps {
			if got := b.take(s.now, s.n); got != s.wait {
				t.Errorf("%s, step %d: waits %v, want %v", test.name, i, got, s.wait)
			}
		}
	}
}

// A sender that waits as long as take returns sends no more than the rate and
// the depth, and no less than the rate.
func TestBucketKeepsRate(t *testing.T) {
	t.Parallel()
	for _, rate := range []int64{1, 1 << 10, 20 << 20, 5 << 30} {
		l := New(rate)
		n := l.Slice(1 << 20)
		var now time.Duration
		sent := int64(0)
		for i := range 10_000 {
			now += l.bucket.take(now, n)
			if i%7 == 0 {
				now += 3 * time.Millisecond // a late timer
			}
			sent += int64(n)
		}
		exact := float64(rate) * now.Seconds()
		if over := float64(sent) - exact; over > float64(rate)*bucketDepth.Seconds()+float64(n)+1 {
			t.Errorf("rate %d: %.0f bytes too many", rate, over)
		}
		if n := float64(l.Slice(1 << 20)); n/float64(rate) > 0.003 && float64(sent) < 0.999*exact-n {
			t.Errorf("rate %d: %d bytes, want %.0f", rate, sent, exact)
		}
	}
}

func TestLimiterSlice(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rate      int64
		max, want int
	}{
		{0, 1 << 20, 1 << 20}, {1, 1 << 20, 1}, {1 << 10, 1 << 20, 21}, {20 << 20, 1 << 20, 419431}, {1 << 40, 1 << 20, 1 << 20}, {1 << 62, 5, 5},
	} {
		if got := New(test.rate).Slice(test.max); got != test.want {
			t.Errorf("rate %d: %d of %d, want %d", test.rate, got, test.max, test.want)
		}
	}
}

// A wait ends with its context, and without a limit there is none.
func TestLimiterWait(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancelCause(t.Context())
	var none *Limiter
	if err := none.Wait(ctx, 1<<30); err != nil {
		t.Error(err)
	}
	l := New(1)
	if err := l.Wait(ctx, 1000); err != nil { // the first does not wait
		t.Error(err)
	}
	why := errors.New("stopped by the test")
	time.AfterFunc(10*time.Millisecond, func() { stop(why) })
	begun := time.Now()
	if err := l.Wait(ctx, 1); err != why {
		t.Errorf("got %v, want %v", err, why)
	}
	if took := time.Since(begun); took > testkit.Patience {
		t.Errorf("took %v", took)
	}
}

// A Writer asks for each slice before it writes it, and stops at the first
// error.
func TestWriter(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	var out strings.Builder
	var asked []int
	w := &Writer{Writer: &out, Limit: New(100), Admit: func(n int) error {
		if asked = append(asked, n); len(asked) == 4 {
			return refused
		}
		return nil
	}}
	if n, err := w.Write([]byte("123456")); n != 6 || err != nil || !slices.Equal(asked, []int{3, 3}) {
		t.Errorf("%d bytes, %v, asked for %v", n, err, asked)
	}
	if n, err := w.Write([]byte("789xyz")); n != 3 || err != refused || out.String() != "123456789" {
		t.Errorf("%d bytes, %v, wrote %q", n, err, out.String())
	}
}
