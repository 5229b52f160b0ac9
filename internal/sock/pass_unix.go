//go:build unix

package sock

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// IsUnixSocket reports whether a file is a Unix socket, over which descriptors
// can be passed.
func IsUnixSocket(f *os.File) (is bool) {
	_ = sys.OnFD(f, func(fd int) error {
		domain, err := unix.Getsockname(fd)
		_, is = domain.(*unix.SockaddrUnix)
		return err
	})
	return is
}

// Pass sends the descriptor of c to the process behind the Unix socket "to",
// beside a NUL byte (SCM_RIGHTS in unix(7)), as ssh's ProxyUseFdpass expects
// it. c stays open.
func Pass(to *os.File, c net.Conn) error {
	raw, ok := RawStream(c)
	if !ok {
		return errors.New("the connection is no plain socket")
	}
	var err error
	controlErr := raw.Control(func(fd uintptr) {
		err = sys.OnFD(to, func(out int) error {
			for {
				err := unix.Sendmsg(out, []byte{0}, unix.UnixRights(int(fd)), nil, 0)
				switch err {
				case unix.EINTR:
				case unix.EAGAIN:
					if _, err := unix.Poll([]unix.PollFd{{Fd: int32(out), Events: unix.POLLOUT}}, -1); err != nil && err != unix.EINTR {
						return err
					}
				default:
					return err
				}
			}
		})
	})
	return errors.Join(controlErr, err)
}
