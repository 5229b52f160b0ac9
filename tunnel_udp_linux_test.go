package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"purr/internal/testkit"
)

// packetTarget answers each datagram with its sender's address in front, until
// the test ends.
func packetTarget(t testing.TB, network, addr string) net.Addr {
	t.Helper()
	c, err := net.ListenPacket(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 1<<17)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(append([]byte(from.String()+" "), b[:n]...), from)
		}
	}()
	return c.LocalAddr()
}

// unixDatagrams dials a Unix datagram socket from a name of its own.
func unixDatagrams(t testing.TB, path, own string) net.Conn {
	t.Helper()
	c, err := net.DialUnix("unixgram", &net.UnixAddr{Name: own, Net: "unixgram"}, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// packetAddr returns the address of a listener, also under --json.
func packetAddr(p *process) string {
	m := p.waitErr(regexp.MustCompile(`(?m)^Bound on \S+ (\d+)|"event":"listen".*"port":(\d+)`))
	return net.JoinHostPort("127.0.0.1", m[1]+m[2])
}

// Datagrams are passed on to the target and back, each sender by a socket of
// its own, between UDP and Unix sockets and whatever else is asked for.
func TestTunnelDatagrams(t *testing.T) {
	t.Parallel()
	dir := testkit.SocketDir(t)
	target, unixTarget := packetTarget(t, "udp", "127.0.0.1:0"), packetTarget(t, "unixgram", filepath.Join(dir, "target"))
	_, port, _ := net.SplitHostPort(target.String())
	dump := filepath.Join(t.TempDir(), "dump")
	for n, test := range []struct {
		options []string
		unix    bool
	}{
		{options: []string{"-L", "udp:" + target.String()}},
		{options: []string{"-L", "udp:localhost:" + port, "-4"}},
		{options: []string{"-v", "-L", "udp:" + target.String()}},
		{options: []string{"--rate", "10M", "--no-sandbox", "-n", "-L", "udp:" + target.String()}},
		{options: []string{"--json", "--max-conns", "2", "-L", "udp:" + target.String()}},
		{options: []string{"--delay", "1ms", "-o", dump, "-L", "udp:" + target.String()}},
		{options: []string{"-L", "unix:" + unixTarget.String()}},
		{options: []string{"-L", "udp:" + target.String()}, unix: true},
		{options: []string{"--tunnel=unix:" + unixTarget.String()}, unix: true},
	} {
		args := append([]string{"-u", "-l", "-k"}, test.options...)
		var p *process
		var dial func(name string) net.Conn
		if test.unix {
			path := filepath.Join(dir, fmt.Sprint("front", n))
			p = startPurr(t, opts{}, append(args, "-v", "-U", path)...)
			p.waitErr(boundOn)
			dial = func(name string) net.Conn { return unixDatagrams(t, path, path+name) }
		} else {
			p = startPurr(t, opts{}, append(args, "127.0.0.1", "0")...)
			addr := packetAddr(p)
			dial = func(string) net.Conn { return dialTest(t, "udp", addr) }
		}
		vias := make(map[string]bool)
		for _, name := range []string{"a", "b"} {
			c := dial(name)
			for _, question := range []string{"hello " + name, "", testkit.Noise(60_000)} {
				writeAll(t, c, question)
				via, answer, _ := strings.Cut(pkt(t, c), " ")
				if answer != question {
					t.Errorf("%q: got %s, want %s", args, testkit.Brief(answer), testkit.Brief(question))
				}
				vias[via] = true
			}
		}
		if len(vias) != 2 {
			t.Errorf("%q: two senders came from %v", args, vias)
		}
		p.signal(syscall.SIGTERM)
		p.ends(128 + int(syscall.SIGTERM))
		p.printed("")
		if strings.Contains(p.said(), "dropped") {
			t.Errorf("%q: said %s", args, p.said())
		}
	}
	if recorded := testkit.ReadFile(t, dump); strings.Count(recorded, testkit.Noise(60_000)) != 4 || strings.Count(recorded, "hello a") != 2 {
		t.Errorf("%d bytes are recorded", len(recorded))
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 1+4 { // the target's, and the clients' own names
		t.Errorf("%v, %v", left, err)
	}
}

// Without -k the first sender has the tunnel: others are mentioned once, and
// its idle timeout ends the run with status 0.
func TestTunnelDatagramsOfOneSender(t *testing.T) {
	t.Parallel()
	target := packetTarget(t, "udp", "127.0.0.1:0")
	p := startPurr(t, opts{}, "-u", "-l", "--idle-timeout", "1", "-L", "udp:"+target.String(), "127.0.0.1", "0")
	first, second := dialTest(t, "udp", p.addr()), dialTest(t, "udp", p.addr())
	for range 2 {
		writeAll(t, first, "x")
		if got := pkt(t, first); !strings.HasSuffix(got, " x") {
			t.Error(got)
		}
		writeAll(t, second, "y")
	}
	p.waitErr(regexp.MustCompile(`receive from 127.0.0.1 port \d+: the tunnel has another sender`))
	p.ends(0)
	if n := strings.Count(p.said(), "another sender"); n != 1 {
		t.Errorf("%d lines: %s", n, p.said())
	}
	p = startPurr(t, opts{}, "-u", "-l", "--accept-timeout", "0.1", "-L", "udp:"+target.String(), "127.0.0.1", "0")
	p.ends(1)
	p.complains("receive on 127.0.0.1 ", "nobody sent anything within 100ms")
	p = startPurr(t, opts{}, "-u", "-l", "-L", "udp:nowhere.invalid:53", "127.0.0.1", "0")
	writeAll(t, dialTest(t, "udp", p.addr()), "x")
	p.ends(1)
	p.complains(`host "nowhere.invalid" port 53`)
}

// A dialer joins two peers; an end that is refused ends nothing.
func TestTunnelDatagramsBetweenTwoPeers(t *testing.T) {
	t.Parallel()
	a, b := listenUDPTest(t), listenUDPTest(t)
	own := freePort(t, "udp")
	p := startPurr(t, opts{}, "-v", "-n", "-u", "-p", own, "-L", "udp:"+b.LocalAddr().String(), "127.0.0.1", portOf(t, a.LocalAddr()))
	p.waitErr(regexp.MustCompile(`sending to 127.0.0.1`))
	to, err := net.ResolveUDPAddr("udp", "127.0.0.1:"+own)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.WriteToUDP([]byte("to b"), to); err != nil {
		t.Fatal(err)
	}
	got, from := receiveFrom(t, b)
	if got != "to b" {
		t.Error(got)
	}
	if _, err := b.WriteToUDP([]byte("to a"), from); err != nil {
		t.Fatal(err)
	}
	if got, from := receiveFrom(t, a); got != "to a" || from.String() != to.String() {
		t.Errorf("%q from %v", got, from)
	}
	_ = b.Close()
	testkit.Eventually(t, "the refusal", func() bool { // the system limits the rate of ICMP errors
		if _, err := a.WriteToUDP([]byte("is anybody there?"), to); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(p.err.String(), fmt.Sprintf("send to 127.0.0.1 port %s: connection refused", portOf(t, b.LocalAddr())))
	})
	p.runs()
	p.signal(syscall.SIGINT)
	p.ends(128 + int(syscall.SIGINT))
	if n := strings.Count(p.said(), "refused"); n != 1 {
		t.Errorf("%d lines: %s", n, p.said())
	}
	if !strings.Contains(p.said(), "interrupted; sent 1 datagrams of 4 bytes, received ") {
		t.Error(p.said())
	}
}

// The status that a signal asks for, and the events of --json, count senders.
func TestTunnelDatagramsAreCounted(t *testing.T) {
	t.Parallel()
	target := packetTarget(t, "udp", "127.0.0.1:0")
	closed := freePort(t, "udp")
	p := startPurr(t, opts{}, "--json", "-u", "-l", "-k", "-w", "0.5", "-L", "udp:"+target.String(), "127.0.0.1", "0")
	for range 2 {
		c := dialTest(t, "udp", packetAddr(p))
		writeAll(t, c, "x")
		pkt(t, c)
	}
	p.signal(syscall.SIGUSR1)
	p.waitErr(regexp.MustCompile(`"event":"status".*"clients":2,"served":2,.*"received":2`))
	p.waitErr(regexp.MustCompile(`(?s)"event":"disconnect","peer":"127.0.0.1 port \d+","how":"idle for 500ms".*"received":1,.*"event":"disconnect"`))
	p.signal(syscall.SIGUSR1)
	p.waitErr(regexp.MustCompile(`"event":"status".*"clients":0,"served":2,`))
	p.kill()
	p = startPurr(t, opts{}, "-v", "-n", "-u", "-l", "-k", "-L", "udp:127.0.0.1:"+closed, "127.0.0.1", "0")
	c := dialTest(t, "udp", p.addr())
	testkit.Eventually(t, "the refusal", func() bool {
		writeAll(t, c, "x")
		return strings.Contains(p.err.String(), "refused")
	})
	p.waitErr(regexp.MustCompile(`(?s)Connection received on 127.0.0.1 \d+\n.*127.0.0.1 port \d+: send to 127.0.0.1 port ` + closed + `: connection refused`))
	p.signal(syscall.SIGUSR1)
	p.waitErr(regexp.MustCompile(`clients: 1 now, 1 so far; sent 0 bytes, received `))
	p.runs()
}
