//go:build unix

package sock

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// AwaitBroken waits until nothing can be delivered to the peer any more: nil if
// the peer of a Unix socket has closed it altogether, ECONNRESET if the
// connection was reset. It serves a connection whose peer has finished, and
// whose receiving direction no other goroutine reads. Any other error ends the
// wait without a result: that of a connection closed here, one that a write has
// returned already, or a reset that means nothing, see AwaitAck.
func AwaitBroken(c net.Conn) error {
	raw, ok := RawStream(Under(c))
	if !ok {
		return os.ErrInvalid
	}
	_, isUnix := Under(c).(*net.UnixConn)
	pending, err := 0, error(nil)
	// poll(2) reports POLLHUP and POLLERR if no event is asked for. Go's poller
	// wakes this reader up at each of them.
	waitErr := raw.Read(func(fd uintptr) bool {
		if !sys.Ready(int(fd), 0) {
			return false
		}
		pending, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		return true
	})
	switch {
	case waitErr != nil:
		return waitErr
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case pending != 0 && delivered(c):
		return os.ErrClosed
	case pending == int(unix.EPIPE): // what Linux makes of a reset after the peer's FIN
		return unix.ECONNRESET
	case pending != 0:
		return syscall.Errno(pending)
	case !isUnix: // both directions have ended in order
		return os.ErrClosed
	}
	return nil
}
