package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// --wait-for tries until its time has passed, and --retry as often as its
// value.
func TestRetryTimes(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	refused := errors.New("refused")
	for _, test := range []struct {
		name    string
		options waitOptions
		takes   time.Duration // each try that is not limited
		begun   []time.Duration
		limits  []time.Duration
		gaveUp  string
	}{
		{"1s", waitOptions{waitFor: time.Second, retries: -1}, 0,
			[]time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1000 * ms},
			[]time.Duration{1000 * ms, 900 * ms, 700 * ms, 300 * ms, 100 * ms}, "gave up after 1s and 5 tries"},
		{"short", waitOptions{waitFor: 50 * ms, retries: -1}, 0,
			[]time.Duration{0, 50 * ms}, []time.Duration{100 * ms, 100 * ms}, "gave up after 100ms and 2 tries"},
		{"slow", waitOptions{waitFor: time.Second, retries: -1}, 3 * time.Second,
			[]time.Duration{0}, []time.Duration{1000 * ms}, ""},
		{"long", waitOptions{waitFor: 6 * time.Second, retries: -1}, 0,
			[]time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms, 3100 * ms, 5100 * ms, 6000 * ms},
			[]time.Duration{6000 * ms, 5900 * ms, 5700 * ms, 5300 * ms, 4500 * ms, 2900 * ms, 900 * ms, 100 * ms}, "gave up after 6s and 8 tries"},
		{"retry", waitOptions{retries: 2}, 0, []time.Duration{0, 100 * ms, 300 * ms}, []time.Duration{0, 0, 0}, "gave up after 300ms and 3 tries"},
		{"neither", waitOptions{retries: -1}, 0, []time.Duration{0}, []time.Duration{0}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &dialer{waitOptions: test.options, log: &logger{out: io.Discard}}
				start := time.Now()
				var begun, limits []time.Duration
				err := d.retry(t.Context(), func(_ context.Context, limit time.Duration) error {
					begun, limits = append(begun, time.Since(start)), append(limits, limit)
					time.Sleep(min(test.takes, limit))
					return refused
				})
				if !slices.Equal(begun, test.begun) || !slices.Equal(limits, test.limits) {
					t.Errorf("tries at %v with limits %v, want %v and %v", begun, limits, test.begun, test.limits)
				}
				if !errors.Is(err, refused) || !strings.Contains(err.Error(), test.gaveUp) || test.gaveUp == "" && err != refused {
					t.Errorf("%v, want %q", err, test.gaveUp)
				}
			})
		})
	}
}
