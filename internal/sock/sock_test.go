package sock

import (
	"net"
	"testing"
)

func TestPeerName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.ParseIP("127.0.0.1"), Port: 80}, "127.0.0.1 port 80"},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:127.0.0.1"), Port: 80}, "127.0.0.1 port 80"},
		{&net.TCPAddr{IP: net.ParseIP("::1"), Port: 80}, "::1 port 80"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 80, Zone: "eth0"}, "fe80::1%eth0 port 80"},
		{&net.UDPAddr{IP: net.ParseIP("127.0.0.1"), Port: 53}, "127.0.0.1 port 53"},
		{&net.UnixAddr{Name: "/tmp/s", Net: "unix"}, "/tmp/s"},
		{&net.UnixAddr{Name: "@abstract", Net: "unix"}, "@abstract"},
	} {
		if got := PeerName(test.addr); got != test.want {
			t.Errorf("%v: %q, want %q", test.addr, got, test.want)
		}
	}
}
