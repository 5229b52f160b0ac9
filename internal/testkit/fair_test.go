package testkit

import (
	"testing"
	"time"
)

// A machine that tests share can hold up every process, for a second and more.
// A program that misses a deadline then has not failed. So the times at which
// this process was held up are recorded, do not count as time that a fast
// operation took, and are a reason to repeat a test.

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
