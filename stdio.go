package main

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// A fileKind says what stdin or stdout is, because that decides how bytes are
// moved and what the end of the peer means.
type fileKind int

const (
	kindOther    fileKind = iota // a device, or what the system does not tell
	kindNull                     // /dev/null, which Go's runtime also opens in the place of a closed stdin or stdout
	kindTerminal                 // a person
	kindRegular                  // a file that can be sent to its end
	kindAppend                   // a regular file opened with O_APPEND: the kernel refuses to splice to it
	kindPipe                     // an anonymous pipe
	kindFIFO                     // a named pipe
	kindSocket                   // as inetd and some shells hand it down
)

// errStopped is what a waiting read or write returns when its session is over.
var errStopped = errors.New("stopped")

// A source is where a session's outgoing bytes come from: stdin itself, a
// client's share of it under -k, or the line editor. A Read that waits returns
// errStopped when the session's alarm goes off.
type source interface {
	io.Reader
	// Kind is what the bytes come from in the end.
	Kind() fileKind
	// Ready reports whether Read would return at once, with bytes or the end.
	Ready() bool
}

// A stdio is stdin or stdout as one session sees it: reads and writes wait for
// the descriptor in poll(2) together with the session's alarm, so that they
// can be ended. os.File alone cannot do that: the descriptors are opened
// blocking, and O_NONBLOCK would change the open file that the shell holds
// too.
type stdio struct {
	*os.File
	fd    int // valid as long as File is open; -1 where there are no descriptors
	kind  fileKind
	alarm *alarm
	taken atomic.Bool // whether a Read has found something there
}

// sleep waits for d, or for the alarm: errStopped.
func (a *alarm) sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-a.rung:
		return errStopped
	}
}

// newStdio wraps f, which stays the caller's to close.
func newStdio(f *os.File, a *alarm) *stdio {
	s := &stdio{File: f, fd: -1, kind: kindOf(f), alarm: a}
	if raw, err := f.SyscallConn(); err == nil {
		// Control, not Fd: Fd would make an inherited non-blocking descriptor
		// block.
		_ = raw.Control(func(fd uintptr) { s.fd = int(fd) })
	}
	return s
}

func (s *stdio) Kind() fileKind { return s.kind }

// Read waits for input, the end of it, or the alarm.
func (s *stdio) Read(b []byte) (int, error) {
	if err := s.waitReadable(); err != nil {
		return 0, err
	}
	s.taken.Store(true) // before it is gone from where Ready would see it
	return s.File.Read(b)
}

// Write waits until the reader takes bytes, or for the alarm. Once it has
// begun, a write into a pipe that stalls can only be ended by the reader or
// by the end of the process.
func (s *stdio) Write(b []byte) (int, error) {
	if err := s.waitWritable(); err != nil {
		return 0, err
	}
	return s.File.Write(b)
}

// canWait reports whether waiting for the descriptor makes sense: a file is
// always ready.
func (s *stdio) canWait() bool {
	return s.fd >= 0 && s.kind != kindRegular && s.kind != kindAppend && s.kind != kindNull
}

// kindOf asks the system what f is.
func kindOf(f *os.File) fileKind {
	info, err := f.Stat()
	if err != nil {
		return kindOther
	}
	switch mode := info.Mode(); {
	case mode.IsRegular() && appends(f):
		return kindAppend
	case mode.IsRegular():
		return kindRegular
	case mode&os.ModeNamedPipe != 0 && isAnonymous(f, info):
		return kindPipe
	case mode&os.ModeNamedPipe != 0:
		return kindFIFO
	case mode&os.ModeSocket != 0:
		return kindSocket
	case isTerminal(f):
		return kindTerminal
	case mode&os.ModeCharDevice != 0 && isNull(info):
		return kindNull
	}
	return kindOther
}

// isNull compares with the null device itself, whatever name f was opened by.
func isNull(info os.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(null, info)
}
