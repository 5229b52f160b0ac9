package fdio

import (
	"os"
	"sync"

	"golang.org/x/term"
)

// An Interrupt ends waits in a select. Those for consoles and pipes end with
// their input or with the process. Any goroutine may use it.
type Interrupt struct {
	fired chan struct{}
	once  sync.Once
}

// NewInterrupt returns an Interrupt that has not fired.
func NewInterrupt() (*Interrupt, error) { return &Interrupt{fired: make(chan struct{})}, nil }

// Fire ends every wait, now and later. Further calls do nothing.
func (i *Interrupt) Fire() { i.once.Do(func() { close(i.fired) }) }

// Close fires the interrupt.
func (i *Interrupt) Close() { i.Fire() }

// Read waits for input or its end. No interrupt ends the wait. It makes Used
// true when it begins to wait, not when input arrives, because Ready cannot
// report input that is there.
func (f *File) Read(b []byte) (int, error) {
	f.used.Store(true)
	return f.File.Read(b)
}

// Write waits until all of b is written. No interrupt ends the wait.
func (f *File) Write(b []byte) (int, error) {
	f.before()
	return f.File.Write(b)
}

// WaitReadable returns at once: the read waits.
func (f *File) WaitReadable() error { return nil }

// WaitWritable returns at once: the write waits.
func (f *File) WaitWritable() error { return nil }

// WaitBroken returns ErrInterrupted at once, a wait without a result: only a
// write reports that the reader is gone.
func (f *File) WaitBroken() error { return ErrInterrupted }

// Broken returns true: the reader may be gone, and only a write would report
// it.
func (f *File) Broken() bool { return true }

// Unread returns -1: it is unknown.
func (f *File) Unread() int { return -1 }

// EndReader closes a pipe, so that its reader finds the end of its input. It
// does nothing to other files.
func (f *File) EndReader() {
	if f.kind == Pipe {
		_ = f.File.Close()
	}
}

// Ready returns false: only a read would show whether there is input. A pipe
// that has carried no bytes so far counts as empty.
func (f *File) Ready() bool { return false }

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// appends returns false: O_APPEND matters to splice(2) alone.
func appends(*os.File) bool { return false }

// writeOnly returns false: Windows gives a console program no such stdin.
func writeOnly(*os.File) bool { return false }

// isNull reports whether info is that of the null device.
func isNull(info os.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(null, info)
}

// isAnonymous returns true: Windows' named pipes are not FIFOs that a shell
// opens.
func isAnonymous(*os.File, os.FileInfo) bool { return true }

// EnlargePipe does nothing: the system sizes its pipes itself.
func (f *File) EnlargePipe() {}
