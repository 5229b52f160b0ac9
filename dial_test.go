//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"purr/internal/eyeballs"
	"purr/internal/sock"
	"purr/internal/testkit"
)

func TestDialRefused(t *testing.T) {
	t.Parallel()
	port := closedPorts(t, 1)[0]
	for _, args := range [][]string{{}, {"-v"}, {"-n"}, {"-w", "5"}, {"--echo"}, {"--send-only"}} {
		p := startPurr(t, opts{stdin: strings.NewReader("x")}, append(args, "127.0.0.1", port)...)
		p.ends(1)
		p.printed("")
		if got, want := p.err.String(), "purr: connect to 127.0.0.1 port "+port+" (tcp) failed: Connection refused\n"; got != want {
			t.Errorf("%v: said %q, want %q", args, got, want)
		}
	}
	p := startPurr(t, opts{}, "localhost", port)
	p.ends(1)
	if said := p.said(); !strings.Contains(said, "connect to localhost (127.0.0.1) port "+port+" (tcp) failed: Connection refused\n") {
		t.Errorf("said %q", said)
	}
}

func TestUnknownHost(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"no..such", "80"}, // no domain name, so no name server is asked
		{"-v", "no..such", "80"},
		{"-u", "no..such", "80"},
		{"-s", "no..such", "127.0.0.1", "80"},
		{"-l", "no..such", "80"},
	} {
		p := startPurr(t, opts{}, args...)
		p.ends(1)
		p.complains("Name or service not known", `getaddrinfo for host "`)
		p.printed("")
	}
	// A literal of the other family.
	for _, args := range [][]string{{"-6", "127.0.0.1", "80"}, {"-4", "::1", "80"}, {"-u", "-4", "::1", "80"}, {"-l", "-6", "127.0.0.1", "80"}} {
		p := startPurr(t, opts{}, args...)
		p.ends(1)
		p.complains("Address family for hostname not supported")
	}
}

// A host may be called anything: h, help, or like an option's value.
func TestHostNames(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"h", "help", "completion", "version"} {
		p := startPurr(t, opts{}, "-n", host, "80")
		p.ends(2)
		p.complains("option -n looks no names up, and " + host + " is no IP address: leave -n out")
		p.printed("")
	}
}

// The forms of an address to dial.
func TestDialForms(t *testing.T) {
	t.Parallel()
	needsIPv6(t)
	for _, form := range [][]string{
		{"127.0.0.1", "PORT"},
		{"127.0.0.1:PORT"},
		{"::1", "PORT"},
		{"[::1]:PORT"},
		{"localhost", "PORT"},
		{"localhost:PORT"},
		{"-4", "localhost", "PORT"},
		{"127.0.0.1", "PORT", "-v"},
		{"127.0.0.1", "-v", "PORT"},
		{"-vw", "9", "127.0.0.1", "PORT"},
		{"-w3", "127.0.0.1", "PORT"},
		{"-nvw3", "--", "127.0.0.1", "PORT"},
		{"-6", "::1", "PORT"},
		{"::ffff:127.0.0.1", "PORT"},
	} {
		t.Run(strings.Join(form, " "), func(t *testing.T) {
			t.Parallel()
			host := "127.0.0.1"
			if strings.Contains(strings.Join(form, " "), "::1") {
				host = "::1"
			}
			l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ln := l.(*net.TCPListener)
			_ = ln.SetDeadline(time.Now().Add(testkit.Patience))
			var args []string
			for _, a := range form {
				args = append(args, strings.ReplaceAll(a, "PORT", portOf(t, ln.Addr())))
			}
			p := startPurr(t, opts{stdin: strings.NewReader("x")}, args...)
			c := acceptTest(t, ln)
			if got := testkit.ReadAll(t, c); got != "x" {
				t.Errorf("got %q", got)
			}
			_ = c.Close()
			p.ends(0)
			if strings.Contains(strings.Join(form, " "), "v") && !strings.Contains(p.err.String(), "succeeded!\n") {
				t.Errorf("said %q", p.err)
			}
		})
	}
}

// -p and -s choose the local end.
func TestSourceAddress(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	local := freePort(t, "tcp")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-p", local}, "127.0.0.1:" + local},
		{[]string{"-s", "127.0.0.1", "-p" + local}, "127.0.0.1:" + local}, // again, though the first is in TIME_WAIT
		{[]string{"-s", "127.0.0.1"}, "127.0.0.1:"},
		{[]string{"-s", "localhost"}, "127.0.0.1:"},
	} {
		p := startPurr(t, opts{stdin: strings.NewReader("x")}, append(test.args, "127.0.0.1", portOf(t, ln.Addr()))...)
		c := acceptTest(t, ln)
		if got := c.RemoteAddr().String(); !strings.HasPrefix(got, test.want) {
			t.Errorf("%v: comes from %s, want %s", test.args, got, test.want)
		}
		testkit.ReadAll(t, c)
		_ = c.Close()
		p.ends(0)
	}
	// One that is not this machine's, or taken, or of the other family.
	for _, args := range [][]string{{"-s", "192.0.2.1"}, {"-s", "::1"}} {
		p := startPurr(t, opts{stdin: strings.NewReader("x")}, append(args, "127.0.0.1", portOf(t, ln.Addr()))...)
		p.ends(1)
		p.printed("")
		if !strings.HasPrefix(p.err.String(), "purr: ") {
			t.Errorf("said %q", p.err)
		}
	}
	taken := listenTest(t)
	p := startPurr(t, opts{stdin: strings.NewReader("x")}, "-s", "127.0.0.1", "-p", portOf(t, taken.Addr()), "127.0.0.1", portOf(t, ln.Addr()))
	p.ends(1)
	p.complains("ddress already in use")
	_ = ln.SetDeadline(time.Now().Add(20 * time.Millisecond))
	if c, err := ln.Accept(); err == nil {
		_ = c.Close()
		t.Error("it connected all the same")
	}
	// Datagrams.
	u := listenUDPTest(t)
	port := freePort(t, "udp")
	p = startPurr(t, opts{stdin: strings.NewReader("x")}, "-u", "-w", "20", "-W", "1", "-p", port, "127.0.0.1", portOf(t, u.LocalAddr()))
	_, from := receiveFrom(t, u)
	if fmt.Sprint(from.Port) != port {
		t.Errorf("comes from %v, want port %s", from, port)
	}
	if _, err := u.WriteToUDP([]byte("y"), from); err != nil {
		t.Fatal(err)
	}
	p.ends(0)
}

// Several ports: one conversation with each.
func TestSeveralPorts(t *testing.T) {
	t.Parallel()
	a, b := listenTest(t), listenTest(t)
	pa, pb, pc := portOf(t, a.Addr()), portOf(t, b.Addr()), closedPorts(t, 1)[0]
	serve := func(ln *net.TCPListener, banner string) {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, banner)
		_ = c.Close()
	}
	for _, ports := range [][]string{{pa, pc, pb}, {pa + "," + pc + "," + pb}} {
		go serve(a, "A")
		go serve(b, "B")
		p := startPurr(t, opts{}, append([]string{"127.0.0.1"}, ports...)...)
		p.ends(0)
		p.printed("AB")
		p.complains("port "+pc, "Connection refused")
	}
	p := startPurr(t, opts{}, "127.0.0.1", pc, pc)
	p.ends(1)
	if strings.Count(p.err.String(), "Connection refused") != 2 {
		t.Errorf("said %q", p.err)
	}
}

// The bytes that each option sends, and when, as seen by the peer.
func TestOptionsOfAConversation(t *testing.T) {
	t.Parallel()
	run := func(name string, f func(t *testing.T, ln *net.TCPListener, dial func(o opts, args ...string) *process)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			f(t, ln, func(o opts, args ...string) *process {
				return startPurr(t, o, append(args, "127.0.0.1", portOf(t, ln.Addr()))...)
			})
		})
	}
	type dialer = func(o opts, args ...string) *process
	run("-N", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		p := dial(opts{stdin: strings.NewReader("x")}, "-N")
		c := acceptTest(t, ln)
		if got := testkit.ReadAll(t, c); got != "x" {
			t.Errorf("got %q", got)
		}
		writeAll(t, c, "y")
		_ = c.Close()
		p.ends(0)
		p.printed("y")
	})
	for _, flag := range [][]string{{"--no-shutdown"}, {"-q", "-1"}, {"-q-1"}} {
		run(strings.Join(flag, " "), func(t *testing.T, ln *net.TCPListener, dial dialer) {
			p := dial(opts{stdin: strings.NewReader("x")}, flag...)
			c := acceptTest(t, ln)
			testkit.ReadN(t, c, 1)
			silent(t, c, 200*time.Millisecond) // no end either
			p.runs()
			writeAll(t, c, "y")
			_ = c.Close()
			p.ends(0)
			p.printed("y")
		})
	}
	for _, flag := range [][]string{{"-d"}, {"--recv-only"}} {
		run(flag[0], func(t *testing.T, ln *net.TCPListener, dial dialer) {
			p := dial(opts{stdin: strings.NewReader("not sent")}, flag...)
			c := acceptTest(t, ln)
			silent(t, c, 200*time.Millisecond)
			writeAll(t, c, "y")
			_ = c.CloseWrite()
			if got := testkit.ReadAll(t, c); got != "" {
				t.Errorf("got %q", got)
			}
			p.ends(0)
			p.printed("y")
		})
	}
	run("--send-only", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		p := dial(opts{stdin: strings.NewReader(testkit.Noise(quick))}, "--send-only")
		c := acceptTest(t, ln)
		writeAll(t, c, "dropped")
		if got := testkit.ReadAll(t, c); got != testkit.Noise(quick) {
			t.Errorf("got %s", testkit.Brief(got))
		}
		p.ends(0) // with the end of stdin; the peer keeps its end open
		p.printed("")
		p.quiet()
	})
	run("--send-only waits until all is taken", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		content := testkit.Noise(eight)
		p := dial(opts{stdin: opened(t, testkit.TempFile(t, content))}, "--send-only")
		c := acceptTest(t, ln)
		time.Sleep(300 * time.Millisecond)
		p.runs()
		if got := testkit.ReadAll(t, c); got != content {
			t.Errorf("%d of %d bytes arrived, or others", len(got), len(content))
		}
		p.ends(0)
	})
	run("-q 1", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		testkit.Fairly(t, 300*time.Millisecond, func(t testing.TB) {
			p := dial(opts{stdin: strings.NewReader("x")}, "-q", "1")
			c := acceptTest(t, ln)
			testkit.ReadN(t, c, 1)
			silent(t, c, 500*time.Millisecond) // no end either
			writeAll(t, c, "y")
			p.ends(0)
			p.printed("y")
			if p.took < time.Second {
				t.Errorf("took %v", p.took)
			}
		})
	})
	run("-q 0 is -N", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		p := dial(opts{stdin: strings.NewReader("x")}, "-q", "0")
		c := acceptTest(t, ln)
		testkit.ReadAll(t, c)
		time.Sleep(300 * time.Millisecond)
		p.runs()
		writeAll(t, c, "late")
		_ = c.Close()
		p.ends(0)
		p.printed("late")
	})
	run("-C", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		p := dial(opts{openStdin: true}, "-C")
		c := acceptTest(t, ln)
		writeAll(t, p.stdin, "a\nb\r\nc\r") // the CR and the LF come in two reads
		want := "a\r\nb\r\nc\r"
		got := testkit.ReadN(t, c, len(want))
		writeAll(t, p.stdin, "\n\n")
		_ = p.stdin.Close()
		if got += testkit.ReadAll(t, c); got != want+"\n\r\n" {
			t.Errorf("got %q", got)
		}
		writeAll(t, c, "x\ny\n")
		_ = c.Close()
		p.ends(0)
		p.printed("x\ny\n") // received bytes stay as they are
	})
	run("-t", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		p := dial(opts{openStdin: true}, "-t")
		c := acceptTest(t, ln)
		// WILL ECHO, DO TTYPE, WONT 5, DONT 6, a doubled 255, a subnegotiation,
		// one command cut in the middle.
		writeAll(t, c, "log\xff\xfb\x01\xff\xfd\x18in\xff\xfc\x05\xff\xfe\x06: \xff\xff\xff\xfa\x18\x01\xff\xf0.\xff")
		if got, want := testkit.ReadN(t, c, 6), "\xff\xfe\x01\xff\xfc\x18"; got != want {
			t.Errorf("answered %q, want %q", got, want)
		}
		writeAll(t, c, "\xfb\x03!")
		if got, want := testkit.ReadN(t, c, 3), "\xff\xfe\x03"; got != want {
			t.Errorf("answered %q, want %q", got, want)
		}
		silent(t, c, 20*time.Millisecond)
		_ = c.Close()
		p.ends(0)
		p.printed("login: \xff.!")
	})
	run("-i", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		p := dial(opts{stdin: strings.NewReader("a\nb\nc\n")}, "-i", "0.4")
		c := acceptTest(t, ln)
		if got := testkit.ReadN(t, c, 2); got != "a\n" { // the first at once
			t.Errorf("got %q", got)
		}
		if got := testkit.ReadN(t, c, 2); got != "b\n" {
			t.Errorf("got %q", got)
		}
		if got := testkit.ReadAll(t, c); got != "c\n" {
			t.Errorf("got %q", got)
		}
		if took := time.Since(p.begun); took < 800*time.Millisecond {
			t.Errorf("the third line came after %v", took)
		}
		writeAll(t, c, "x\ny\n")
		_ = c.Close()
		p.ends(0)
		p.printed("x\ny\n")
	})
	run("-W", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		p := dial(opts{openStdin: true}, "-W", "2")
		c := acceptTest(t, ln)
		writeAll(t, c, "one ")
		p.waitOut("one ")
		p.runs()
		writeAll(t, c, "two ")
		p.ends(0)
		p.printed("one two ")
	})
	t.Run("-w is silence too", func(t *testing.T) {
		t.Parallel()
		testkit.Fairly(t, 300*time.Millisecond, func(t testing.TB) {
			ln := listenTest(t)
			p := startPurr(t, opts{openStdin: true}, "-w", "1", "127.0.0.1", portOf(t, ln.Addr()))
			c := acceptTest(t, ln)
			for range 2 { // activity in either direction counts
				time.Sleep(300 * time.Millisecond)
				writeAll(t, c, ".")
				time.Sleep(300 * time.Millisecond)
				writeAll(t, p.stdin, ".")
			}
			p.runs()
			p.endsWithin(0, 10*time.Second)
			p.printed("..")
		})
	})
	run("--connect-timeout is not for silence", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		p := dial(opts{openStdin: true}, "--connect-timeout", "1")
		acceptTest(t, ln)
		time.Sleep(1200 * time.Millisecond)
		p.runs()
	})
	run("--quit-word", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		p := dial(opts{openStdin: true}, "--quit-word", "q")
		c := acceptTest(t, ln)
		writeAll(t, p.stdin, "quit\n q\nqq\nq\nnot sent\n")
		if got := testkit.ReadAll(t, c); got != "quit\n q\nqq\n" {
			t.Errorf("got %q", got)
		}
		p.ends(0)
	})
	run("--quit-word, CR LF", func(t *testing.T, ln *net.TCPListener, dial dialer) {
		p := dial(opts{openStdin: true}, "--quit-word", "q")
		c := acceptTest(t, ln)
		writeAll(t, p.stdin, "a\r\nq\r\n")
		if got := testkit.ReadAll(t, c); got != "a\r\n" {
			t.Errorf("got %q", got)
		}
		p.ends(0)
	})
}

// Status 2 means that nothing was opened.
func TestMissingSendFile(t *testing.T) {
	t.Parallel()
	missing := t.TempDir() + "/missing"
	port := closedPorts(t, 1)[0]
	p := startPurr(t, opts{}, "-v", "-l", "--send-file", missing, "127.0.0.1", port)
	p.ends(2)
	p.complains("--send-file", missing, "no such file")
	if strings.Contains(p.err.String(), "Listening") {
		t.Errorf("it listened: %q", p.err)
	}
	ln := listenTest(t)
	p = startPurr(t, opts{}, "--send-file", missing, "127.0.0.1", portOf(t, ln.Addr()))
	p.ends(2)
	p.complains(missing)
	_ = ln.SetDeadline(time.Now().Add(20 * time.Millisecond))
	if c, err := ln.Accept(); err == nil {
		_ = c.Close()
		t.Error("it connected")
	}
	p = startPurr(t, opts{}, "-l", "--send-file", t.TempDir(), "127.0.0.1", "0")
	p.ends(2)
	p.complains("is a directory")
	socket := testkit.SocketDir(t) + "/s"
	p = startPurr(t, opts{}, "-l", "-U", "--send-file", missing, socket)
	p.ends(2)
	testkit.Absent(t, socket)
}

// A file that cannot be read is found first too.
func TestUnreadableSendFile(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		testkit.NotHere(t, "a user other than root, who can read everything")
	}
	path := testkit.TempFile(t, "secret")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	p := startPurr(t, opts{}, "-l", "--send-file", path, "127.0.0.1", "0")
	p.ends(2)
	p.complains(path, "permission denied")
}

// A file that grows is sent as it was; one that shrinks is an error, and the
// receiver sees no orderly end.
func TestSendFileChanges(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(2 * eight)
	for _, test := range []struct {
		name   string
		change func(path string) error
		status int
	}{
		{"grows", func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		}, 0},
		{"shrinks", func(path string) error { return os.Truncate(path, eight+eight/2) }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := testkit.TempFile(t, content)
			ln := listenTest(t)
			p := startPurr(t, opts{}, "--send-file", path, "127.0.0.1", portOf(t, ln.Addr()))
			c := acceptTest(t, ln)
			testkit.ReadN(t, c, 10)
			if err := test.change(path); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			_ = c.Close()
			p.ends(test.status)
			if test.status == 0 {
				p.complains("sent 16777216 bytes; the other end's system acknowledged all of them and closed")
				if err != nil || string(got) != content[10:] {
					t.Errorf("%d of %d bytes arrived, or others (%v)", len(got)+10, len(content), err)
				}
				return
			}
			p.complains(path, "shrank")
			if err == nil {
				t.Error("the receiver saw an orderly end")
			}
		})
	}
}

// --- The race of the addresses, with real sockets ---

// An address that refuses costs no time; the first in the list is preferred.
func TestRaceFallsBack(t *testing.T) {
	needsIPv6(t)
	ln := listenTest(t)
	port := ln.Addr().(*net.TCPAddr).Port
	testkit.Fairly(t, 50*time.Millisecond, func(tb testing.TB) {
		p, _ := testRun(t, nil, nil, "-v", "-n", "127.0.0.1", portOf(t, ln.Addr()))
		begun := time.Now()
		conn, err := p.dialer.race(t.Context(), []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}, netip.AddrPort{}, port)
		if err != nil {
			tb.Fatal(err)
		}
		defer conn.Close()
		if got := sock.AddrPort(conn.RemoteAddr()).Addr().String(); got != "127.0.0.1" {
			tb.Errorf("connected to %s", got)
		}
		if took := testkit.Since(begun); took > eyeballs.AttemptDelay {
			tb.Errorf("a refused address cost %v", took)
		}
		if got := p.log.out.(*testkit.Output).String(); !strings.Contains(got, "connect to 127.0.0.1 (::1) port") || !strings.Contains(got, "failed: Connection refused\n") {
			tb.Errorf("said %q", got)
		}
	})
}

// When all fail, the error holds them all.
func TestRaceFails(t *testing.T) {
	needsIPv6(t)
	closed := closedPorts(t, 1)[0]
	port := netip.MustParseAddrPort("127.0.0.1:" + closed).Port()
	p, _ := testRun(t, nil, nil, "-n", "127.0.0.1", closed)
	_, err := p.dialer.race(t.Context(), []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}, netip.AddrPort{}, int(port))
	if err == nil || strings.Count(err.Error(), "Connection refused") != 2 {
		t.Errorf("got %v", err)
	}
}

// A usage error prints one line, on stderr alone, and exits with 2.
func TestUnknownOption(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--nosuch", "h", "80"}, {"-?"}, {"-l", "--listen=x"}, {"h", "80", "-p"}, {"h", "99999"}, {"-k", "h", "80"}, {"-g", "x", "h", "80"},
		{"-S", "h", "80"}, {"-V", "1", "h", "80"}, {"-Z", "h", "80"}, {"-l"}, {"\x1b[2J"}, {"-\x1b"},
	} {
		p := startPurr(t, opts{stdin: strings.NewReader("x")}, args...)
		p.ends(2)
		p.printed("")
		p.complains()
		if strings.Contains(p.err.String(), "\x1b") {
			t.Errorf("%q: said %q", args, p.err)
		}
	}
}
