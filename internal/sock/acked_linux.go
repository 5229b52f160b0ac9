package sock

import (
	"net"

	"golang.org/x/sys/unix"
)

// Acked returns how many of the max bytes written to c the peer's system has
// acknowledged. known is false if that is unknown: on a Unix socket, and on a
// wrapped or multipath connection that has failed.
//
// The kernel's count (RFC 4898, tcpEStatsAppHCThruOctetsAcked) includes the SYN
// of the end that dialled, but not that of the end that accepted. It includes
// an acknowledged FIN, which comes last and so is cut off by max.
func Acked(c net.Conn, dialled bool, max int64) (n int64, known bool) {
	tcp, ok := Under(c).(*net.TCPConn)
	if !ok {
		return 0, false
	}
	if Under(c) != c {
		return AckedByQueue(c, max) // the kernel counts TLS's bytes, handshake and all
	}
	if multipath, err := tcp.MultipathTCP(); multipath || err != nil {
		return AckedByQueue(c, max) // each path has counts of its own
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, false
	}
	var info *unix.TCPInfo
	controlErr := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if controlErr != nil || err != nil || isShort(info) {
		return AckedByQueue(c, max)
	}
	n = int64(info.Bytes_acked)
	if dialled && n > 0 {
		n--
	}
	return min(n, max), true
}

// isShort reports whether the kernel has filled only the beginning of the
// information on a connection that has sent something: the counts were added in
// Linux 4.1 to 4.6, and qemu's user mode fills four bytes.
func isShort(info *unix.TCPInfo) bool { return info.Segs_out == 0 }

// AckedByQueue is Acked by another count: max less the bytes in the send queue.
// known is false once the connection has failed. Bytes that were sent before
// those max, such as a request to a proxy, do not count.
func AckedByQueue(c net.Conn, max int64) (n int64, known bool) {
	left, err := Unacked(c)
	if err != nil {
		return 0, false
	}
	return max - min(max, int64(left)), true
}
