package sock

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

func TestIsBroadcast(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"255.255.255.255": true, "127.255.255.255": true, "127.0.0.1": false, "127.255.255.254": false, "8.8.8.255": false, "::1": false, "ff02::1": false} {
		if got := isBroadcast(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// A group answers from the addresses of its members, and its datagrams have the
// TTL that was asked for, in both families.
func TestDialUDPGroup(t *testing.T) {
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, `
		ip link add one type veth peer name two
		ip addr add 192.0.2.1/24 dev one
		ip addr add 2001:db8::1/64 dev one nodad
		ip link set one up
		ip link set two up
		ip route add 239.0.0.0/8 dev one
		ip -6 route add ff05::/16 dev one table local
	`)
	ctx, stop := context.WithTimeout(t.Context(), testkit.Patience)
	defer stop()
	for _, test := range []struct {
		group, member string
		broadcast     bool
		is            bool
	}{
		{"239.1.2.3", "192.0.2.1", false, true},
		{"ff05::1:3", "2001:db8::1", false, true},
		{"192.0.2.255", "192.0.2.1", true, true},
		{"192.0.2.1", "192.0.2.1", true, false},
	} {
		config := net.ListenConfig{}
		bound := test.group
		if test.broadcast || !test.is {
			bound = "0.0.0.0"
		}
		member, joinErr, err := ListenPacket(ctx, config, "udp", net.JoinHostPort(bound, "9"))
		if err != nil || joinErr != nil {
			t.Fatal(test.group, err, joinErr)
		}
		options := Options{TTL: 3, Broadcast: test.broadcast}
		conn, err := DialUDP(ctx, net.Dialer{Control: options.Control}, netip.AddrPort{}, netip.MustParseAddrPort(net.JoinHostPort(test.group, "9")), test.broadcast)
		if err != nil {
			t.Fatal(test.group, err)
		}
		if _, is := conn.(*GroupConn); is != test.is {
			t.Fatalf("%s: a %T", test.group, conn)
		}
		if conn.RemoteAddr().String() != net.JoinHostPort(test.group, "9") {
			t.Errorf("%s: the peer is %v", test.group, conn.RemoteAddr())
		}
		_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
		_ = member.SetDeadline(time.Now().Add(testkit.Patience))
		testkit.WriteString(t, conn, "who is there?")
		b := make([]byte, 100)
		n, from, err := member.ReadFrom(b)
		if err != nil || string(b[:n]) != "who is there?" {
			t.Fatalf("%s: the member has %q, %v", test.group, b[:n], err)
		}
		// A member answers from an address and port of its own.
		own, err := net.ListenPacket("udp", net.JoinHostPort(test.member, "0"))
		if err != nil {
			t.Fatal(err)
		}
		if test.is {
			if _, err := own.WriteTo([]byte("me"), from); err != nil {
				t.Fatal(err)
			}
			if n, err := conn.Read(b); err != nil || string(b[:n]) != "me" {
				t.Errorf("%s: the answer is %q, %v", test.group, b[:n], err)
			}
		}
		if ttl := multicastTTL(t, conn, from); ttl != 3 {
			t.Errorf("%s: the TTL is %d", test.group, ttl)
		}
		for _, c := range []interface{ Close() error }{own, member, conn} {
			_ = c.Close()
		}
	}
}

// multicastTTL returns the TTL or hop limit of a socket's datagrams to groups.
func multicastTTL(t *testing.T, conn net.Conn, from net.Addr) (ttl int) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()

	if err != nil {
		t.Fatal(err)
	}
	controlErr := raw.Control(func(fd uintptr) {
		if AddrPort(from).Addr().Is6() {
			ttl, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS)
		} else {
			ttl, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_TTL)
		}
	})
	if err != nil || controlErr != nil {
		t.Fatal(err, controlErr)
	}
	return ttl
}

// An IPv4 group may have an interface, which package netip does not parse.
func TestParseGroup(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"239.1.2.3%eth0": "::ffff:239.1.2.3%eth0", "224.0.0.1%2": "::ffff:224.0.0.1%2",
		"239.1.2.3": "", "239.1.2.3%": "", "127.0.0.1%lo": "", "ff02::1%lo": "", "::ffff:239.1.2.3%lo": "", "host%lo": "", "%lo": "", "": "",
	} {
		group, ok := ParseGroup(text)
		if ok != (want != "") || ok && (group.String() != want || !group.IsMulticast()) {
			t.Errorf("%q: %v, %v", text, group, ok)
		}
	}
}

// A listener on a group hears what arrives on its interface, also while another
// one on this host is a member on another interface.
func TestListenPacketOnInterface(t *testing.T) {
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, `
		ip link add one type veth peer name other1
		ip link add two type veth peer name other2
		ip addr add 192.0.2.1/24 dev one
		ip addr add 2001:db8::1/64 dev one nodad
		ip addr add 198.51.100.2/24 dev two
		ip addr add 2001:db8:1::2/64 dev two nodad
		ip link set one up
		ip link set two up
		ip link set other1 up
		ip link set other2 up
	`)
	ctx, stop := context.WithTimeout(t.Context(), testkit.Patience)
	defer stop()
	listen := func(zoned netip.Addr) net.PacketConn {
		conn, joinErr, err := ListenPacket(ctx, net.ListenConfig{}, "udp", netip.AddrPortFrom(zoned, 9).String())
		if err != nil || joinErr != nil {
			t.Fatal(zoned, err, joinErr)
		}
		_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
		return conn
	}
	four, _ := ParseGroup("239.1.2.3%one")
	for _, group := range []netip.Addr{four, netip.MustParseAddr("ff05::1:3%one")} {
		members := map[string]net.PacketConn{"one": listen(group), "two": listen(group.WithZone("two"))}
		for _, name := range []string{"two", "one"} {
			sendTo(t, group.WithZone(name), 9, "on "+name)
		}
		for name, member := range members {
			b := make([]byte, 100)
			n, _, err := member.ReadFrom(b) // the first is that of its own interface
			if err != nil || string(b[:n]) != "on "+name {
				t.Errorf("%v: the member on %s has %q, %v", group, name, b[:n], err)
			}
			_ = member.Close()
		}
		_, _, err := ListenPacket(ctx, net.ListenConfig{}, "udp", netip.AddrPortFrom(group.WithZone("none"), 9).String())
		if err == nil {
			t.Errorf("%v: joined on no interface", group)
		}
	}
}

// A datagram to a group with an interface leaves on that one: the routes lead
// to another, or nowhere. Its source is the interface's address, or the given
// one, and an answer comes back.
func TestDialUDPOnInterface(t *testing.T) {
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, `
		ip link add one type veth peer name other1
		ip link add two type veth peer name other2
		ip link add bare type veth peer name other3
		ip addr add 192.0.2.1/24 dev one
		ip addr add 192.0.2.9/24 dev one
		ip addr add 198.51.100.2/24 dev two
		ip link set one up
		ip link set two up
		ip link set bare up
		ip link set other3 up
		ip link set other1 up
		ip link set other2 up
	`)
	ctx, stop := context.WithTimeout(t.Context(), testkit.Patience)
	defer stop()
	four, _ := ParseGroup("239.1.2.3%one")
	members := map[string]net.PacketConn{}
	for _, name := range []string{"one", "two"} {
		member, joinErr, err := ListenPacket(ctx, net.ListenConfig{}, "udp", netip.AddrPortFrom(four.WithZone(name), 9).String())
		if err != nil || joinErr != nil {
			t.Fatal(name, err, joinErr)
		}
		defer member.Close()
		_ = member.SetDeadline(time.Now().Add(testkit.Patience))
		members[name] = member
	}
	options := Options{TTL: 3}
	ask := func(name, local, from string) {
		t.Helper()
		var own netip.AddrPort
		if local != "" {
			own = netip.AddrPortFrom(netip.MustParseAddr(local), 0)
		}
		conn, err := DialUDP(ctx, net.Dialer{Control: options.Control}, own, netip.AddrPortFrom(four.WithZone(name), 9), false)
		if err != nil {
			t.Fatal(name, local, err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
		testkit.WriteString(t, conn, "on "+name+from)
		b := make([]byte, 100)
		n, source, err := members[name].ReadFrom(b)
		if err != nil || string(b[:n]) != "on "+name+from || AddrPort(source).Addr() != netip.MustParseAddr(from) {
			t.Fatalf("%s: the member has %q from %v, %v", name, b[:n], source, err)
		}
		if conn.RemoteAddr().String() != "239.1.2.3:9" || multicastTTL(t, conn, source) != 3 {
			t.Errorf("%s: the peer is %v", name, conn.RemoteAddr())
		}
		answerer, err := net.ListenPacket("udp4", from+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer answerer.Close()
		if _, err := answerer.WriteTo([]byte("me"), source); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(b); err != nil || string(b[:n]) != "me" {
			t.Errorf("%s: the answer is %q, %v", name, b[:n], err)
		}
	}
	for _, routes := range []string{"", "ip route add 239.0.0.0/8 dev one", "ip route replace 239.0.0.0/8 dev two"} {
		testkit.MustRunAll(t, routes)
		ask("one", "", "192.0.2.1")
		ask("two", "", "198.51.100.2")
		ask("one", "192.0.2.9", "192.0.2.9")
	}
	for _, name := range []string{"none", "99999", "bare"} {
		if conn, err := DialUDP(ctx, net.Dialer{}, netip.AddrPort{}, netip.AddrPortFrom(four.WithZone(name), 9), false); err == nil {
			t.Errorf("%s: %v", name, conn.LocalAddr())
		}
	}
}

// sendTo sends a datagram to a group, by the interface of its zone.
func sendTo(t *testing.T, group netip.Addr, port uint16, text string) {
	t.Helper()
	index, err := ZoneIndex(group)
	if err != nil {
		t.Fatal(err)
	}
	ip6 := !group.Unmap().Is4()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		controlErr := raw.Control(func(fd uintptr) {
			if ip6 {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index)
			} else {
				err = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(index)})
			}
		})
		return errors.Join(err, controlErr)
	}}
	network := "udp4"
	if ip6 {
		network = "udp6"
	}
	conn, err := config.ListenPacket(t.Context(), network, ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.WriteTo([]byte(text), net.UDPAddrFromAddrPort(netip.AddrPortFrom(group.Unmap(), port))); err != nil {
		t.Fatal(err)
	}
}
