// Package proc is about the process of a program as a whole: the descriptors
// that it inherits, the signals that end it or ask for its status, the settings
// of Go's runtime, the program that takes its place, and what it removes when
// it ends.
package proc

import (
	"context"
	"errors"
	"os"
	"os/signal"

	"purr/internal/fdio"
)

// Errors of CheckInherited.
var (
	ErrNotInherited = errors.New("it is not open")
	ErrReadOnly     = errors.New("it is open for reading only")
	ErrUnsupported  = errors.New("descriptors are not inherited by number on Windows")
)

// IgnoreStatus ignores the signals that ask for a program's status, if the
// system has any; uncaught, they end the process.
func IgnoreStatus() {
	if signals := statusSignals(); len(signals) > 0 { // none would mean all
		signal.Ignore(signals...)
	}
}

// notifyStatus delivers the signals that ask for a program's status to c, as
// signal.Notify does.
func notifyStatus(c chan<- os.Signal) {
	if signals := statusSignals(); len(signals) > 0 {
		signal.Notify(c, signals...)
	}
}

// OnStatus calls report for every signal that asks for a program's status, one
// call at a time, until ctx ends. The signals are caught when it returns.
func OnStatus(ctx context.Context, report func()) {
	asked := make(chan os.Signal, 1)
	notifyStatus(asked)
	go func() {
		for {
			select {
			case <-asked:
				report()
			case <-ctx.Done():
				return
			}
		}
	}()
}

// ResetStatus undoes IgnoreStatus and OnStatus. Programs that are started
// inherit which signals are ignored.
func ResetStatus() {
	if signals := statusSignals(); len(signals) > 0 {
		signal.Reset(signals...)
	}
}

// WriteReady writes text to an inherited descriptor and closes it. The reader
// at the other end waits for it.
func WriteReady(fd int, text string) error {
	f := os.NewFile(uintptr(fd), "ready descriptor")
	if f == nil {
		return os.ErrInvalid
	}
	_, err := fdio.New(f, nil).WriteString(text)
	return errors.Join(err, f.Close())
}
