package testkit

import (
	"testing"
	"time"
)

// A machine that tests share can hold everybody up, for a second and more. What
// was then seen of a program that has to be quick says nothing about it. So the
// times at which this process was held up are known, do not count where
// something must not take long, and are a reason to look once more.

func TestFairly(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	all := []holdup{{begun.Add(-time.Second), time.Second}, {begun.Add(time.Second), 3 * time.Second}, {begun.Add(9 * time.Second), 2 * time.Second}}
	if sum := after(all, begun); sum != 3*time.Second {
		t.Errorf("held up for %v", sum)
	}
	tries := 0
	Fairly(t, 0, func(t testing.TB) {
		if tries++; tries == 1 {
			holdups.Lock()
			defer holdups.Unlock()
			holdups.all = append(holdups.all, holdup{time.Now(), time.Microsecond})
			t.Fatal("this time only")
		}
	})
	if tries != 2 {
		t.Errorf("%d tries, want 2", tries)
	}
}
