//go:build unix

package sock

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Control sets the options on a socket before it is bound or connected, because
// the handshake announces the window scale (RFC 7323, section 2). It is for the
// Control of net.Dialer and net.ListenConfig. The error is that of the first
// option that failed.
func (o *Options) Control(network, _ string, raw syscall.RawConn) error {
	var failed error
	set := func(fd, level, name, value int, what string) {
		if err := unix.SetsockoptInt(fd, level, name, value); err != nil && failed == nil {
			failed = os.NewSyscallError("setsockopt "+what, err)
		}
	}
	ip6 := strings.HasSuffix(network, "6")
	err := raw.Control(func(handle uintptr) {
		fd := int(handle)
		if o.Broadcast || strings.HasPrefix(network, "udp") { // package net has set it already
			set(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, number(o.Broadcast), "SO_BROADCAST")
		}
		if o.ReceiveBuf > 0 {
			set(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBuf, "SO_RCVBUF")
		}
		if o.SendBuf > 0 {
			set(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuf, "SO_SNDBUF")
		}
		if o.ReuseAddr {
			set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, "SO_REUSEADDR")
		}
		if o.TTL > 0 {
			if ip6 {
				set(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, o.TTL, "IPV6_UNICAST_HOPS")
			}
			if !ip6 || dualStackOptions {
				set(fd, unix.IPPROTO_IP, unix.IP_TTL, o.TTL, "IP_TTL")
			}
		}
		if o.TTL > 0 && strings.HasPrefix(network, "udp") { // a group has one of its own
			if ip6 {
				set(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, o.TTL, "IPV6_MULTICAST_HOPS")
			}
			if !ip6 || dualStackOptions {
				// OpenBSD wants a byte; the others take one.
				if err := unix.SetsockoptByte(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, byte(o.TTL)); err != nil && failed == nil {
					failed = os.NewSyscallError("setsockopt IP_MULTICAST_TTL", err)
				}
			}
		}
		if o.TOS != nil {
			if ip6 {
				set(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, *o.TOS, "IPV6_TCLASS")
			}
			if !ip6 || dualStackOptions {
				set(fd, unix.IPPROTO_IP, unix.IP_TOS, *o.TOS, "IP_TOS")
			}
		}
		if o.MinTTL > 0 && failed == nil {
			failed = setMinTTL(fd, ip6, o.MinTTL)
		}
	})
	if err != nil {
		return err
	}
	return failed
}
