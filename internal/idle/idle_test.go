package idle

import (
	"testing"
	"testing/synctest"
	"time"

	"purr/internal/testkit"
)

func TestIdleTimer(t *testing.T) {
	t.Parallel()
	const period = 3 * time.Second
	type answer struct {
		left    time.Duration
		pending bool
	}
	for _, test := range []struct {
		name    string
		stopped []time.Duration // before each look at the timer, beyond its firing
		checks  []answer        // one for each look that is not late; nil: no check
		ends    time.Duration
	}{
		{"on time", []time.Duration{0}, nil, period},
		{"late: pending input comes first", []time.Duration{time.Minute, 0}, nil, period + time.Minute + lateness},
		{"late twice", []time.Duration{time.Minute, time.Hour, 0}, nil, period + time.Minute + time.Hour + 2*lateness},
		{"as late as timers are", []time.Duration{lateness}, nil, period + lateness},
		{"activity", []time.Duration{0, 0}, []answer{{left: time.Second}, {}}, period + time.Second},
		{"pending input gets another period", []time.Duration{0, 0}, []answer{{pending: true}, {}}, 2 * period},
		{"which is the last", []time.Duration{0, 0}, []answer{{pending: true}, {pending: true}}, 2 * period},
		{"until there is activity", []time.Duration{0, 0, 0, 0}, []answer{{pending: true}, {left: time.Second}, {pending: true}, {}}, 3*period + time.Second},
		{"late, then pending", []time.Duration{time.Minute, 0, 0}, []answer{{pending: true}, {}}, 2*period + time.Minute + lateness},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				timer := New(period)
				defer timer.Stop()
				var check func() (time.Duration, bool)
				if test.checks != nil {
					check = func() (time.Duration, bool) {
						a := test.checks[0]
						test.checks = test.checks[1:]
						return a.left, a.pending
					}
				}
				for i, stopped := range test.stopped {
					time.Sleep(time.Until(timer.due) + stopped)
					<-timer.Fired()
					if last := i == len(test.stopped)-1; timer.Expired(check) != last {
						t.Fatalf("after %d looks: expired is %v", i+1, !last)
					}
				}
				if took := time.Since(begun); took != test.ends {
					t.Errorf("expired after %v, want %v", took, test.ends)
				}
			})
		})
	}
}

// A timer without a period never fires, nor does none at all; a restarted one
// takes its whole new period.
func TestIdleTimerRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		timer := New(0)
		defer timer.Stop()
		var none *Timer
		none.Stop()
		select {
		case <-timer.Fired():
			t.Error("a timer without a period fired")
		case <-none.Fired():
			t.Error("no timer fired")
		case <-time.After(1000 * time.Hour):
		}
		begun := time.Now()
		timer.Restart(time.Minute)
		time.Sleep(time.Second)
		timer.Restart(time.Hour)
		if <-timer.Fired(); !timer.Expired(nil) || time.Since(begun) != time.Hour+time.Second {
			t.Errorf("fired after %v", time.Since(begun))
		}
	})
}

func TestActivity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := Activity{Begun: time.Now()}
		time.Sleep(time.Second)
		if d := a.Idle(); d != time.Second {
			t.Errorf("idle for %v since the beginning", d)
		}
		a.Touch()
		time.Sleep(time.Minute)
		if d := a.Idle(); d != time.Minute {
			t.Errorf("idle for %v", d)
		}
		a.Extend(time.Hour)
		time.Sleep(time.Minute)
		if d := a.Idle(); d != -59*time.Minute {
			t.Errorf("idle for %v while an activity lasts", d)
		}
	})
}

// The deadline of a read passes only if nothing has arrived.
func TestIdleDeadline(t *testing.T) {
	t.Parallel()
	ours, theirs := testkit.TcpPair(t)
	d := Deadline{ours, time.Millisecond}
	read := func() error {
		d.Extend()
		_, err := ours.Read(make([]byte, 1))
		return err
	}
	if err := read(); !d.Expired(err) {
		t.Errorf("a silent connection: %v", err)
	}
	testkit.WriteString(t, theirs, "x")
	_ = ours.SetDeadline(time.Now().Add(-time.Second)) // as after SIGCONT: both are due
	testkit.Eventually(t, "a byte arrives", func() bool {
		_, err := ours.Read(make([]byte, 1))
		return !d.Expired(err)
	})
	if err := read(); err != nil {
		t.Errorf("the byte is not read: %v", err)
	}
}
