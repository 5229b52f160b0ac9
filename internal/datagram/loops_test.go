package datagram

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// An echo answers no sender at its own address, at ports below 1024 and at
// those of services that answer anything; a dialled peer may have any port.
func TestLoopPorts(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, test := range []struct {
		own, from string
		want      error
	}{
		{"127.0.0.1:9000", "127.0.0.1:9000", ErrOwnAddress},
		{"127.0.0.1:9000", "127.0.0.2:9000", nil}, // another server's on the same port
		{"0.0.0.0:9000", "127.0.0.1:9000", ErrOwnAddress},
		{"[::]:9000", "127.0.0.1:9000", ErrOwnAddress},
		{"[::]:9000", "[::1]:9000", ErrOwnAddress},
		{"[::]:9000", "192.0.2.1:9000", nil},
		{"[::]:9000", "[2001:db8::1]:9000", nil},
		{"127.0.0.1:9000", "127.0.0.1:7", ErrServicePort},
		{"127.0.0.1:9000", "192.0.2.1:53", ErrServicePort},
		{"127.0.0.1:9000", "192.0.2.1:1023", ErrServicePort},
		{"127.0.0.1:9000", "192.0.2.1:1024", nil},
		{"127.0.0.1:9000", "192.0.2.1:11211", ErrServicePort},
		{"127.0.0.1:9000", "192.0.2.1:50000", nil},
	} {
		local := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(test.own))
		g := NewLoopGuard(&Socket{Local: local})
		from := netip.MustParseAddrPort(test.from)
		if err := g.check(from, []byte("x"), now); err != test.want {
			t.Errorf("at %s, from %s: %v, want %v", test.own, test.from, err, test.want)
		}
		g = NewLoopGuard(&Socket{Local: local, Remote: net.UDPAddrFromAddrPort(from)})
		if err := g.check(from, []byte("x"), now); err != nil {
			t.Errorf("dialled %s: %v", test.from, err)
		}
	}
}

// A peer that sends back what it is sent is dropped above 100 datagrams a
// second, however many are under way, and forgiven after a silence. Peers that
// repeat less, that send their own, or the same as another was sent, are not.
func TestLoopRepeats(t *testing.T) {
	t.Parallel()
	own := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:9000"))
	echo := netip.MustParseAddrPort("192.0.2.2:9000")
	other := netip.MustParseAddrPort("192.0.2.3:40000")
	send := func(g *LoopGuard, to netip.AddrPort, d string) {
		h := g.hash(to, []byte(d))
		g.sent[h%sentEntries] = h
	}
	for _, underWay := range []int{1, 2, 50} {
		g := NewLoopGuard(&Socket{Local: own})
		now := time.Now()
		for i := range underWay {
			send(g, echo, fmt.Sprint(i))
		}
		var err error
		n := 0
		for ; err == nil && n < 1000; n++ {
			d := fmt.Sprint(n % underWay)
			if err = g.check(echo, []byte(d), now); err == nil {
				send(g, echo, d)
			}
			if err := g.check(other, fmt.Append(nil, "own ", n), now); err != nil {
				t.Fatalf("another peer: %v", err)
			}
			if err := g.check(other, []byte(d), now); err != nil {
				t.Fatalf("what another was sent: %v", err)
			}
			now = now.Add(time.Millisecond)
		}
		// Two answers that share an entry of the table are not recognised.
		if !errors.Is(err, ErrLoop) || n <= repeatLimit || n > repeatLimit*12/10 {
			t.Errorf("%d under way: %v after %d", underWay, err, n)
		}
		for range 100 { // also what it has not been sent
			now = now.Add(forgiveAfter / 2)
			if err := g.check(echo, []byte("new"), now); !errors.Is(err, ErrInLoop) {
				t.Fatalf("%d under way: %v while it goes on", underWay, err)
			}
		}
		now = now.Add(forgiveAfter + 1)
		if err := g.check(echo, []byte("0"), now); err != nil {
			t.Errorf("after a silence: %v", err)
		}
	}
	g := NewLoopGuard(&Socket{Local: own})
	now := time.Now()
	send(g, echo, "x")
	for range 1000 {
		if err := g.check(echo, []byte("x"), now); err != nil {
			t.Fatalf("100 a second: %v", err)
		}
		now = now.Add(10 * time.Millisecond)
	}
}

// The memory of forged senders is bounded.
func TestLoopPeersAreBounded(t *testing.T) {
	t.Parallel()
	g := NewLoopGuard(&Socket{Local: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9000}})
	now := time.Now()
	for i := range 3 * mostPeers {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 40000)
		h := g.hash(from, []byte("x"))
		g.sent[h%sentEntries] = h
		if err := g.check(from, []byte("x"), now); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(g.peers); n != mostPeers {
		t.Errorf("%d peers are remembered", n)
	}
}

func BenchmarkLoopGuard(b *testing.B) {
	g := NewLoopGuard(&Socket{Local: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9000}})
	from := netip.MustParseAddrPort("192.0.2.2:40000")
	d := make([]byte, 32)
	now := time.Now()
	for i := range b.N {
		d[0], d[1], d[2], d[3] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24)
		if err := g.check(from, d, now); err != nil {
			b.Fatal(err)
		}
		h := g.hash(from, d)
		g.sent[h%sentEntries] = h
	}
}
