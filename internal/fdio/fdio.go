// Package fdio waits for descriptors that were inherited, such as stdin and
// stdout: reads and writes that can be interrupted although the descriptors are
// blocking.
package fdio

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"purr/internal/sys"
)

// A Kind says what stdin or stdout is, because that decides how bytes are
// moved and what the end of the peer means.
type Kind int

const (
	Other    Kind = iota // a device, or what the system does not tell
	Null                 // /dev/null, which Go's runtime also opens in the place of a closed stdin or stdout
	Terminal             // a person
	Regular              // a file that can be sent to its end
	Append               // a regular file opened with O_APPEND: the kernel refuses to splice to it
	Pipe                 // an anonymous pipe
	FIFO                 // a named pipe
	Socket               // as inetd and some shells hand it down
)

// ErrInterrupted is what a waiting read or write returns when its session is over.
var ErrInterrupted = errors.New("stopped")

// A Source is where a session's outgoing bytes come from: stdin itself, a
// client's share of it under -k, or the line editor. A Read that waits returns
// errStopped when the session's alarm goes off.
type Source interface {
	io.Reader
	// Kind is what the bytes come from in the end.
	Kind() Kind
	// Ready reports whether Read would return at once, with bytes or the end.
	Ready() bool
}

// A stdio is stdin or stdout as one session sees it: reads and writes wait for
// the descriptor in poll(2) together with the session's alarm, so that they
// can be ended. os.File alone cannot do that: the descriptors are opened
// blocking, and O_NONBLOCK would change the open file that the shell holds
// too.
type File struct {
	*os.File
	fd        int // valid as long as File is open; -1 where there are no descriptors
	kind      Kind
	Interrupt *Interrupt
	taken     atomic.Bool // whether a Read has found something there
}

// Done returns a channel that is closed when the interrupt has fired.
func (a *Interrupt) Done() <-chan struct{} { return a.rung }

// Sleep waits for d, or for the alarm: errStopped.
func (a *Interrupt) Sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-a.rung:
		return ErrInterrupted
	}
}

// New wraps f, which stays the caller's to close.
func New(f *os.File, a *Interrupt) *File {
	s := &File{File: f, fd: -1, kind: KindOf(f), Interrupt: a}
	if raw, err := f.SyscallConn(); err == nil {
		// Control, not Fd: Fd would make an inherited non-blocking descriptor
		// block.
		_ = raw.Control(func(fd uintptr) { s.fd = int(fd) })
	}
	return s
}

func (s *File) Kind() Kind { return s.kind }

// FD returns the descriptor, -1 where there are none. It is valid as long as
// the file is open.
func (s *File) FD() int { return s.fd }

// MarkUsed records that input has been taken from the descriptor by other means
// than Read.
func (s *File) MarkUsed() { s.taken.Store(true) }

// Used reports whether input has been taken.
func (s *File) Used() bool { return s.taken.Load() }

// Read waits for input, the end of it, or the alarm.
func (s *File) Read(b []byte) (int, error) {
	if err := s.WaitReadable(); err != nil {
		return 0, err
	}
	s.taken.Store(true) // before it is gone from where Ready would see it
	return s.File.Read(b)
}

// Write waits until the reader takes bytes, or for the alarm. Once it has
// begun, a write into a pipe that stalls can only be ended by the reader or
// by the end of the process.
func (s *File) Write(b []byte) (int, error) {
	if err := s.WaitWritable(); err != nil {
		return 0, err
	}
	return s.File.Write(b)
}

// canWait reports whether waiting for the descriptor makes sense: a file is
// always ready.
func (s *File) canWait() bool {
	return s.fd >= 0 && s.kind != Regular && s.kind != Append && s.kind != Null
}

// KindOf asks the system what f is.
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

// isNull compares with the null device itself, whatever name f was opened by.
func isNull(info os.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(null, info)
}

// Remaining is how many bytes of a regular file are still to be read; -1 of
// anything else.
func (s *File) Remaining() int64 {
	if s.kind != Regular {
		return -1
	}
	info, err := s.Stat()
	if err != nil {
		return -1
	}
	at, err := s.Seek(0, io.SeekCurrent)
	if err != nil || info.Size() <= at {
		return -1
	}
	return info.Size() - at
}

// A CopyError says which end of a way failed.
type CopyError struct {
	Reading bool
	Err     error
}

func (e *CopyError) Error() string { return sys.Cause(e.Err).Error() }

func (e *CopyError) Unwrap() error { return e.Err }

// ClosedHere reports whether err only means that this process has closed the file
// or connection, or has interrupted the wait: no error of the other end.
func ClosedHere(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, ErrInterrupted)
}
