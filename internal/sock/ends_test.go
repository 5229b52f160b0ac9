package sock

import (
	"net"
	"net/netip"
	"runtime"
	"testing"

	"purr/internal/testkit"
)

// What is recorded for a socket is found through a wrapper, and holds for no
// other socket.
func TestEnds(t *testing.T) {
	client, server := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2")
	for _, pair := range []func() (net.Conn, net.Conn){
		func() (net.Conn, net.Conn) { a, b := testkit.TcpPair(t); return a, b },
		func() (net.Conn, net.Conn) { a, b := testkit.UnixPair(t); return a, b },
	} {
		c, other := pair()
		SetEnds(c, client, server)
		for _, c := range []net.Conn{c, wrapping{c}} {
			if remote, local := Ends(c); remote != client || local != server || RemoteAddr(c).String() != client.String() {
				t.Errorf("%T: %v, %v", c, remote, local)
			}
		}
		if remote, local := Ends(other); remote != AddrPort(other.RemoteAddr()) || local != AddrPort(other.LocalAddr()) || RemoteAddr(other) != other.RemoteAddr() {
			t.Errorf("%T: %v, %v of a socket without a record", other, remote, local)
		}
		_ = c.Close()
		_ = other.Close()
	}
	c, other := net.Pipe()
	SetEnds(c, client, server)
	if remote, _ := Ends(c); remote.IsValid() || RemoteAddr(c) != c.RemoteAddr() {
		t.Error("a pipe has an address")
	}
	_ = c.Close()
	_ = other.Close()
}

// The name of a target behind a proxy stands in for the address of the proxy,
// whose socket keeps its own for everything else.
func TestTarget(t *testing.T) {
	c, other := testkit.TcpPair(t)
	defer c.Close()
	defer other.Close()
	SetTarget(c, &HostAddr{"example.test", 443})
	for _, c := range []net.Conn{c, wrapping{c}} {
		remote := RemoteAddr(c)
		host, port, ok := HostPort(remote)
		if !ok || host != "example.test" || port != 443 || PeerName(remote) != "example.test port 443" || remote.String() != "example.test:443" || remote.Network() != "tcp" {
			t.Errorf("%T: %v is %s port %d, %v", c, remote, host, port, ok)
		}
		if remote, local := Ends(c); remote != AddrPort(other.LocalAddr()) || local != AddrPort(other.RemoteAddr()) {
			t.Errorf("%T: from %v to %v", c, local, remote)
		}
	}
	if name := PeerName(&HostAddr{"::1", 443}); name != "::1 port 443" {
		t.Error(name)
	}
	for _, addr := range []net.Addr{nil, &net.UnixAddr{Name: "/x", Net: "unix"}, &VMAddr{CID: 2, Port: 9}} {
		if host, port, ok := HostPort(addr); ok {
			t.Errorf("%v is %s port %d", addr, host, port)
		}
	}
}

// A wrapping is a connection under another one.
type wrapping struct{ net.Conn }

// NetConn returns it.
func (w wrapping) NetConn() net.Conn { return w.Conn }

// A record is removed with its socket.
func TestEndsAreForgotten(t *testing.T) {
	entries := func() (n int) {
		ends.Range(func(any, any) bool { n++; return true })
		return n
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const many = 100
	for range many {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		SetEnds(c, netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"))
		_ = c.Close()
	}
	testkit.Eventually(t, "the records are gone", func() bool { runtime.GC(); return entries() < many/2 })
}
