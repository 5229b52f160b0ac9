package main

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// asked sends SIGUSR1, to a process that listens or connects already, until the
// line of status is as it should be: what was moved is counted a moment later.
func (p *process) asked(pattern string) {
	p.t.Helper()
	re := regexp.MustCompile(`(?m)^purr: ` + pattern + `$`)
	p.signal(syscall.SIGUSR1)
	testkit.Eventually(p.t, "the status is "+pattern, func() bool {
		for begun := time.Now(); time.Since(begun) < 50*time.Millisecond; time.Sleep(time.Millisecond) {
			if re.MatchString(p.err.String()) {
				return true
			}
		}
		p.signal(syscall.SIGUSR1)
		return false
	})
}

// SIGUSR1 has one line of status for an answer, in every mode, and disturbs
// nothing.
func TestStatusSignal(t *testing.T) {
	t.Parallel()
	const took = `[0-9.]+(µs|ms|s)`
	const moved = `; sent %d bytes, received %d bytes in ` + took + `, \S+ \S+/s`
	for _, mode := range []struct {
		args     string
		listens  string // its line while there is no client
		connects string // and while a client is
		sent     int    // of its answer to the client's 5 bytes
	}{
		{"-l", `listening on 127\.0\.0\.1 \d+, no client yet, after ` + took, `connected to 127\.0\.0\.1 port \d+`, 0},
		{"-l -k", `listening on 127\.0\.0\.1 \d+, no client yet, after ` + took, `listening on 127\.0\.0\.1 \d+, clients: 1 now, 1 so far`, 0},
		{"-l --echo --upper", `listening on 127\.0\.0\.1 \d+, no client yet, after ` + took, `connected to 127\.0\.0\.1 port \d+`, 5},
		{"-l -k --echo", `listening on 127\.0\.0\.1 \d+, no client yet, after ` + took, `listening on 127\.0\.0\.1 \d+, clients: 1 now, 1 so far`, 5},
		{"-l --rate 1k", `listening on 127\.0\.0\.1 \d+, no client yet, after ` + took, `connected to 127\.0\.0\.1 port \d+`, 0},
		{"-u -l", `bound on 127\.0\.0\.1 \d+, nobody has sent anything yet, after ` + took, `bound on 127\.0\.0\.1 \d+`, 0},
		{"-u -l -k", `bound on 127\.0\.0\.1 \d+, nobody has sent anything yet, after ` + took, `bound on 127\.0\.0\.1 \d+`, 0},
		{"-u -l --echo", `bound on 127\.0\.0\.1 \d+, nobody has sent anything yet, after ` + took, `bound on 127\.0\.0\.1 \d+`, 5},
	} {
		t.Run(mode.args, func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{}, append(words(mode.args), "127.0.0.1", "0")...)
			addr, network := p.addr(), "tcp"
			if strings.HasPrefix(mode.args, "-u") {
				network = "udp"
			}
			p.asked(mode.listens)
			c := dialTest(t, network, addr)
			writeAll(t, c, "hello")
			p.waitOut("hello")
			if mode.sent > 0 {
				testkit.ReadN(t, c, mode.sent)
			}
			p.asked(mode.connects + fmt.Sprintf(moved, mode.sent, 5))
			// And it goes on.
			writeAll(t, c, " again")
			p.waitOut("hello again")
			p.runs()
			for line := range strings.Lines(announcement.ReplaceAllString(p.err.String(), "")) {
				if line != "\n" && !regexp.MustCompile(`^purr: (listening|bound|connected) .*\n$`).MatchString(line) {
					t.Errorf("said %q", line)
				}
			}
		})
	}
	t.Run("dial", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		p := startPurr(t, opts{openStdin: true}, "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		writeAll(t, p.stdin, "hello")
		testkit.ReadN(t, c, 5)
		p.asked(`connected to 127\.0\.0\.1 port \d+` + fmt.Sprintf(moved, 5, 0))
		_ = p.stdin.Close()
		_ = c.Close()
		p.ends(0)
	})
	t.Run("tunnel", func(t *testing.T) {
		t.Parallel()
		target := listenTest(t)
		p := startPurr(t, opts{}, "-l", "-k", "-L", target.Addr().String(), "127.0.0.1", "0")
		c := dialTest(t, "tcp", p.addr())
		writeAll(t, c, "hello")
		testkit.ReadN(t, acceptTest(t, target), 5)
		p.asked(`listening on 127\.0\.0\.1 \d+, clients: 1 now, 1 so far` + fmt.Sprintf(moved, 0, 5))
		p.runs()
	})
	t.Run("connecting", func(t *testing.T) {
		t.Parallel()
		p := startPurr(t, opts{}, "127.0.0.1", deafPort(t))
		testkit.Eventually(t, "purr connects", func() bool { return connecting(t, p) })
		p.asked(`connecting to 127\.0\.0\.1 port \d+, after ` + took)
		p.runs()
	})
	t.Run("waiting", func(t *testing.T) {
		t.Parallel()
		p := startPurr(t, opts{}, "-v", "--wait-for", "60", "127.0.0.1", closedPorts(t, 1)[0])
		p.waitErr(regexpRefused)
		p.asked(`connecting to 127\.0\.0\.1 port \d+, after ` + took)
		p.runs()
	})
	t.Run("datagrams", func(t *testing.T) {
		t.Parallel()
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		p := startPurr(t, opts{openStdin: true}, "-u", "127.0.0.1", portOf(t, conn.LocalAddr()))
		writeAll(t, p.stdin, "hello")
		_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
		if _, _, err := conn.ReadFrom(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		p.asked(`sending to 127\.0\.0\.1 port \d+` + fmt.Sprintf(moved, 5, 0))
		p.runs()
	})
	t.Run("port check", func(t *testing.T) {
		t.Parallel()
		p := startPurr(t, opts{}, "-z", "-w", "2", "127.0.0.1", deafPort(t))
		testkit.Eventually(t, "purr connects", func() bool { return connecting(t, p) })
		p.asked(`checking ports, after ` + took)
		p.ends(3)
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		p := startPurr(t, opts{}, "--rate", "1M", "--send-file", testkit.TempFile(t, testkit.Noise(eight)), "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		testkit.ReadN(t, c, 20_000)
		p.asked(`connected to .*; .*/file: .* of 8\.0 MiB \(\d+ %\), .*/s, .* left`)
	})
	t.Run("unix", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(testkit.SocketDir(t), "s")
		p := startPurr(t, opts{}, "-v", "-l", "-U", path)
		p.waitErr(listeningOn)
		p.asked(`listening on .*/s, no client yet, after ` + took)
		p.runs()
	})
}
