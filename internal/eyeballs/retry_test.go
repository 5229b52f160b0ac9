package eyeballs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A Retry tries until its time has passed, or as often as it may; the zero
// value tries once.
func TestRetryTimes(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	refused := errors.New("refused")
	for _, test := range []struct {
		name   string
		retry  Retry
		takes  time.Duration // each try that is not limited
		begun  []time.Duration
		limits []time.Duration
		gaveUp string
	}{
		{"1s", Retry{For: time.Second}, 0,
			[]time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1000 * ms},
			[]time.Duration{1000 * ms, 900 * ms, 700 * ms, 300 * ms, 100 * ms}, "gave up after 1s and 5 tries"},
		{"short", Retry{For: 50 * ms}, 0,
			[]time.Duration{0, 50 * ms}, []time.Duration{100 * ms, 100 * ms}, "gave up after 50ms and 2 tries"},
		{"slow", Retry{For: time.Second}, 3 * time.Second,
			[]time.Duration{0}, []time.Duration{1000 * ms}, ""},
		{"long", Retry{For: 6 * time.Second}, 0,
			[]time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms, 3100 * ms, 5100 * ms, 6000 * ms},
			[]time.Duration{6000 * ms, 5900 * ms, 5700 * ms, 5300 * ms, 4500 * ms, 2900 * ms, 900 * ms, 100 * ms}, "gave up after 6s and 8 tries"},
		{"retry", Retry{Most: 3}, 0, []time.Duration{0, 100 * ms, 300 * ms}, []time.Duration{0, 0, 0}, "gave up after 300ms and 3 tries"},
		{"neither", Retry{}, 0, []time.Duration{0}, []time.Duration{0}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failures := 0
				test.retry.Failed = func(err error) {
					if failures++; err != refused {
						t.Error(err)
					}
				}
				start := time.Now()
				var begun, limits []time.Duration
				err := test.retry.Do(t.Context(), func(_ context.Context, limit time.Duration) error {
					begun, limits = append(begun, time.Since(start)), append(limits, limit)
					time.Sleep(min(test.takes, limit))
					return refused
				})
				if !slices.Equal(begun, test.begun) || !slices.Equal(limits, test.limits) {
					t.Errorf("tries at %v with limits %v, want %v and %v", begun, limits, test.begun, test.limits)
				}
				if failures != len(begun)-1 {
					t.Errorf("%d failures of %d tries", failures, len(begun))
				}
				if !errors.Is(err, refused) || !strings.Contains(err.Error(), test.gaveUp) || test.gaveUp == "" && err != refused {
					t.Errorf("%v, want %q", err, test.gaveUp)
				}
			})
		})
	}
}

// The end of the context ends a pause, and its cause is the error.
func TestRetryInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		r := Retry{For: time.Hour, Failed: func(error) { stop(errors.ErrUnsupported) }}
		tries := 0
		err := r.Do(ctx, func(context.Context, time.Duration) error { tries++; return errors.New("refused") })
		if err != errors.ErrUnsupported || tries != 1 {
			t.Errorf("%v after %d tries", err, tries)
		}
	})
}
