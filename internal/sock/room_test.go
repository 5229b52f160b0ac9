package sock

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Await looks again after the time that it was given, at once when a client has
// left, and not after the end of its context.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := NewRoom()
		looks := 0
		look := func() time.Duration {
			looks++
			if looks == 3 {
				return 0
			}
			return time.Minute
		}
		time.AfterFunc(time.Second, func() { r.Left(); r.Left() }) // the second is not needed
		if !r.Await(t.Context(), look) || looks != 3 || time.Since(start) > time.Minute+time.Second {
			t.Errorf("%d looks in %v", looks, time.Since(start))
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		start = time.Now()
		if r.Await(ctx, func() time.Duration { return time.Hour }) || time.Since(start) != time.Second {
			t.Errorf("after %v", time.Since(start))
		}
	})
}
