package sock

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
)

// Reachable returns the addresses under which other machines may reach a
// listener that is bound to the given one. For a wildcard address these are the
// addresses of all running interfaces, without loopback and link-local ones.
// IPv4 comes first, unless ipv6Only, and in each family the address that leads
// to other networks. If there are none, the loopback address is returned. All
// have bound's port.
func Reachable(bound netip.AddrPort, ipv6Only bool) []netip.AddrPort {
	var all []netip.AddrPort
	for _, addr := range reachable(bound.Addr().Unmap(), ipv6Only) {
		all = append(all, netip.AddrPortFrom(addr, bound.Port()))
	}
	return all
}

// reachable is Reachable without ports.
func reachable(bound netip.Addr, ipv6Only bool) []netip.Addr {
	if !bound.IsUnspecified() {
		return []netip.Addr{bound}
	}
	var all []netip.Addr
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagRunning == 0 {
			continue
		}
		own, _ := i.Addrs()
		for _, a := range own {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				all = append(all, prefix.Addr().Unmap())
			}
		}
	}
	found := order(all, []netip.Addr{outward("udp4", "192.0.2.1:9"), outward("udp6", "[2001:db8::1]:9")}, bound.Is4(), ipv6Only)
	switch {
	case len(found) > 0:
		return found
	case ipv6Only:
		return []netip.Addr{netip.IPv6Loopback()}
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
}

// order selects and sorts interface addresses as Reachable returns them.
// outward are the addresses that come first in their family.
func order(all, outward []netip.Addr, ipv4Only, ipv6Only bool) []netip.Addr {
	all = slices.DeleteFunc(all, func(a netip.Addr) bool {
		return !a.IsGlobalUnicast() || ipv4Only && !a.Is4() || ipv6Only && a.Is4()
	})
	rank := func(a netip.Addr) int {
		n := 0
		if !a.Is4() {
			n += 2
		}
		if !slices.Contains(outward, a) {
			n++
		}
		return n
	}
	slices.SortStableFunc(all, func(a, b netip.Addr) int { return cmp.Compare(rank(a), rank(b)) })
	return all
}

// outward returns the address of this machine from which packets go to the
// remote address; the zero Addr if there is no route. network is udp4 or udp6:
// nothing is sent.
func outward(network, remote string) netip.Addr {
	c, err := net.Dial(network, remote)
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return AddrPort(c.LocalAddr()).Addr().Unmap()
}
