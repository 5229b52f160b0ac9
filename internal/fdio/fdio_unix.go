//go:build unix

package fdio

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"purr/internal/sys"
)

// An Interrupt ends waits: those in poll(2) through a pipe, which poll waits
// for beside the file, and those in a select through a channel. Any goroutine
// may use it.
type Interrupt struct {
	r, w  *os.File
	fired chan struct{}
	once  sync.Once
}

// NewInterrupt returns an Interrupt that has not fired. It holds two
// descriptors until it is closed.
func NewInterrupt() (*Interrupt, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &Interrupt{r: r, w: w, fired: make(chan struct{})}, nil
}

// Fire ends every wait, now and later. Further calls do nothing.
func (i *Interrupt) Fire() {
	i.once.Do(func() {
		close(i.fired)
		_ = i.w.Close()
	})
}

// Close fires the interrupt and frees its descriptors.
func (i *Interrupt) Close() {
	i.Fire()
	_ = i.r.Close()
}

// Wait waits in poll(2) until fd has one of the events, or has failed or was
// hung up, which the next read or write reports. It returns ErrInterrupted if
// the interrupt fires first, and os.ErrDeadlineExceeded if the deadline passes
// first; a zero deadline is none.
func (i *Interrupt) Wait(fd int, events int16, deadline time.Time) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: -1}}
	raw, err := i.r.SyscallConn()
	if err != nil {
		return ErrInterrupted
	}
	n := 0
	var pollErr error
	// Inside Control another goroutine cannot close the pipe's descriptor, which
	// could be reused then. Fire closes the other end, and so ends this poll.
	err = raw.Control(func(pipe uintptr) {
		fds[1] = unix.PollFd{Fd: int32(pipe), Events: unix.POLLIN}
		for {
			if n, pollErr = unix.Poll(fds, milliseconds(deadline)); pollErr != unix.EINTR {
				return
			}
		}
	})
	switch {
	case err != nil || fds[1].Revents != 0:
		return ErrInterrupted
	case pollErr != nil:
		return os.NewSyscallError("poll", pollErr)
	case n == 0:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// milliseconds returns the time until the deadline for poll(2), rounded up so
// that poll does not return before it; -1, no limit, for a zero deadline.
func milliseconds(deadline time.Time) int {
	if deadline.IsZero() {
		return -1
	}
	left := time.Until(deadline)
	return int(min(max(0, (left+time.Millisecond-1)/time.Millisecond), 1<<30))
}

// WaitReadable waits until a read would return at once. It returns
// ErrInterrupted if the interrupt fires first.
func (f *File) WaitReadable() error { return f.wait(unix.POLLIN) }

// WaitWritable waits until a write would make progress at once. It returns
// ErrInterrupted if the interrupt fires first.
func (f *File) WaitWritable() error { return f.wait(unix.POLLOUT) }

// WaitBroken waits until the other end of a pipe or socket is gone: poll(2)
// reports POLLERR also if no event is asked for. It returns ErrInterrupted if
// the interrupt fires first.
func (f *File) WaitBroken() error { return f.wait(0) }

func (f *File) wait(events int16) error {
	if !f.canWait() {
		return nil
	}
	return f.Interrupt.Wait(f.fd, events, time.Time{})
}

// Ready reports whether a read would return at once.
func (f *File) Ready() bool { return !f.canWait() || sys.Readable(f.fd) }

// Broken reports whether the other end of a pipe or socket is gone.
func (f *File) Broken() bool { return f.canWait() && sys.Ready(f.fd, 0) }

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool {
	terminal := false
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { terminal = term.IsTerminal(int(fd)) })
	}
	return terminal
}

// appends reports whether f was opened with O_APPEND, as by the shell's >>.
func appends(f *os.File) bool {
	flags := 0
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { flags, _ = unix.FcntlInt(fd, unix.F_GETFL, 0) })
	}
	return flags&unix.O_APPEND != 0
}
