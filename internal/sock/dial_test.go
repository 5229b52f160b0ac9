package sock

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"purr/internal/testkit"
)

// A connection comes from the given address and port, and from any without one.
func TestDialFrom(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	loopback := netip.MustParseAddr("127.0.0.1")
	for network, remote := range map[string]netip.AddrPort{"tcp": AddrPort(ln.Addr()), "udp": AddrPort(packets.LocalAddr())} {
		for _, local := range []netip.AddrPort{{}, netip.AddrPortFrom(loopback, 0)} {
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
			c, err := DialFrom(ctx, net.Dialer{Timeout: testkit.Patience}, network, local, remote)
			cancel()
			if err != nil {
				t.Fatal(network, err)
			}
			own, to := AddrPort(c.LocalAddr()), AddrPort(c.RemoteAddr())
			if c.Close(); own.Addr() != loopback || own.Port() == 0 || to != remote || c.LocalAddr().Network() != network {
				t.Errorf("%s: from %v to %v", network, own, to)
			}
			if network == "tcp" {
				continue
			}
			// The port is free again, without TIME_WAIT.
			c, err = DialFrom(t.Context(), net.Dialer{}, network, netip.AddrPortFrom(local.Addr(), own.Port()), remote)
			if err != nil {
				t.Fatal(err)
			}
			if c.Close(); AddrPort(c.LocalAddr()) != own {
				t.Errorf("from %v, want %v", c.LocalAddr(), own)
			}
		}
	}
	if c, err := DialFrom(t.Context(), net.Dialer{}, "tcp", netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 0), AddrPort(ln.Addr())); err == nil {
		c.Close()
		t.Error("from an address that no interface has")
	}
}

// An Acceptor has its own Accept, and the other methods of its listener.
func TestAcceptor(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := Acceptor{Listener: ln, Next: func() (net.Conn, error) { return nil, errors.ErrUnsupported }}
	if _, err := a.Accept(); err != errors.ErrUnsupported || a.Addr() != ln.Addr() {
		t.Errorf("%v at %v", err, a.Addr())
	}
	if a.Close(); ln.(*net.TCPListener).SetDeadline(time.Now()) == nil {
		t.Error("it is not closed")
	}
}
