//go:build unix

package fdio

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// Blocks of several goroutines arrive whole, and the output is opened once. The
// null device is not written to.
func TestSharedWrite(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	opened := 0
	s := &Shared{Output: w, Open: func(f *os.File) *File { opened++; return New(f, nil) }}
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 100 {
				if n, err := s.Write([]byte("block\n")); n != 6 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			}
		})
	}
	writers.Wait()
	w.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != strings.Repeat("block\n", 400) || opened != 1 {
		t.Errorf("%d bytes, %v, opened %d times", len(got), err, opened)
	}
	null, err := os.Open(os.DevNull) // for reading only: a write would fail
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if n, err := (&Shared{Output: null}).Write([]byte("x")); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// A reader that goes is an error at once if it is watched, and else one of the
// next write.
func TestSharedBroken(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	failures := make(chan error, 4)
	s := &Shared{Output: w, Failed: func(err error) error { failures <- err; return io.ErrClosedPipe }}
	next := func() error {
		t.Helper()
		select {
		case err := <-failures:
			return err
		case <-time.After(testkit.Patience):
			t.Fatal("no failure")
			return nil
		}
	}
	s.Watch(t.Context())
	s.Watch(t.Context())
	r.Close()
	if err := next(); err != syscall.EPIPE {
		t.Error(err)
	}
	if _, err := s.Write([]byte("x")); err != io.ErrClosedPipe {
		t.Error(err)
	}
	if err := next(); !errors.Is(err, syscall.EPIPE) {
		t.Error(err)
	}
	if _, err := (&Shared{Output: w}).Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Error(err)
	}
}
