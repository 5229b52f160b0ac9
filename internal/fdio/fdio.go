// Package fdio reads and writes descriptors that were inherited, such as stdin
// and stdout, in a way that can be interrupted although they are blocking.
//
// On Unix a [File] waits in poll(2) for its descriptor together with an
// [Interrupt]. Windows has no such call for consoles and pipes: there a pending
// read ends with its input or with the process.
package fdio

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"purr/internal/sys"
)

// A Kind is the type of file behind a descriptor.
type Kind int

// The kinds of files.
const (
	Other    Kind = iota // a device, or unknown
	Null                 // the null device, by any name; Go's runtime opens it for a closed stdin or stdout
	Terminal             // a terminal
	Regular              // a regular file
	Append               // a regular file with O_APPEND, which splice(2) refuses to write to
	Pipe                 // an anonymous pipe
	FIFO                 // a named pipe
	Socket               // as inetd(8) and some shells hand down
)

// ErrInterrupted is returned by a read, write or wait whose Interrupt has
// fired.
var ErrInterrupted = errors.New("stopped")

// A Source is where bytes to be sent come from: a *File or a reader on top of
// one.
type Source interface {
	// Read returns ErrInterrupted if it has to wait after the interrupt of the
	// source has fired.
	io.Reader
	// Kind returns the kind of the file that the bytes come from.
	Kind() Kind
	// Ready reports whether Read would return at once, with bytes or the end.
	// Any goroutine may call it.
	Ready() bool
}

// A File is an open file whose reads and writes can be interrupted. It is for
// one reading and one writing goroutine.
//
// os.File cannot do this for an inherited blocking descriptor, and setting
// O_NONBLOCK would change the open file description, which belongs to other
// processes too.
type File struct {
	*os.File

	// Before, if set, is called at the beginning of each Write and
	// WaitWritable, which go on when it returns.
	Before func()

	// Interrupt ends all waits. It stays the caller's to close. If nil, nothing
	// ends them.
	Interrupt *Interrupt

	raw  syscall.RawConn
	fd   int // -1 where there are no descriptors
	kind Kind
	used atomic.Bool
}

// New returns a File for f, which stays the caller's to close. With a nil
// interrupt nothing ends its waits.
func New(f *os.File, i *Interrupt) *File {
	file := &File{File: f, fd: -1, kind: KindOf(f), Interrupt: i}
	if raw, err := f.SyscallConn(); err == nil {
		file.raw = raw
		// Control, not Fd, which makes a non-blocking descriptor blocking.
		_ = raw.Control(func(fd uintptr) { file.fd = int(fd) })
	}
	return file
}

// NewReader is New for a file that is only read. One that was opened for
// writing only, as nohup(1) does with a stdin that is a terminal, counts as the
// null device: reading it returns io.EOF instead of EBADF.
func NewReader(f *os.File, i *Interrupt) *File {
	file := New(f, i)
	if writeOnly(f) {
		file.kind = Null
	}
	return file
}

// Ended is a source at its end.
var Ended Source = ended{}

type ended struct{}

func (ended) Read([]byte) (int, error) { return 0, io.EOF }
func (ended) Kind() Kind               { return Null }
func (ended) Ready() bool              { return true }

// Kind returns the kind of the file.
func (f *File) Kind() Kind { return f.kind }

// FD returns the descriptor, -1 where there are none. It is valid as long as
// the file is open.
func (f *File) FD() int { return f.fd }

// MarkUsed makes Used true. It is called before input is taken from the
// descriptor by other means than Read.
func (f *File) MarkUsed() { f.used.Store(true) }

// Used reports whether input was taken, or is being taken, from the descriptor.
// It becomes true before the input is gone. So at any time Used or Ready is
// true for input that has arrived.
func (f *File) Used() bool { return f.used.Load() }

// before calls Before.
func (f *File) before() {
	if f.Before != nil {
		f.Before()
	}
}

// WriteString is Write for a string.
func (f *File) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

// canWait reports whether there is a descriptor for which poll(2) can wait.
// Regular files and the null device are always ready.
func (f *File) canWait() bool {
	return f.fd >= 0 && f.kind != Regular && f.kind != Append && f.kind != Null
}

// KindOf returns the kind of f.
func KindOf(f *os.File) Kind {
	info, err := f.Stat()
	if err != nil {
		return Other
	}
	switch mode := info.Mode(); {
	case mode.IsRegular() && appends(f):
		return Append
	case mode.IsRegular():
		return Regular
	case mode&os.ModeNamedPipe != 0 && isAnonymous(f, info):
		return Pipe
	case mode&os.ModeNamedPipe != 0:
		return FIFO
	case mode&os.ModeSocket != 0:
		return Socket
	case IsTerminal(f):
		return Terminal
	case mode&os.ModeCharDevice != 0 && isNull(info):
		return Null
	}
	return Other
}

// SameFile reports whether a and b are open on the same file or device.
func SameFile(a, b *os.File) bool {
	infoA, errA := a.Stat()
	infoB, errB := b.Stat()
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// Remaining returns the number of bytes between the offset and the end of a
// regular file. It is -1 if there are none or the number is unknown, for a file
// with O_APPEND, and for any file that is not regular.
func (f *File) Remaining() int64 {
	if f.kind != Regular {
		return -1
	}
	info, err := f.Stat()
	if err != nil {
		return -1
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil || info.Size() <= at {
		return -1
	}
	return info.Size() - at
}

// Done returns a channel that is closed when the interrupt has fired; nil for a
// nil interrupt.
func (i *Interrupt) Done() <-chan struct{} {
	if i == nil {
		return nil
	}
	return i.fired
}

// Sleep waits for d. It returns ErrInterrupted if the interrupt fires first.
func (i *Interrupt) Sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-i.Done():
		return ErrInterrupted
	}
}

// A CopyError is an error of copying, with the end that failed.
type CopyError struct {
	Reading bool // whether the source failed, not the destination
	Err     error
}

// Error returns the cause in the system's words.
func (e *CopyError) Error() string { return sys.Cause(e.Err).Error() }

// Unwrap returns the error of the end that failed.
func (e *CopyError) Unwrap() error { return e.Err }

// ClosedHere reports whether err only means that this process has closed the
// file or connection, or has interrupted the wait.
func ClosedHere(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, ErrInterrupted)
}
