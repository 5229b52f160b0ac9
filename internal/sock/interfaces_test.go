package sock

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
)

// A bound address stands for itself, and a wildcard for addresses of this
// machine.
func TestReachable(t *testing.T) {
	t.Parallel()
	for _, bound := range []string{"127.0.0.1", "::1", "192.0.2.7", "::ffff:192.0.2.7"} {
		addr := netip.MustParseAddr(bound)
		if got := Reachable(netip.AddrPortFrom(addr, 9), false); !slices.Equal(got, []netip.AddrPort{netip.AddrPortFrom(addr.Unmap(), 9)}) {
			t.Errorf("%s: %v", bound, got)
		}
	}
	for _, bound := range []string{"0.0.0.0", "::"} {
		addrs := reachable(netip.MustParseAddr(bound), false)
		if len(addrs) == 0 {
			t.Errorf("%s: no address", bound)
		}
		for i, addr := range addrs {
			if bound == "0.0.0.0" && !addr.Is4() || addr.IsLoopback() && len(addrs) > 1 || addr.IsUnspecified() || addr.IsLinkLocalUnicast() {
				t.Errorf("%s: %v", bound, addrs)
			}
			if i > 0 && addr.Is4() && !addrs[i-1].Is4() {
				t.Errorf("%s: %v is not sorted by family", bound, addrs)
			}
			ln, err := net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
			if err != nil {
				t.Errorf("%s: %s is not this machine's: %v", bound, addr, err)
				continue
			}
			_ = ln.Close()
		}
	}
	if addrs := reachable(netip.IPv6Unspecified(), true); addrs[0].Is4() {
		t.Errorf("IPv6 only: %v", addrs)
	}
}

// The address on the way to other networks comes first, for the others may be
// those of bridges and tunnels.
func TestOrder(t *testing.T) {
	t.Parallel()
	var all []netip.Addr
	for _, text := range []string{"127.0.0.1", "::1", "172.17.0.1", "2001:db8::5", "192.168.1.5", "fe80::1", "169.254.3.4", "2001:db8::7", "10.0.0.1"} {
		all = append(all, netip.MustParseAddr(text))
	}
	outward := []netip.Addr{netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("2001:db8::7")}
	for _, test := range []struct {
		ipv4, ipv6 bool
		want       string
	}{
		{false, false, "[192.168.1.5 172.17.0.1 10.0.0.1 2001:db8::7 2001:db8::5]"},
		{true, false, "[192.168.1.5 172.17.0.1 10.0.0.1]"},
		{false, true, "[2001:db8::7 2001:db8::5]"},
	} {
		if got := fmt.Sprint(order(slices.Clone(all), outward, test.ipv4, test.ipv6)); got != test.want {
			t.Errorf("%v: %s, want %s", test, got, test.want)
		}
	}
	if got := order(slices.Clone(all), []netip.Addr{{}, {}}, false, false); got[0].String() != "172.17.0.1" {
		t.Errorf("without routes: %v", got)
	}
}
