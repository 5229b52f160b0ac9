//go:build unix

package main

import (
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"purr/internal/sys"
)

// An alarm ends what waits for stdin or stdout. It is a pipe, because poll(2)
// waits for descriptors only, and a channel for those who wait for channels.
type alarm struct {
	r, w *os.File
	rung chan struct{}
	once sync.Once
}

func newAlarm() (*alarm, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &alarm{r: r, w: w, rung: make(chan struct{})}, nil
}

// ring ends every wait, now and later. It may be called more than once.
func (a *alarm) ring() {
	a.once.Do(func() {
		close(a.rung)
		_ = a.w.Close()
	})
}

// close frees the alarm once nobody waits any more.
func (a *alarm) close() {
	a.ring()
	_ = a.r.Close()
}

func (s *stdio) waitReadable() error { return s.wait(unix.POLLIN) }
func (s *stdio) waitWritable() error { return s.wait(unix.POLLOUT) }

// waitBroken waits until nobody can read any more what is written to stdout:
// poll reports POLLERR for that even if no event is asked for.
func (s *stdio) waitBroken() error { return s.wait(0) }

// wait blocks until the descriptor has one of the events, has failed or was
// hung up (all of which the following read or write will tell), or until the
// alarm goes off: errStopped.
func (s *stdio) wait(events int16) error {
	if !s.canWait() {
		return nil
	}
	return s.alarm.wait(s.fd, events, time.Time{})
}

// wait blocks in poll(2) until fd has one of the events, or the alarm goes
// off (errStopped), or the deadline has passed (os.ErrDeadlineExceeded; none if
// it is zero).
func (a *alarm) wait(fd int, events int16, deadline time.Time) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: -1}}
	raw, err := a.r.SyscallConn()
	if err != nil {
		return errStopped
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
		return errStopped
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
func (s *stdio) Ready() bool { return !s.canWait() || sys.Readable(s.fd) }

// broken reports whether nobody can read any more what is written to stdout.
func (s *stdio) broken() bool { return s.canWait() && sys.Ready(s.fd, 0) }

func isTerminal(f *os.File) bool {
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

// notifyResize makes c hear of the terminal's size changing.
func notifyResize(c chan<- os.Signal) { signal.Notify(c, unix.SIGWINCH) }
