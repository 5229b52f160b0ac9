package payload

import (
	"bytes"
	"net/netip"
	"testing"
)

func TestPingCounter(t *testing.T) {
	var c pingCounter
	for i, test := range []struct {
		session string
		seq     uint32
		want    uint32
	}{
		{"0123456789abcdef", 1, 1}, {"0123456789abcdef", 2, 2}, {"0123456789abcdef", 2, 2}, {"0123456789abcdef", 5, 3}, {"0123456789abcdef", 4, 4},
		{"0123456789abcdef", 4, 4}, {"0123456789abcdef", 500, 5}, {"0123456789abcdef", 5, 5}, {"fedcba9876543210", 9, 1},
	} {
		b := NewPing(test.session, test.seq)
		if !c.stamp(b) {
			t.Fatal("not taken")
		}
		if got, ok := PingCount(b); !ok || got != test.want {
			t.Errorf("%d: count %d, want %d", i, got, test.want)
		}
	}
	plain := []byte("hello")
	if c.stamp(plain) || string(plain) != "hello" {
		t.Error("took something else for a ping")
	}
}

func TestPingCounters(t *testing.T) {
	var c PingCounter
	for port := range uint16(3 * maxPingPeers) {
		if !c.Stamp(netip.AddrPortFrom(netip.IPv6Loopback(), port), NewPing("0123456789abcdef", 1)) {
			t.Fatal("not taken")
		}
	}
	if len(c.peers) != maxPingPeers {
		t.Errorf("%d peers", len(c.peers))
	}
}

// FuzzPing runs a peer's datagram through the counter of an echo server. Only a
// ping may change, and only its count.
func FuzzPing(f *testing.F) {
	f.Add(NewPing("0123456789abcdef", 7))
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c PingCounter
		before := bytes.Clone(b)
		stamped := c.Stamp(netip.AddrPort{}, b)
		if count, ok := PingCount(b); stamped && (!ok || count != 1) {
			t.Errorf("%q became %q", before, b)
		}
		if stamped {
			b = b[:pingCountAt]
		}
		if !bytes.Equal(b, before[:len(b)]) {
			t.Errorf("%q became %q", before, b)
		}
	})
}
