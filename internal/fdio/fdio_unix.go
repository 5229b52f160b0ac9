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

// An alarm ends what waits for stdin or stdout. It is a pipe, because poll(2)
// waits for descriptors only, and a channel for those who wait for channels.
type Interrupt struct {
	r, w *os.File
	rung chan struct{}
	once sync.Once
}

func NewInterrupt() (*Interrupt, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &Interrupt{r: r, w: w, rung: make(chan struct{})}, nil
}

// Fire ends every wait, now and later. It may be called more than once.
func (a *Interrupt) Fire() {
	a.once.Do(func() {
		close(a.rung)
		_ = a.w.Close()
	})
}

// Close frees the alarm once nobody waits any more.
func (a *Interrupt) Close() {
	a.Fire()
	_ = a.r.Close()
}

func (s *File) WaitReadable() error { return s.wait(unix.POLLIN) }
func (s *File) WaitWritable() error { return s.wait(unix.POLLOUT) }

// WaitBroken waits until nobody can read any more what is written to stdout:
// poll reports POLLERR for that even if no event is asked for.
func (s *File) WaitBroken() error { return s.wait(0) }

// wait blocks until the descriptor has one of the events, has failed or was
// hung up (all of which the following read or write will tell), or until the
// alarm goes off: errStopped.
func (s *File) wait(events int16) error {
	if !s.canWait() {
		return nil
	}
	return s.Interrupt.Wait(s.fd, events, time.Time{})
}

// Wait blocks in poll(2) until fd has one of the events, or the alarm goes
// off (errStopped), or the deadline has passed (os.ErrDeadlineExceeded; none if
// it is zero).
func (a *Interrupt) Wait(fd int, events int16, deadline time.Time) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: -1}}
	raw, err := a.r.SyscallConn()
	if err != nil {
		return ErrInterrupted
	}
	n := 0
	var pollErr error
	// Inside Control the alarm's descriptor cannot be closed and reused by
	// another thread. It never blocks that other thread: ring closes the
	// other end, which ends this poll.
	err = raw.Control(func(alarmFD uintptr) {
		fds[1] = unix.PollFd{Fd: int32(alarmFD), Events: unix.POLLIN}
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

// milliseconds is the time left as poll(2) takes it: rounded up, so that it
// does not return just before the deadline; -1 for ever.
func milliseconds(deadline time.Time) int {
	if deadline.IsZero() {
		return -1
	}
	left := time.Until(deadline)
	return int(min(max(0, (left+time.Millisecond-1)/time.Millisecond), 1<<30))
}

// Ready reports whether a read would return at once.
func (s *File) Ready() bool { return !s.canWait() || sys.Readable(s.fd) }

// Broken reports whether nobody can read any more what is written to stdout.
func (s *File) Broken() bool { return s.canWait() && sys.Ready(s.fd, 0) }

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
