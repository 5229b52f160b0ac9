package main

import (
	"os"
	"sync"

	"golang.org/x/term"
)

// An alarm ends what waits for stdin or stdout. Windows has no poll for
// consoles and pipes: a pending read ends with its input or with the process.
type alarm struct {
	rung chan struct{}
	once sync.Once
}

func newAlarm() (*alarm, error) { return &alarm{rung: make(chan struct{})}, nil }

func (a *alarm) ring()  { a.once.Do(func() { close(a.rung) }) }
func (a *alarm) close() { a.ring() }

func (s *stdio) waitReadable() error { return nil }
func (s *stdio) waitWritable() error { return nil }

// waitBroken cannot tell on Windows; a write will.
func (s *stdio) waitBroken() error { return errStopped }

// broken, unread and arrived cannot be known either.
func (s *stdio) broken() bool { return true }
func (s *stdio) unread() int  { return -1 }

// Ready cannot be known without reading; saying no means that a pipe which has
// carried nothing so far counts as empty.
func (s *stdio) Ready() bool { return false }

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

func appends(*os.File) bool { return false }

// isAnonymous is true: Windows' named pipes are no FIFOs that a shell opens.
func isAnonymous(*os.File, os.FileInfo) bool { return true }

// notifyResize does nothing: Windows has no signal for it.
func notifyResize(chan<- os.Signal) {}
