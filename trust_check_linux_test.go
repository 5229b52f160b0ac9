package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"purr/internal/flags"
	"purr/internal/scan"
)

// A scan of many hosts passes its results on block by block, in the order of
// the list, and keeps none.
func TestScanInBlocks(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	hosts := new(flags.HostList)
	if err := hosts.Add("127.0.0.0/19"); err != nil {
		t.Fatal(err)
	}
	if err := hosts.Add("127.0.64.1-9"); err != nil {
		t.Fatal(err)
	}
	due, most := netip.MustParseAddr("127.0.0.0"), 0
	s := &portScan{checker: &checker{dialer: &dialer{netOptions: &netOptions{ports: []int{port}}, waitOptions: waitOptions{retries: -1}}}, tcpOptions: scan.TCPOptions{Parallel: 512}}
	s.each = func(q *query) {
		if q.host != due.String() {
			t.Fatalf("%s, and not %v", q.host, due)
		}
		if due = due.Next(); due == netip.MustParseAddr("127.0.32.0") {
			due = netip.MustParseAddr("127.0.64.1")
		}
		most = max(most, len(s.queries))
	}
	err = s.run(context.Background(), hosts)
	if failed := (statusError{}); !errors.As(err, &failed) || failed.status != statusFailed {
		t.Errorf("%v", err)
	}
	if due != netip.MustParseAddr("127.0.64.10") || most > blockSize || len(s.kept) > 0 {
		t.Errorf("up to %v, %d at once, %d kept", due, most, len(s.kept))
	}
}

// The ports of one host make blocks of about the same size over UDP, and one
// over TCP.
func TestPortsAtOnce(t *testing.T) {
	t.Parallel()
	for ports, want := range map[int]int{1: 1, blockSize: blockSize, blockSize + 1: blockSize/2 + 1, 65535: 8192} {
		s := &portScan{checker: &checker{dialer: &dialer{netOptions: &netOptions{udp: true, ports: make([]int, ports)}}}}
		if got := s.portsAtOnce(); got != want {
			t.Errorf("%d ports over UDP: %d at once, want %d", ports, got, want)
		}
		if s.udp = false; s.portsAtOnce() != ports {
			t.Errorf("%d ports over TCP: %d at once", ports, s.portsAtOnce())
		}
	}
}

// Networks and ranges are hosts of -z, and their number is printed first.
func TestScanRange(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.2:0")
	if err != nil {
		t.Skip(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, host := range []string{"127.0.0.0/30", "127.0.0.0-3", "127.0.0.0-127.0.0.3"} {
		p := startPurr(t, opts{}, "-z", "-n", "--json", host, port)
		p.ends(0)
		if got, want := p.err.String(), "purr: 4 hosts, 1 port: 4 to ask\n"; got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
		if !regexp.MustCompile(`(?s)"127.0.0.0".*"127.0.0.1".*"127.0.0.2","port":\d+,"state":"open".*"127.0.0.3".*\n$`).MatchString(p.out.String()) {
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
