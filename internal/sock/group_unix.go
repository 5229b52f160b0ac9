//go:build unix

package sock

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ListenPacket binds a datagram socket as config does. Package net binds the
// address of a multicast group as 0.0.0.0 or ::, which would receive everything
// for the port; ListenPacket binds the group and joins it on the interface of
// the route, or of the zone. If joining fails, joinErr is the reason, and conn
// is valid all the same: it receives what arrives for another member on this
// host. The zone of an IPv4 group stands behind its IPv6 form, see ParseGroup.
func ListenPacket(ctx context.Context, config net.ListenConfig, network, addr string) (conn net.PacketConn, joinErr, err error) {
	group, parseErr := netip.ParseAddrPort(addr)
	if parseErr != nil || !group.Addr().IsMulticast() {
		conn, err = config.ListenPacket(ctx, network, addr)
		return conn, nil, err
	}
	zone, err := ZoneIndex(group.Addr())
	if err != nil {
		return nil, nil, err
	}
	family, network := unix.AF_INET6, "udp6"
	if group.Addr().Unmap().Is4() {
		family, network = unix.AF_INET, "udp4"
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
	if err := bindGroup(fd, group, zone); err != nil {
		return nil, nil, err
	}
	joinErr = joinGroup(fd, group.Addr(), zone)
	conn, err = net.FilePacketConn(f)
	return conn, joinErr, err
}

// bindGroup binds fd to the address of a group. As with package net, several
// sockets may bind the same one. zone is the index of an interface, or 0.
func bindGroup(fd int, group netip.AddrPort, zone int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_REUSEADDR", err)
	}
	if err := reusePort(fd); err != nil {
		return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
	}
	var name unix.Sockaddr
	if addr := group.Addr().Unmap(); addr.Is4() {
		name = &unix.SockaddrInet4{Port: int(group.Port()), Addr: addr.As4()}
	} else {
		name = &unix.SockaddrInet6{Port: int(group.Port()), Addr: addr.As16(), ZoneId: uint32(zone)}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, name))
}

// joinGroup makes fd a member of a group, on the interface with the index zone,
// or on that of the route if zone is 0, and receive what arrives there.
func joinGroup(fd int, group netip.Addr, zone int) error {
	if group.Unmap().Is4() {
		own, err := interfaceIPv4(zone)
		if err != nil {
			return err
		}
		err = unix.SetsockoptIPMreq(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreq{Multiaddr: group.Unmap().As4(), Interface: own})
		if err != nil {
			return os.NewSyscallError("setsockopt IP_ADD_MEMBERSHIP", err)
		}
		return ownGroupsOnly(fd, false, zone)
	}
	err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(zone)})
	if err != nil {
		return os.NewSyscallError("setsockopt IPV6_JOIN_GROUP", err)
	}
	return ownGroupsOnly(fd, true, zone)
}

// sendOn makes a socket send to IPv4 groups on the interface with the address
// own.
func sendOn(raw syscall.RawConn, own [4]byte) (err error) {
	controlErr := raw.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt IP_MULTICAST_IF", unix.SetsockoptInet4Addr(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, own))
	})
	return cmp.Or(controlErr, err)
}
