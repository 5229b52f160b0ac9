//go:build unix

package sys

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// OnFD calls f with the descriptor of file, again while f returns EINTR. The
// descriptor stays open meanwhile. The error is f's, or that of a closed file,
// for which f is not called.
func OnFD(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for {
			if failed = f(int(fd)); failed != unix.EINTR {
				return
			}
		}
	})
	return errors.Join(err, failed)
}

// Readable reports whether a read of the descriptor would return at once.
func Readable(fd int) bool { return Ready(fd, unix.POLLIN) }

// Writable reports whether a write to the descriptor would take something at
// once.
func Writable(fd int) bool { return Ready(fd, unix.POLLOUT) }

// Ready reports whether the descriptor has one of the poll(2) events, has
// failed or was hung up.
func Ready(fd int, events int16) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// Arrived reports whether a read of the socket c would return at once: with
// bytes, with the end or with an error. It is false for anything that is no
// syscall.Conn.
func Arrived(c any) (there bool) {
	conn, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { there = Readable(int(fd)) })
	return there
}

// OpenNofollow is the flag of open(2) that does not follow a symbolic link.
const OpenNofollow = unix.O_NOFOLLOW

// OpenNonblock is the flag of open(2) that does not wait for the writer of a
// FIFO.
const OpenNonblock = unix.O_NONBLOCK
