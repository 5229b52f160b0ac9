package testkit

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A holdup is a time during which this process, or with too few processors for
// all threads a process that it has started, did not get a processor.
type holdup struct {
	end  time.Time
	took time.Duration
}

var holdups struct {
	sync.Mutex
	all []holdup
}

// WatchHoldups records them until the process ends. While n threads want one of
// fewer processors, each gets its share of the time and loses the rest.
func WatchHoldups() {
	const tick = 5 * time.Millisecond
	processors := runtime.NumCPU()
	for last := time.Now(); ; {
		time.Sleep(tick)
		now := time.Now()
		var lost time.Duration
		if n := runnable(); n > processors {
			lost = now.Sub(last) * time.Duration(n-processors) / time.Duration(n)
		}
		if late := now.Sub(last) - tick; late > 3*tick {
			lost = max(lost, late)
		}
		if lost > 0 {
			holdups.Lock()
			holdups.all = append(holdups.all, holdup{now, lost})
			holdups.Unlock()
		}
		last = now
	}
}

// heldUp is how long this process was held up since begun.
func heldUp(begun time.Time) time.Duration {
	holdups.Lock()
	defer holdups.Unlock()
	return after(holdups.all, begun)
}

// after returns the holdups after begun.
func after(all []holdup, begun time.Time) (sum time.Duration) {
	for i := len(all) - 1; i >= 0 && all[i].end.After(begun); i-- {
		sum += min(all[i].took, all[i].end.Sub(begun))
	}
	return sum
}

// Since returns the time since begun, less the holdups of this process.
func Since(begun time.Time) time.Duration { return time.Since(begun) - heldUp(begun) }

// Fairly runs a test that fails on a missed deadline. If it has failed and the
// machine was held up for longer than slack meanwhile, it is run again.
func Fairly(t *testing.T, slack time.Duration, test func(t testing.TB)) {
	t.Helper()
	for tries := 1; ; tries++ {
		a := &attempt{TB: t}
		begun := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			test(a)
		}()
		<-done
		failures := a.failures()
		if len(failures) == 0 {
			return
		}
		held := heldUp(begun)
		if held <= slack || tries == 10 {
			t.Fatal(strings.Join(failures, "\n"))
		}
		t.Logf("held up for %v, and so once more: %s", held, strings.Join(failures, "\n"))
	}
}

// An attempt is a test whose failure may not count.
type attempt struct {
	testing.TB
	mu     sync.Mutex
	failed []string
}

// failures returns the messages of the failures so far.
func (a *attempt) failures() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

// fail records a failure with its message. The test goes on.
func (a *attempt) fail(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = append(a.failed, what)
}

// Error records a failure instead of reporting it, as in testing.TB.
func (a *attempt) Error(args ...any) { a.fail(fmt.Sprint(args...)) }

// Errorf is Error with a format.
func (a *attempt) Errorf(format string, args ...any) { a.fail(fmt.Sprintf(format, args...)) }

// Fail records a failure without a message.
func (a *attempt) Fail() { a.fail("failed") }

// Failed reports whether a failure is recorded.
func (a *attempt) Failed() bool { return len(a.failures()) > 0 }

// FailNow records a failure and ends the goroutine of the attempt, rather than
// the real test.
func (a *attempt) FailNow() {
	a.Fail()
	runtime.Goexit()
}

// Fatal records a failure and ends the goroutine of the attempt.
func (a *attempt) Fatal(args ...any) {
	a.Error(args...)
	runtime.Goexit()
}

// Fatalf is Fatal with a format.
func (a *attempt) Fatalf(format string, args ...any) {
	a.Errorf(format, args...)
	runtime.Goexit()
}
