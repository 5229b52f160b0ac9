package fdio

import (
	"context"
	"os"
	"sync"
	"syscall"
)

// HasReader reports whether the file is a pipe or socket: if its reader goes
// away, File.WaitBroken notices that before a write fails.
func (k Kind) HasReader() bool { return k == Pipe || k == FIFO || k == Socket }

// A Shared is an output of several goroutines, each of which writes whole
// blocks. The fields are set before the first use.
type Shared struct {
	Output *os.File // stays the caller's to close

	// Open returns Output in the form that is written to. It is called once,
	// by the first Write. If nil, that is New without an interrupt.
	Open func(*os.File) *File

	// Failed is called with each error of writing, and with EPIPE when Watch
	// finds that the reader has gone. It returns the error for the caller of
	// Write. If nil, that is the error itself.
	Failed func(error) error

	opened, watched sync.Once
	out             *File
}

// Write writes b, unless the output is the null device.
func (s *Shared) Write(b []byte) (int, error) {
	s.opened.Do(func() {
		if s.Open == nil {
			s.out = New(s.Output, nil)
		} else {
			s.out = s.Open(s.Output)
		}
	})
	if s.out.Kind() == Null {
		return len(b), nil
	}
	n, err := s.out.Write(b)
	if err != nil {
		err = s.failed(err)
	}
	return n, err
}

// Watch calls Failed when the reader of the output has gone, also while nothing
// is written, until ctx ends. Calls after the first do nothing.
func (s *Shared) Watch(ctx context.Context) {
	s.watched.Do(func() {
		stop, err := NewInterrupt()
		if err != nil {
			return // the next write fails
		}
		out := New(s.Output, stop)
		if !out.Kind().HasReader() {
			stop.Close()
			return
		}
		context.AfterFunc(ctx, stop.Fire)
		go func() {
			defer stop.Close()
			if out.WaitBroken() == nil {
				_ = s.failed(syscall.EPIPE)
			}
		}()
	})
}

// failed passes an error on to Failed.
func (s *Shared) failed(err error) error {
	if s.Failed == nil {
		return err
	}
	return s.Failed(err)
}
