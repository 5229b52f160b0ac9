package proc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The functions run once, the last one first, and a file is removed unless
// another has replaced it.
func TestCleanups(t *testing.T) {
	t.Parallel()
	var c Cleanups
	var order []int
	c.Add(func() { order = append(order, 1) })
	c.Add(func() { order = append(order, 2) })
	dir := t.TempDir()
	ours, replaced := filepath.Join(dir, "ours"), filepath.Join(dir, "replaced")
	for _, path := range []string{ours, replaced} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{ours, replaced, "", "@abstract", filepath.Join(dir, "missing")} {
		c.RemoveFile(path)
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "new"), replaced); err != nil {
		t.Fatal(err)
	}
	c.Run()
	c.Run()
	if !slices.Equal(order, []int{2, 1}) {
		t.Errorf("%v", order)
	}
	if _, err := os.Stat(ours); err == nil {
		t.Errorf("%s is still there", ours)
	}
	if _, err := os.Stat(replaced); err != nil {
		t.Errorf("%v", err)
	}
}

// The end of the program waits until it is released, and not for ever.
func TestHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c Cleanups
		start := time.Now()
		time.AfterFunc(time.Second, Hold(c.Add, 5*time.Second))
		if c.Run(); time.Since(start) != time.Second {
			t.Errorf("released after 1 s, ended after %v", time.Since(start))
		}
		start = time.Now()
		release := Hold(c.Add, 5*time.Second)
		if c.Run(); time.Since(start) != 5*time.Second {
			t.Errorf("never released, ended after %v", time.Since(start))
		}
		release()
	})
}

// A program that ends by itself needs no exit, and one that is stopped with a
// cause gets it after its time to end in order.
func TestOnEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cause := range []error{nil, errors.ErrUnsupported} {
			ctx, stop := context.WithCancelCause(t.Context())
			var got error
			start := time.Now()
			go awaitEnd(ctx, make(chan os.Signal), func(s syscall.Signal) { t.Errorf("signal %v", s) }, func(cause error) {
				if got = cause; time.Since(start) != 50*time.Millisecond {
					t.Errorf("after %v", time.Since(start))
				}
			})
			stop(cause)
			time.Sleep(time.Second)
			synctest.Wait()
			if got != cause {
				t.Errorf("%v, want %v", got, cause)
			}
		}
	})
}
