package fdio

import (
	"os"
	"sync"

	"golang.org/x/term"
)

// An alarm ends what waits for stdin or stdout. Windows has no poll for
// consoles and pipes: a pending read ends with its input or with the process.
type Interrupt struct {
	rung chan struct{}
	once sync.Once
}

func NewInterrupt() (*Interrupt, error) { return &Interrupt{rung: make(chan struct{})}, nil }

func (a *Interrupt) Fire()  { a.once.Do(func() { close(a.rung) }) }
func (a *Interrupt) Close() { a.Fire() }

func (s *File) WaitReadable() error { return nil }
func (s *File) WaitWritable() error { return nil }

// WaitBroken cannot tell on Windows; a write will.
func (s *File) WaitBroken() error { return ErrInterrupted }

// broken, unread and arrived cannot be known either.
func (s *File) Broken() bool { return true }
func (s *File) Unread() int  { return -1 }

// Ready cannot be known without reading; saying no means that a pipe which has
// carried nothing so far counts as empty.
func (s *File) Ready() bool { return false }

func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

func appends(*os.File) bool { return false }

// isAnonymous is true: Windows' named pipes are no FIFOs that a shell opens.
func isAnonymous(*os.File, os.FileInfo) bool { return true }
