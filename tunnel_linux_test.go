package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"purr/internal/proxy"
	"purr/internal/sys"
	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// targetTest is a server that answers what it got, once its client has finished
// and release is closed. Clients that come later have their answer at once.
func targetTest(t testing.TB, ln net.Listener, release <-chan struct{}) {
	t.Helper()
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				question, err := io.ReadAll(c)
				if err != nil {
					return
				}
				<-release
				_, _ = io.WriteString(c, "late answer to "+string(question))
			}()
		}
	}()
}

// freeTarget is a targetTest over TCP that answers at once.
func freeTarget(t testing.TB) (addr string) {
	t.Helper()
	ln := listenTest(t)
	_ = ln.SetDeadline(time.Time{})
	release := make(chan struct{})
	close(release)
	targetTest(t, ln, release)
	return ln.Addr().String()
}

// askTunnel sends a question through a tunnel and returns the answer.
func askTunnel(t testing.TB, network, addr, question string) string {
	t.Helper()
	c := dialTest(t, network, addr)
	go func() { _, _ = io.WriteString(c, question); _ = c.(interface{ CloseWrite() error }).CloseWrite() }()
	return testkit.ReadAll(t, c)
}

// Clients are passed on to the target, each on its own, with half-closes and
// late answers, between every pair of sockets and through a proxy.
func TestTunnel(t *testing.T) {
	t.Parallel()
	target := freeTarget(t)
	dir := testkit.SocketDir(t)
	path := filepath.Join(dir, "target")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	close(release)
	targetTest(t, ln, release)
	socks, _ := proxyTest(t, false, new(proxy.Server))
	question := testkit.Noise(3 << 20)
	for _, test := range []struct {
		options []string
		unix    bool
	}{
		{[]string{"-L", target}, false},
		{[]string{"--tunnel=unix:" + path}, false},
		{[]string{"-L", target}, true},
		{[]string{"-L", "unix:" + path}, true},
		{[]string{"-x", socks, "-L", target}, false},
		{[]string{"--rate", "100M", "-L", target}, false},
		{[]string{"-v", "--no-sandbox", "-L", target}, false},
	} {
		args := append([]string{"-l", "-k"}, test.options...)
		network, addr := "tcp", ""
		if test.unix {
			network, addr = "unix", filepath.Join(dir, "s")
			args = append(args, "-U", addr)
		} else {
			args = append(args, "127.0.0.1", "0")
		}
		if test.unix {
			args = append(args, "-v")
		}
		p := startPurr(t, opts{}, args...)
		if test.unix {
			p.waitErr(regexp.MustCompile(`Listening on `))
		} else {
			addr = p.addr()
		}
		var clients sync.WaitGroup
		for range 3 {
			clients.Go(func() {
				if got := askTunnel(t, network, addr, question); got != "late answer to "+question {
					t.Errorf("%q: %s", args, testkit.Brief(got))
				}
			})
		}
		clients.Wait()
		p.signal(syscall.SIGTERM)
		p.ends(128 + int(syscall.SIGTERM))
		p.printed("")
	}
}

// A half-close ends nothing but its direction, however long the answer takes.
func TestTunnelWaitsForTheAnswer(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	_ = ln.SetDeadline(time.Time{})
	release := make(chan struct{})
	targetTest(t, ln, release)
	p := startPurr(t, opts{}, "-l", "-L", ln.Addr().String(), "127.0.0.1", "0")
	c := dialTest(t, "tcp", p.addr())
	writeAll(t, c, "x")
	_ = c.(*net.TCPConn).CloseWrite()
	time.Sleep(700 * time.Millisecond) // other relays give up after 500 ms
	close(release)
	if got := testkit.ReadAll(t, c); got != "late answer to x" {
		t.Errorf("%q", got)
	}
	p.ends(0)
	p.printed("")
}

// A dialer joins two servers; with a key, the peer's side is encrypted.
func TestTunnelOfADialer(t *testing.T) {
	t.Parallel()
	target := freeTarget(t)
	for _, env := range [][]string{nil, keyed(tlsconn.NewKey())} {
		server := startPurr(t, opts{stdin: strings.NewReader("question"), env: env}, "-N", "-l", "127.0.0.1", "0")
		p := startPurr(t, opts{env: env}, append([]string{"-L", target}, strings.Split(server.addr(), ":")...)...)
		p.ends(0)
		server.ends(0)
		server.printed("late answer to question")
	}
}

// isReset connects and gets a reset, and no byte.
func isReset(t testing.TB, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr) // the reset may be there already
	n := 0
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(testkit.Patience))
		n, err = c.Read(make([]byte, 1))
	}
	if n != 0 || !sys.IsReset(err) {
		t.Errorf("the client has %d bytes, %v", n, err)
	}
}

// A target that cannot be reached resets the client, which gets no byte.
func TestTunnelUnreachable(t *testing.T) {
	t.Parallel()
	closed := closedPorts(t, 1)[0]
	for target, want := range map[string]string{
		"127.0.0.1:" + closed: "purr: connect to 127.0.0.1 port " + closed + " (tcp) failed: Connection refused\n",
		"unix:/nonexistent":   "purr: connect to /nonexistent failed: No such file or directory\n",
	} {
		p := startPurr(t, opts{}, "-l", "-L", target, "127.0.0.1", "0")
		isReset(t, p.addr())
		p.ends(1)
		p.printed("")
		if said := p.said(); !strings.HasSuffix(said, want) {
			t.Errorf("said %q", said)
		}
	}
	p := startPurr(t, opts{}, "-l", "-k", "-L", "127.0.0.1:"+closed, "127.0.0.1", "0")
	for range 2 { // and it goes on
		isReset(t, p.addr())
	}
	p.runs()
}

// A reset passes as a reset, either way, and is status 1.
func TestTunnelReset(t *testing.T) {
	t.Parallel()
	for _, byClient := range []bool{true, false} {
		ln := listenTest(t)
		p := startPurr(t, opts{}, "-l", "-L", ln.Addr().String(), "127.0.0.1", "0")
		c := dialTest(t, "tcp", p.addr())
		target := acceptTest(t, ln)
		writeAll(t, c, "x")
		testkit.ReadN(t, target, 1)
		if byClient {
			testkit.Reset(t, c)
			_, err := target.Read(make([]byte, 1))
			if !sys.IsReset(err) {
				t.Error("the target has", err)
			}
			p.ends(1)
			p.complains("receive from 127.0.0.1 port", "connection reset by peer")
		} else {
			testkit.Reset(t, target)
			if _, err := c.Read(make([]byte, 1)); !sys.IsReset(err) {
				t.Error("the client has", err)
			}
			p.ends(1)
			p.complains("receive from 127.0.0.1 port "+portOf(t, ln.Addr()), "connection reset by peer")
		}
	}
}

// -w ends a silent tunnel: in order if everything was taken, else with status
// 1.
func TestTunnelIdle(t *testing.T) {
	t.Parallel()
	much := testkit.Noise(32 << 20)
	for _, stalled := range []bool{false, true} {
		ln := listenTest(t)
		p := startPurr(t, opts{}, "-v", "-n", "-w", "1", "-l", "-L", ln.Addr().String(), "127.0.0.1", "0")
		c := dialTest(t, "tcp", p.addr())
		target := acceptTest(t, ln)
		if stalled {
			go func() { _, _ = io.WriteString(c, much) }()
			p.ends(1)
			if said := p.said(); !strings.Contains(said, "purr: send to 127.0.0.1 port "+portOf(t, ln.Addr())+": idle for 1s with ") {
				t.Errorf("said %q", said)
			}
		} else {
			writeAll(t, c, "x")
			testkit.ReadN(t, target, 1)
			p.ends(0)
			if said := p.said(); !strings.Contains(said, ": idle for 1s; sent 0 bytes, received 1 bytes") {
				t.Errorf("said %q", said)
			}
		}
		_ = target.Close()
	}
}

// Clients that come and go, most of them by a reset, leave nothing behind.
func TestManyTunnels(t *testing.T) {
	t.Parallel()
	target := freeTarget(t)
	p := startPurr(t, opts{}, "-l", "-k", "-L", target, "127.0.0.1", "0")
	addr := p.addr()
	if got := askTunnel(t, "tcp", addr, "x"); got != "late answer to x" {
		t.Fatal(got)
	}
	descriptors := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := 0
	testkit.Eventually(t, "the first tunnel is gone", func() bool { before = descriptors(); return before < 12 })
	for i := range 200 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "x")
		if i%4 == 0 {
			_ = c.Close()
		} else {
			testkit.Reset(t, c)
		}
	}
	testkit.Eventually(t, "all are gone", func() bool { return descriptors() <= before })
	if got := askTunnel(t, "tcp", addr, "y"); got != "late answer to y" {
		t.Error(got)
	}
}

func TestTunnelCommandLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"-l -L db 80":                  `option -L: "db" is no target: say HOST:PORT, unix:PATH, tls:HOST:PORT, udp:HOST:PORT or vsock:CID:PORT`,
		"-l -L db:x! 80":               "option -L: port number invalid: x!",
		"-l -L db:80 --echo 80":        "options -L and --echo exclude each other",
		"-u -l -L db:80 80":            "options -u and -L HOST:PORT, tls: or vsock: exclude each other: a stream has no datagrams; say -L udp:HOST:PORT",
		"-u -L tls:db:80 h 80":         "options -u and -L HOST:PORT, tls: or vsock: exclude each other",
		"-u -l -L vsock:2:80 80":       "options -u and -L HOST:PORT, tls: or vsock: exclude each other",
		"-l -L udp:db:53 53":           "options -L udp: and TCP exclude each other: a stream has no datagrams; listen with -u",
		"-U -l -L udp:db:53 path":      "options -L udp: and TCP exclude each other",
		"-u -l -L udp:db:53 -W 3 53":   "options -L and -C, -t, --upper, -i or -W exclude each other",
		"-u -l --max-conns 3 -k 53":    "options --max-conns and -u exclude each other",
		"-u -l -x p -L udp:db:53 53":   "options -x and -u exclude each other",
		"-z -L db:80 h 80":             "options -L and -z exclude each other",
		"-l -L db:80 --send-file f 80": "options -L and --send-file or --recv-file exclude each other",
		"-l -L db:80 --recv-file f 80": "options -L and --send-file or --recv-file exclude each other",
		"--pull -l -L db:80 80":        "options -L and --push or --pull exclude each other",
		"-l -L db:80 -C 80":            "options -L and -C, -t, --upper, -i or -W exclude each other",
		"-l -L db:80 -N 80":            "options -L and -N, -q or --no-shutdown exclude each other",
		"-l -L db:80 -d 80":            "options -L and --interactive, --quit-word, -d, --recv-only or --send-only exclude each other",
		"-l -x socks -L unix:/x 80":    "options -L and -x exclude each other: a proxy connects to hosts",
	} {
		_, err := newConfig(strings.Fields(line))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, and not %s", line, err, want)
		}
	}
	for _, line := range []string{"-l -k -L :80 8080", "-l -U -L [::1]:80 path", "-L unix:@x h 80", "-l --connect-timeout 3 -L db:80 80", "-l -x socks -U -L db:80 path",
		"-u -l -k --max-conns 3 -L udp:db:domain 53", "-u -L udp::1 h 80", "-u -l -U -L udp:[::1]:514 path", "-u -l -L unix:/dev/log 514"} {
		if _, err := newConfig(strings.Fields(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}
