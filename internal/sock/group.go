package sock

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// ParseGroup parses the address of an IPv4 multicast group with an interface,
// by name or number: "239.1.2.3%eth0". Package netip has zones for IPv6 only,
// so that the result has the IPv6 form, with the interface as its zone, as
// ListenPacket takes it.
func ParseGroup(text string) (group netip.Addr, ok bool) {
	ip, zone, _ := strings.Cut(text, "%")
	if zone == "" {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil || !addr.Is4() || !addr.IsMulticast() {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16(addr.As16()).WithZone(zone), true
}

// A GroupConn is a UDP socket that sends to a multicast group or a broadcast
// address, and receives from every source: the members answer from addresses of
// their own, which a connected socket would drop.
type GroupConn struct {
	*net.UDPConn
	group *net.UDPAddr
}

// RemoteAddr returns the address of the group.
func (c *GroupConn) RemoteAddr() net.Addr { return c.group }

// Write sends a datagram to the group.
func (c *GroupConn) Write(b []byte) (int, error) { return c.WriteToUDP(b, c.group) }

// DialUDP is DialFrom for UDP. For a multicast group, and with broadcast for a
// broadcast address too, the result is a *GroupConn, else a *net.UDPConn. A
// group with a zone is sent to on that interface, whatever the routes are.
func DialUDP(ctx context.Context, dialer net.Dialer, local, remote netip.AddrPort, broadcast bool) (net.Conn, error) {
	if group := remote.Addr(); group.Is4In6() && group.Zone() != "" {
		index, err := ZoneIndex(group)
		if err != nil {
			return nil, err
		}
		own, err := interfaceIPv4(index)
		if err != nil {
			return nil, err
		}
		dialer.Control = then(dialer.Control, func(raw syscall.RawConn) error { return sendOn(raw, own) })
		remote = netip.AddrPortFrom(group.Unmap(), remote.Port())
	}
	conn, err := DialFrom(ctx, dialer, "udp", local, remote) // an error without a route, or the right
	if err != nil || !remote.Addr().IsMulticast() && !(broadcast && isBroadcast(remote.Addr())) {
		return conn, err
	}
	_ = conn.Close()
	network, own := "udp4", netip.IPv4Unspecified()
	if remote.Addr().Is6() {
		network, own = "udp6", netip.IPv6Unspecified()
	}
	if local.Addr().IsValid() {
		own = local.Addr()
	}
	config := net.ListenConfig{Control: dialer.Control}
	open, err := config.ListenPacket(ctx, network, netip.AddrPortFrom(own, local.Port()).String())
	if err != nil {
		return nil, err
	}
	return &GroupConn{open.(*net.UDPConn), net.UDPAddrFromAddrPort(remote)}, nil
}

// isBroadcast reports whether addr is the broadcast address of all networks
// (RFC 919) or of one that this machine is in.
func isBroadcast(addr netip.Addr) bool {
	if addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return true
	}
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil || !addr.Is4() || !n.Contains(addr.AsSlice()) {
			continue
		}
		last := addr.As4()
		mask := n.Mask[len(n.Mask)-4:]
		bits, _ := mask.Size()
		for i := range last {
			last[i] |= ^mask[i]
		}
		if bits < 31 && addr.As4() == last { // RFC 3021: none in a network of two
			return true
		}
	}
	return false
}

// interfaceIPv4 returns an IPv4 address of an interface, by which ip_mreq names
// it; 0.0.0.0 if index is 0.
func interfaceIPv4(index int) (own [4]byte, err error) {
	if index == 0 {
		return own, nil
	}
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return own, err
	}
	addrs, err := i.Addrs()
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
			return prefix.Addr().As4(), nil
		}
	}
	return own, cmp.Or(err, fmt.Errorf("interface %s has no IPv4 address", i.Name))
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
