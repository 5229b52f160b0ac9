//go:build unix

package main

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// setOptions applies the command line's socket options to a socket that is
// neither bound nor connected yet: buffer sizes decide the window scale that
// the handshake announces (RFC 7323, section 2), so later is too late.
func (c *config) setOptions(network, _ string, raw syscall.RawConn) error {
	var failed error
	set := func(fd, level, name, value int, what string) {
		if err := unix.SetsockoptInt(fd, level, name, value); err != nil && failed == nil {
			failed = os.NewSyscallError("setsockopt "+what, err)
		}
	}
	ip6 := strings.HasSuffix(network, "6")
	err := raw.Control(func(handle uintptr) {
		fd := int(handle)
		if c.broadcast {
			set(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1, "SO_BROADCAST")
		}
		if c.receiveBuf > 0 {
			set(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, c.receiveBuf, "SO_RCVBUF")
		}
		if c.sendBuf > 0 {
			set(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, c.sendBuf, "SO_SNDBUF")
		}
		if c.sourcePort > 0 { // as nc: a port in TIME_WAIT can be dialled from again
			set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, "SO_REUSEADDR")
		}
		if c.ttl > 0 {
			if ip6 {
				set(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, c.ttl, "IPV6_UNICAST_HOPS")
			}
			if !ip6 || dualStackOptions {
				set(fd, unix.IPPROTO_IP, unix.IP_TTL, c.ttl, "IP_TTL")
			}
		}
		if c.tos != nil {
			if ip6 {
				set(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, *c.tos, "IPV6_TCLASS")
			}
			if !ip6 || dualStackOptions {
				set(fd, unix.IPPROTO_IP, unix.IP_TOS, *c.tos, "IP_TOS")
			}
		}
		if c.minTTL > 0 && failed == nil {
			failed = setMinTTL(fd, ip6, c.minTTL)
		}
	})
	if err != nil {
		return err
	}
	return failed
}
