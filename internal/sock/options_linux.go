package sock

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// dualStackOptions says whether an IPv6 socket takes the IPv4 options too, for
// the IPv4 peers of a dual-stack listener. Linux does.
const dualStackOptions = true

// setMinTTL drops what comes from further away than the sender's TTL allows
// (RFC 5082, the generalized TTL security mechanism).
func setMinTTL(fd int, ip6 bool, ttl int) error {
	if ip6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, ttl); err != nil {
			return os.NewSyscallError("setsockopt IPV6_MINHOPCOUNT", err)
		}
	}
	return os.NewSyscallError("setsockopt IP_MINTTL", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, ttl))
}

// SetCork keeps back what fills no segment, for 200 ms at most, or ends that:
// TCP_CORK in tcp(7).
func SetCork(conn *net.TCPConn, on bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	value := 0
	if on {
		value = 1
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, value) })
}
