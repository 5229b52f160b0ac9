package eyeballs

import (
	"context"
	"fmt"
	"time"

	"purr/internal/sys"
)

// The pause between two tries begins short, because a server is often just
// starting, and doubles.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 2 * time.Second
	leastTry   = 100 * time.Millisecond // for each try, the one at the end of Retry.For included
)

// A Retry repeats what has failed. The zero value tries once.
type Retry struct {
	For  time.Duration // 0: no limit
	Most int           // tries; 0: with For no limit, else 1

	Failed func(error) // called after each failure but the last one; nil: nothing is
}

// A GaveUpError is the end of several tries.
type GaveUpError struct {
	Last  error // of the last try
	Took  time.Duration
	Tries int
}

func (e *GaveUpError) Error() string {
	return fmt.Sprintf("%v; gave up after %v and %d tries", e.Last, e.Took, e.Tries)
}

// Unwrap returns the error of the last try.
func (e *GaveUpError) Unwrap() error { return e.Last }

// Do calls try until it succeeds. Once For is over or Most is used up, it
// returns the error of a single try as it is, else a *GaveUpError; if ctx ends,
// it returns the context's cause. The last try begins when For is over. limit
// is the rest of For, at least 100 ms; 0 without For.
func (r *Retry) Do(ctx context.Context, try func(ctx context.Context, limit time.Duration) error) error {
	begun, pause := time.Now(), firstPause
	for tries := 1; ; tries++ {
		var limit time.Duration
		if r.For > 0 {
			limit = max(r.For-time.Since(begun), leastTry)
		}
		err := try(ctx, limit)
		switch {
		case err == nil:
			return nil
		case r.For == 0 && r.Most <= 1:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		took := time.Since(begun)
		if r.For > 0 && took >= r.For || r.Most > 0 && tries >= r.Most {
			if tries == 1 {
				return err
			}
			return &GaveUpError{Last: err, Took: took, Tries: tries}
		}
		if r.Failed != nil {
			r.Failed(err)
		}
		if r.For > 0 {
			pause = min(pause, r.For-took)
		}
		if !sys.Sleep(ctx, pause) {
			return context.Cause(ctx)
		}
		pause = min(2*pause, mostPause)
	}
}
