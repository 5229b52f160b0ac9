//go:build unix

package fdio

import (
	"io"
	"os"
	"sync"
	"syscall"
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
// first. Any other error is poll's. A zero deadline is none; a nil interrupt
// never fires.
func (i *Interrupt) Wait(fd int, events int16, deadline time.Time) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: -1, Events: unix.POLLIN}}
	n := 0
	var pollErr error
	poll := func() {
		for {
			if n, pollErr = unix.Poll(fds, Milliseconds(deadline)); pollErr != unix.EINTR {
				return
			}
		}
	}
	if i == nil {
		poll()
	} else if i.With(func(pipe int) {
		fds[1].Fd = int32(pipe)
		poll()
	}) != nil {
		return ErrInterrupted
	}
	switch {
	case fds[1].Revents != 0:
		return ErrInterrupted
	case pollErr != nil:
		return os.NewSyscallError("poll", pollErr)
	case n == 0:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// With calls f with the reading end of the interrupt's pipe. That end is
// readable once the interrupt has fired, because Fire closes the other end. A
// Close of another goroutine takes effect only after f, so that the descriptor
// is not reused meanwhile. If the interrupt is closed already, With returns an
// error and does not call f.
func (i *Interrupt) With(f func(pipe int)) error {
	raw, err := i.r.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(pipe uintptr) { f(int(pipe)) })
}

// Milliseconds returns the time until the deadline for poll(2), rounded up so
// that poll does not return before it, but at most 2^30, about 12 days; -1, no
// limit, for a zero deadline.
func Milliseconds(deadline time.Time) int {
	if deadline.IsZero() {
		return -1
	}
	left := time.Until(deadline)
	return int(min(max(0, (left+time.Millisecond-1)/time.Millisecond), 1<<30))
}

// Read waits for input or its end and returns the bytes of one read(2). It also
// waits if the descriptor is or becomes non-blocking: O_NONBLOCK belongs to
// every process that has the file open. It makes Used true before it takes
// anything. It returns ErrInterrupted if the interrupt fires first, and io.EOF
// for the null device.
func (f *File) Read(b []byte) (int, error) {
	if f.kind == Null { // which may be closed for reading
		return 0, io.EOF
	}
	for refused := 0; ; refused++ {
		if err := f.await(unix.POLLIN, refused); err != nil {
			return 0, err
		}
		f.used.Store(true)
		n, err := f.call("read", func(fd int) (int, error) { return unix.Read(fd, b) })
		switch {
		case err == unix.EAGAIN:
		case n == 0 && err == nil && len(b) > 0:
			return 0, io.EOF
		default:
			return n, err
		}
	}
}

// maxWrite is the most that one call of write(2) gets, in bytes: some systems
// refuse 2 GiB.
const maxWrite = 1 << 30

// Write waits until the file can be written to and writes all of b, also if the
// descriptor is or becomes non-blocking. It returns ErrInterrupted if the
// interrupt fires first. A write into a blocking pipe that stalls after it has
// begun can only be ended by the reader or the end of the process. A pipe
// without a reader is EPIPE: os.File would end the process for stdout and
// stderr, unless SIGPIPE is caught.
func (f *File) Write(b []byte) (written int, err error) {
	f.before()
	for refused := 0; ; {
		if err := f.await(unix.POLLOUT, refused); err != nil {
			return written, err
		}
		n, err := f.call("write", func(fd int) (int, error) { return unix.Write(fd, b[written:min(len(b), written+maxWrite)]) })
		refused++
		if n > 0 {
			written, refused = written+n, 0
		}
		switch {
		case err != nil && err != unix.EAGAIN:
			return written, err
		case written == len(b):
			return written, nil
		case n == 0 && err == nil:
			return written, io.ErrShortWrite
		}
	}
}

// await waits for an event of poll(2) before a read or write. refused is the
// number of EAGAINs in a row that this read or write has returned although poll
// had reported the event: another process took the input or room, or the device
// does not implement poll. After the second one await pauses for 1 ms first.
// Without an interrupt the first call does not poll: the read or write itself
// waits.
func (f *File) await(events int16, refused int) error {
	switch {
	case f.Interrupt == nil && refused == 0:
		return nil
	case refused > 1:
		if err := f.Interrupt.Sleep(time.Millisecond); err != nil {
			return err
		}
	}
	return f.wait(events)
}

// call calls do, a read(2) or write(2) as name has it, again while a signal
// interrupts it. It returns EAGAIN unchanged, and other errors as os.File does:
// in an *os.PathError.
func (f *File) call(name string, do func(fd int) (int, error)) (n int, err error) {
	if f.raw == nil {
		return 0, &os.PathError{Op: name, Path: f.Name(), Err: os.ErrClosed}
	}
	closed := f.raw.Control(func(fd uintptr) {
		for {
			if n, err = do(int(fd)); err != unix.EINTR {
				return
			}
		}
	})
	switch {
	case closed != nil:
		return 0, closed
	case err != nil:
		n = max(n, 0)
		if err != unix.EAGAIN {
			err = &os.PathError{Op: name, Path: f.Name(), Err: err}
		}
	}
	return n, err
}

// WaitReadable waits until a read would return at once. It returns nil at once
// for a file that poll(2) cannot wait for, and ErrInterrupted if the interrupt
// fires first.
func (f *File) WaitReadable() error { return f.wait(unix.POLLIN) }

// WaitWritable waits until a write would make progress at once. It returns nil
// at once for a file that poll(2) cannot wait for, and ErrInterrupted if the
// interrupt fires first.
func (f *File) WaitWritable() error {
	f.before()
	return f.wait(unix.POLLOUT)
}

// WaitBroken waits until the other end of a pipe or socket is gone: poll(2)
// reports POLLERR also if no event is asked for. It returns nil at once for a
// file that poll(2) cannot wait for, and ErrInterrupted if the interrupt fires
// first.
func (f *File) WaitBroken() error { return f.wait(0) }

// wait waits until poll(2) reports one of the events, an error or a hang-up. It
// returns nil at once if the file cannot be polled: a regular file or the null
// device is always ready. The error is that of Interrupt.Wait.
func (f *File) wait(events int16) error {
	if !f.canWait() {
		return nil
	}
	return f.Interrupt.Wait(f.fd, events, time.Time{})
}

// Ready reports whether a read would return at once. It is true for a file that
// poll(2) cannot wait for.
func (f *File) Ready() bool { return !f.canWait() || sys.Readable(f.fd) }

// Broken reports whether the other end of a pipe or socket is gone.
func (f *File) Broken() bool { return f.canWait() && sys.Ready(f.fd, 0) }

// EndReader makes the other end find the end of its input: it closes a pipe,
// and ends the sending direction of a socket, which processes with another
// descriptor of it would keep open. It does nothing to other files.
func (f *File) EndReader() {
	switch f.kind {
	case Pipe, FIFO:
		_ = f.File.Close()
	case Socket:
		_ = unix.Shutdown(f.fd, unix.SHUT_WR)
	}
}

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool {
	terminal := false
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { terminal = term.IsTerminal(int(fd)) })
	}
	return terminal
}

// appends reports whether f was opened with O_APPEND, as by the shell's >>.
func appends(f *os.File) bool { return statusFlags(f)&unix.O_APPEND != 0 }

// writeOnly reports whether f was opened for writing only.
func writeOnly(f *os.File) bool { return statusFlags(f)&unix.O_ACCMODE == unix.O_WRONLY }

// statusFlags returns the flags that f was opened with (F_GETFL in fcntl(2)), 0
// if they are unknown.
func statusFlags(f *os.File) (flags int) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { flags, _ = unix.FcntlInt(fd, unix.F_GETFL, 0) })
	}
	return flags
}

// deviceOf returns the device number of a device file, 0 for other files.
func deviceOf(info os.FileInfo) uint64 {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode()&os.ModeDevice == 0 {
		return 0
	}
	return uint64(stat.Rdev)
}
