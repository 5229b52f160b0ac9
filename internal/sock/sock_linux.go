package sock

import (
	"encoding/binary"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// Unacked returns the number of bytes, FIN included, that the peer's system has
// not acknowledged (SIOCOUTQ in tcp(7)), or the error that has ended the
// connection. It takes that error from the socket (SO_ERROR): the next read or
// write does not return it. A Unix socket delivers at once: always 0, and the
// error is ECONNRESET if the peer has closed before it had read everything.
func Unacked(c net.Conn) (n int, err error) {
	socket := Under(c)
	raw, ok := RawStream(socket)
	if !ok {
		return 0, nil
	}
	_, tcp := socket.(*net.TCPConn)
	controlErr := raw.Control(func(fd uintptr) {
		var pending int
		if pending, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && pending != 0 {
			err = unix.Errno(pending)
		}
		if err != nil || !tcp {
			return
		}
		if n, err = sys.IoctlInt(int(fd), unix.SIOCOUTQ); err != nil || n == 0 {
			return
		}
		// SO_ERROR is returned once, and a read or write may have taken it.
		info, infoErr := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if infoErr == nil && info.State == unix.BPF_TCP_CLOSE {
			// The state is also CLOSE if the last acknowledgement came just now.
			if n, err = sys.IoctlInt(int(fd), unix.SIOCOUTQ); err == nil && n > 0 {
				err = unix.ECONNRESET
			}
		}
	})
	if controlErr != nil {
		return 0, controlErr
	}
	return n, err
}

// Unsent returns what SIOCOUTQ in tcp(7) counts: the bytes that the peer's
// system has not acknowledged. Unlike Unacked it also counts those of a
// connection that was reset, and leaves its error to the next read or write.
func Unsent(c net.Conn) (n int) {
	if raw, ok := RawStream(Under(c)); ok {
		_ = raw.Control(func(fd uintptr) { n, _ = sys.IoctlInt(int(fd), unix.SIOCOUTQ) })
	}
	return n
}

// PeerClosed reports whether the FIN of the peer has arrived on a TCP
// connection that this end has not closed. It is false for any other
// connection, also for one that wraps a TCP connection.
func PeerClosed(c net.Conn) bool {
	raw, ok := RawStream(c)
	if !ok {
		return false
	}
	return inState(raw, unix.BPF_TCP_CLOSE_WAIT)
}

// Broken reports whether a TCP connection is gone at both ends although this
// end has not closed it: after a reset, or a timeout of tcp(7). Linux returns
// the error of such an end once, to a read or a write; afterwards a read
// returns 0 bytes, as at an orderly end. Broken is false for any other
// connection.
func Broken(c net.Conn) bool {
	raw, ok := RawStream(Under(c))
	return ok && inState(raw, unix.BPF_TCP_CLOSE)
}

// inState reports whether a TCP socket is in the given state, one of
// unix.BPF_TCP_* (RFC 9293, section 3.3.2).
func inState(raw syscall.RawConn, state uint8) (is bool) {
	_ = raw.Control(func(fd uintptr) {
		// The state is the first byte of the information, of which the kernel copies
		// as much as there is room for.
		info, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		is = err == nil && binary.NativeEndian.AppendUint32(nil, uint32(info))[0] == state
	})
	return is
}

// Delivered reports whether the peer's system has acknowledged every byte sent
// to c, and returns the smoothed round trip time (TCP_INFO in tcp(7)). Unlike
// Unacked it leaves an error of the connection to the next read or write. all
// is true and rtt 0 for a Unix socket, which delivers at once, and where they
// are unknown.
func Delivered(c net.Conn) (all bool, rtt time.Duration) {
	all = true
	raw, ok := RawStream(Under(c))
	if !ok {
		return all, 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			all = info.Unacked == 0 && info.Notsent_bytes == 0
			rtt = time.Duration(info.Rtt) * time.Microsecond
			if isShort(info) {
				n, err := sys.IoctlInt(int(fd), unix.SIOCOUTQ)
				all = err != nil || n == 0
			}
		}
	})
	return all, rtt
}
