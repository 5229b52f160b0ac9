package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// dualStackOptions reports whether an IPv6 socket takes the IPv4 options too,
// for the IPv4 peers of a dual-stack listener.
const dualStackOptions = true

// setMinTTL drops packets whose TTL or hop limit is below ttl (RFC 5082, the
// generalized TTL security mechanism).
func setMinTTL(fd int, ip6 bool, ttl int) error {
	if ip6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, ttl); err != nil {
			return os.NewSyscallError("setsockopt IPV6_MINHOPCOUNT", err)
		}
	}
	return os.NewSyscallError("setsockopt IP_MINTTL", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, ttl))
}
