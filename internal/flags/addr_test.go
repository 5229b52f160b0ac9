package flags

import (
	"net/netip"
	"testing"
)

// The forms of addresses that getaddrinfo takes.
func TestParseAddr(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0": "0.0.0.0", "127.1": "127.0.0.1", "2130706433": "127.0.0.1", "0x7f000001": "127.0.0.1", "0177.0.0.01": "127.0.0.1",
		"10.1.513": "10.1.2.1", "1.2.3.4": "1.2.3.4", "4294967295": "255.255.255.255", "::1": "::1", "::ffff:1.2.3.4": "1.2.3.4",
		"0X7F.1": "127.0.0.1", "127.0xffffff": "127.255.255.255",
	} {
		if got, ok := ParseAddr(text); !ok || got != netip.MustParseAddr(want) {
			t.Errorf("%s: %v %t, want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", ".", "1.", ".1", "1.2.3.4.5", "256.1", "1.2.3.256", "4294967296", "08", "0x", "x", "-1", "+1", "1_0", "127.1 ", "127.0x1000000", "a.b"} {
		if got, ok := ParseAddr(text); ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}
