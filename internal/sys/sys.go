// Package sys holds what operating systems do differently and the words that
// they have for their errors.
package sys

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Sleep waits for d and reports whether ctx is still alive.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Cause returns the system's own error inside err: without the operation and
// the address that Go's net and os packages wrap around it.
func Cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	var addr *net.AddrError
	if errors.As(err, &addr) {
		return errors.New(addr.Err)
	}
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// IsErrno reports whether err comes from a system call.
func IsErrno(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

// TimedOut reports whether err is a time limit of this process, of a context or
// a deadline, and not the ETIMEDOUT of the kernel.
func TimedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() && !IsErrno(err)
}

// Strerror returns the cause as strerror(3) words it, with a capital letter.
func Strerror(err error) string {
	text := Cause(err).Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

// Capitalised returns the text of err, with the cause that comes from a system
// call as strerror(3) words it.
func Capitalised(err error) string {
	text := err.Error()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if i := strings.LastIndex(text, errno.Error()); i >= 0 {
			return text[:i] + Strerror(errno) + text[i+len(errno.Error()):]
		}
	}
	return text
}

// The errors of Windows' sockets. Package syscall has numbers of its own for
// ECONNREFUSED and the like there, which no call returns.
const (
	wsaConnAborted syscall.Errno = 10053
	wsaConnReset   syscall.Errno = 10054
	wsaConnRefused syscall.Errno = 10061
)

// IsReset reports whether err means that the peer has reset the connection or
// closed its receiving half.
func IsReset(err error) bool {
	return isAny(err, syscall.ECONNRESET, syscall.EPIPE, wsaConnReset, wsaConnAborted)
}

// IsRefused reports whether err means that nothing listens at the peer's
// address.
func IsRefused(err error) bool { return isAny(err, syscall.ECONNREFUSED, wsaConnRefused) }

// isAny reports whether err comes from a system call that has returned one of
// the numbers.
func isAny(err error, numbers ...syscall.Errno) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains(numbers, errno)
}
