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

// ownGroupsOnly makes fd receive from a group what arrives on its interface. By
// default Linux also delivers what arrives on the interfaces of other members
// on this host (ip(7), IP_MULTICAST_ALL). IPV6_MULTICAST_ALL looks at the group
// only, so that an IPv6 socket is bound to the interface with the index zone;
// if zone is 0 it goes on receiving from all.
func ownGroupsOnly(fd int, ip6 bool, zone int) error {
	if !ip6 {
		return os.NewSyscallError("setsockopt IP_MULTICAST_ALL", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0))
	}
	if zone == 0 {
		return nil
	}
	return os.NewSyscallError("setsockopt SO_BINDTOIFINDEX", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, zone))
}
