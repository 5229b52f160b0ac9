package main

import (
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// boundLine is the line of a socket of datagrams under -v.
var boundLine = regexp.MustCompile(`(?m)^Bound on (.+)$`)

// unixgramTest returns a Unix datagram socket and its path.
func unixgramTest(t testing.TB) (c net.PacketConn, path string) {
	t.Helper()
	path = filepath.Join(testkit.SocketDir(t), "s")
	c, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return c, path
}

// A Unix datagram dialler prints the name of its own socket under -v, the one
// that its peer can answer, and nothing without -v.
func TestUnixDatagramsAreBound(t *testing.T) {
	t.Parallel()
	own := filepath.Join(testkit.SocketDir(t), "own")
	for _, args := range []string{"-vuU", "-vuUs " + own, "-uU"} {
		c, path := unixgramTest(t)
		p := startPurr(t, opts{stdin: strings.NewReader("hi")}, append(strings.Fields(args), path)...)
		n, from, err := c.ReadFrom(make([]byte, 100))
		if err != nil || n != 2 {
			t.Fatal(n, err)
		}
		p.ends(0)
		want := []string{from.String()}
		if !strings.Contains(args, "v") {
			p.quiet()
			want = nil
		}
		var got []string
		for _, m := range boundLine.FindAllStringSubmatch(p.err.String(), -1) {
			got = append(got, m[1])
		}
		if strings.Join(got, " ") != strings.Join(want, " ") || strings.HasSuffix(args, own) && got[0] != own {
			t.Errorf("%s: bound on %q, want %q", args, got, want)
		}
	}
}
