package sock

import (
	"net"

	"golang.org/x/sys/unix"
)

// Unacked returns how many bytes, FIN included, the peer's system has
// not acknowledged yet, or the error that ended the connection meanwhile. A
// Unix socket hands its bytes over at once: always 0.
func Unacked(c net.Conn) (n int, err error) {
	tcp, ok := Under(c).(*net.TCPConn)
	if !ok {
		return 0, nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		var pending int
		if pending, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && pending != 0 {
			err = unix.Errno(pending)
			return
		}
		if n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err != nil || n == 0 {
			return
		}
		// The error of a connection that was reset is told only once, and
		// somebody else may have been told.
		info, infoErr := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if infoErr == nil && info.State == unix.BPF_TCP_CLOSE {
			// It has ended in order, too, if the last acknowledgement came just now.
			if n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil && n > 0 {
				err = unix.ECONNRESET
			}
		}
	})
	if controlErr != nil {
		return 0, controlErr
	}
	return n, err
}

// PeerClosed reports whether the peer has closed its sending direction of a TCP
// connection, as far as this system has heard; false for any other.
func PeerClosed(c net.Conn) (closed bool) {
	raw, ok := RawStream(c)
	if !ok {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		closed = err == nil && info.State == unix.BPF_TCP_CLOSE_WAIT
	})
	return closed
}
