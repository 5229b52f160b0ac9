package main

import (
	"net"
	"purr/internal/testkit"
	"regexp"
	"strings"
	"testing"
)

// Networks and ranges are hosts of -z, and their number is printed first.
func TestScanRange(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.2:0")
	if err != nil {
		testkit.NotHere(t, "127.0.0.2: "+err.Error())
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, host := range []string{"127.0.0.0/30", "127.0.0.0-3", "127.0.0.0-127.0.0.3"} {
		p := startPurr(t, opts{}, "-z", "-n", "--json", host, port)
		p.ends(0)
		if got, want := p.err.String(), "purr: 4 hosts, 1 port: 4 to ask\n"; got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
		if !regexp.MustCompile(`(?s)"127.0.0.0".*"127.0.0.1".*"127.0.0.2","port":\d+,"protocol":"tcp","state":"open".*"127.0.0.3".*\n$`).MatchString(p.out.String()) {
			t.Errorf("%s: %s", host, p.out.String())
		}
	}
	p := startPurr(t, opts{}, "-z", "10.0.0.0/7", "80")
	p.ends(2)
	p.complains("10.0.0.0/7 is more than 16777216 addresses")
}

// The forms of inet_aton are addresses to dial.
func TestDialNumericForms(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"0", "127.1", "2130706433", "0x7f.1"} {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		p := startPurr(t, opts{}, "-z", "-v", "-n", host, port)
		p.ends(0)
		if got, want := p.err.String(), "Connection to "+host+" ("; !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
