//go:build unix

package sock

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ListenPacket binds a datagram socket as config does. Package net binds the
// address of a multicast group as 0.0.0.0 or ::, which would receive everything
// for the port; ListenPacket binds the group and joins it on the interface of
// the route, or of the zone. If joining fails, joinErr is the reason, and conn
// is valid all the same: it receives what arrives for another member on this
// host.
func ListenPacket(ctx context.Context, config net.ListenConfig, network, addr string) (conn net.PacketConn, joinErr, err error) {
	group, parseErr := netip.ParseAddrPort(addr)
	if parseErr != nil || !group.Addr().IsMulticast() {
		conn, err = config.ListenPacket(ctx, network, addr)
		return conn, nil, err
	}
	family, network := unix.AF_INET, "udp4"
	if group.Addr().Is6() {
		family, network = unix.AF_INET6, "udp6"
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), network) // of which FilePacketConn makes a copy
	defer f.Close()
	if config.Control != nil {
		raw, err := f.SyscallConn()
		if err != nil {
			return nil, nil, err
		}
		if err := config.Control(network, addr, raw); err != nil {
			return nil, nil, err
		}
	}
	if err := bindGroup(fd, group); err != nil {
		return nil, nil, err
	}
	joinErr = joinGroup(fd, group.Addr())
	conn, err = net.FilePacketConn(f)
	return conn, joinErr, err
}

// bindGroup binds fd to the address of a group. As with package net, several
// sockets may bind the same one.
func bindGroup(fd int, group netip.AddrPort) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_REUSEADDR", err)
	}
	if err := reusePort(fd); err != nil {
		return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
	}
	var name unix.Sockaddr
	if addr := group.Addr(); addr.Is4() {
		name = &unix.SockaddrInet4{Port: int(group.Port()), Addr: addr.As4()}
	} else {
		zone, err := ZoneIndex(addr)
		if err != nil {
			return err
		}
		name = &unix.SockaddrInet6{Port: int(group.Port()), Addr: addr.As16(), ZoneId: uint32(zone)}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, name))
}

// joinGroup makes fd a member of a group, on the interface of the zone, or of
// the route if there is no zone.
func joinGroup(fd int, group netip.Addr) error {
	if group.Is4() {
		return os.NewSyscallError("setsockopt IP_ADD_MEMBERSHIP",
			unix.SetsockoptIPMreq(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreq{Multiaddr: group.As4()}))
	}
	zone, err := ZoneIndex(group)
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt IPV6_JOIN_GROUP",
		unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(zone)}))
}

// ZoneIndex returns the index of the interface of an address's zone, 0 without
// one.
func ZoneIndex(addr netip.Addr) (int, error) {
	if addr.Zone() == "" {
		return 0, nil
	}
	if n, err := strconv.Atoi(addr.Zone()); err == nil {
		return n, nil
	}
	i, err := net.InterfaceByName(addr.Zone())
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", addr.Zone(), err)
	}
	return i.Index, nil
}
