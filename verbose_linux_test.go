package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// summary is the lines of purr's own under -v: how it is confined, and how a
// conversation ended; nc has none. The other lines of -v are OpenBSD nc's, byte
// for byte after the program's name.
var summary = regexp.MustCompile(`(?m)^purr: .*; (sent|echoed) \d+ .*\n|^purr: ended by signal: .*\n|^purr: (not )?confined: .*\n`)

// verboseText returns a program's output under -v: its name and the ports that
// the system chose made equal, purr's own lines removed.
func verboseText(p *process) string {
	s := summary.ReplaceAllString(p.err.String(), "")
	s = regexp.MustCompile(`(?m)^(\w+ on 0\.0\.0\.0 \d+\n)\w+ on :: \d+\n`).ReplaceAllString(s, "$1") // nc binds IPv4 only
	s = regexp.MustCompile(`(?m)^(purr|nc\.openbsd): `).ReplaceAllString(s, "NAME: ")
	return regexp.MustCompile(`(?m)^(Connection received on \S+) \d+$`).ReplaceAllString(s, "$1 EPHEMERAL")
}

// The same command line prints the same with both programs.
func TestVerboseLikeNC(t *testing.T) {
	t.Parallel()
	testkit.Program(t, "nc.openbsd", "netcat-openbsd")
	needsIPv6(t)
	programs := map[string]string{"nc.openbsd": "nc.openbsd", "purr": purrPath(t)}
	both := func(t *testing.T, session func(t *testing.T, program string) string) string {
		t.Helper()
		theirs := session(t, programs["nc.openbsd"])
		ours := session(t, programs["purr"])
		if theirs != ours {
			t.Errorf("nc.openbsd says\n%spurr says\n%s", theirs, ours)
		}
		return ours
	}
	open := listenTest(t)
	openPort := portOf(t, open.Addr())
	closedPort := closedPorts(t, 1)[0]
	go func() {
		for {
			c, err := open.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	_ = open.SetDeadline(time.Time{})

	for _, args := range [][]string{
		{"-v", "127.0.0.1", openPort},
		{"-v", "localhost", openPort},
		{"-v", "-n", "127.0.0.1", openPort},
		{"-nv", "-4", "127.0.0.1", openPort},
		{"-v", "127.0.0.1", closedPort},
		{"-v", "-n", "::1", closedPort},
		{"-v", "-6", "127.0.0.1", closedPort},
		{"-v", "-4", "::1", closedPort},
		{"-v", "-w", "1", "127.0.0.1", closedPort},
		{"127.0.0.1", openPort},
	} {
		t.Run(strings.Join(args[:len(args)-1], " "), func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, program string) string {
				p := start(t, opts{}, program, args...)
				p.status()
				return verboseText(p)
			})
		})
	}
	t.Run("timed out", func(t *testing.T) {
		t.Parallel()
		port := deafPort(t)
		both(t, func(t *testing.T, program string) string {
			p := start(t, opts{}, program, "-v", "-w", "1", "127.0.0.1", port)
			p.ends(1)
			return verboseText(p)
		})
	})
	for _, listen := range []struct {
		args    []string
		network string
		addr    string
	}{
		{[]string{"-v", "-n", "-l", "127.0.0.1", "PORT"}, "tcp", "127.0.0.1"},
		{[]string{"-v", "-l", "127.0.0.1", "PORT"}, "tcp", "127.0.0.1"},
		{[]string{"-v", "-l", "localhost", "PORT"}, "tcp", "127.0.0.1"},
		{[]string{"-v", "-n", "-l", "PORT"}, "tcp", "127.0.0.1"},
		{[]string{"-v", "-n", "-4", "-l", "PORT"}, "tcp", "127.0.0.1"},
		{[]string{"-v", "-n", "-6", "-l", "PORT"}, "tcp", "::1"},
		{[]string{"-v", "-n", "-l", "::1", "PORT"}, "tcp", "::1"},
		{[]string{"-lvnp", "PORT"}, "tcp", "127.0.0.1"},
		{[]string{"-v", "-n", "-u", "-l", "127.0.0.1", "PORT"}, "udp", "127.0.0.1"},
		{[]string{"-v", "-u", "-l", "127.0.0.1", "PORT"}, "udp", "127.0.0.1"},
		{[]string{"-v", "-n", "-u", "-l", "PORT"}, "udp", "127.0.0.1"},
		{[]string{"-v", "-n", "-u", "-6", "-l", "PORT"}, "udp", "::1"},
	} {
		t.Run(strings.Join(listen.args, " "), func(t *testing.T) {
			t.Parallel()
			port := freePort(t, listen.network)
			both(t, func(t *testing.T, program string) string {
				var args []string
				for _, a := range listen.args {
					args = append(args, strings.ReplaceAll(a, "PORT", port))
				}
				p := start(t, opts{}, program, args...)
				awaitPort(t, listen.network, port)
				c := dialTest(t, listen.network, net.JoinHostPort(listen.addr, port))
				writeAll(t, c, "hello")
				p.waitOut("hello")
				_ = c.Close()
				if listen.network == "udp" {
					p.signal(syscall.SIGTERM)
				}
				p.status()
				return verboseText(p)
			})
		})
	}
	t.Run("unix", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(testkit.SocketDir(t), "s")
		both(t, func(t *testing.T, program string) string {
			_ = os.Remove(path)
			p := start(t, opts{}, program, "-v", "-l", "-U", path)
			awaitUnix(t, path)
			c := dialTest(t, "unix", path)
			writeAll(t, c, "hello")
			p.waitOut("hello")
			_ = c.Close()
			p.ends(0)
			return verboseText(p)
		})
	})
	t.Run("keep", func(t *testing.T) {
		t.Parallel()
		port := freePort(t, "tcp")
		both(t, func(t *testing.T, program string) string {
			p := start(t, opts{}, program, "-v", "-n", "-k", "-l", "127.0.0.1", port)
			awaitPort(t, "tcp", port)
			for _, word := range []string{"first", "second"} {
				c := dialTest(t, "tcp", "127.0.0.1:"+port)
				writeAll(t, c, word)
				p.waitOut(word)
				_ = c.Close()
			}
			p.kill()
			return verboseText(p)
		})
	})
	t.Run("service name", func(t *testing.T) {
		t.Parallel()
		rootOnly(t)
		testkit.Program(t, "ip", "iproute2")
		// Port 80 of a network of its own.
		both(t, func(t *testing.T, program string) string {
			script := `ip link set lo up && { nc.openbsd -l 127.0.0.1 80 </dev/null & } && i=0 &&
				while ! grep -q ":0050 " /proc/net/tcp && [ $i -lt 500 ]; do i=$((i+1)); sleep 0.01; done; exec "$1" -N -v 127.0.0.1 80`
			p := start(t, opts{}, "unshare", "-n", "sh", "-c", script, "sh", program)
			p.ends(0)
			return verboseText(p)
		})
	})
}

// The lines of OpenBSD nc, written out.
func TestVerboseLines(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	port := portOf(t, ln.Addr())
	serve := func() {
		if c, err := ln.Accept(); err == nil {
			_ = c.Close()
		}
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-v", "127.0.0.1", port}, "Connection to 127.0.0.1 " + port + " port [tcp/*] succeeded!\n"},
		{[]string{"-v", "-n", "127.0.0.1", port}, "Connection to 127.0.0.1 " + port + " port [tcp/*] succeeded!\n"},
	} {
		go serve()
		p := startPurr(t, opts{}, test.args...)
		p.ends(0)
		if got := verboseText(p); got != test.want {
			t.Errorf("%v: said %q, want %q", test.args, got, test.want)
		}
		p.printed("")
	}
	// Without -v a good connection prints nothing at all.
	go serve()
	p := startPurr(t, opts{}, "127.0.0.1", port)
	p.ends(0)
	p.quiet()
	// Each ending has one line of its own.
	server := startPurr(t, opts{}, "-v", "-n", "--no-sandbox", "-l", "127.0.0.1", "0")
	c := dialTest(t, "tcp", server.addr())
	from := portOf(t, c.LocalAddr())
	writeAll(t, c, "12345")
	_ = c.Close()
	server.ends(0)
	lines := strings.Split(strings.TrimSuffix(server.err.String(), "\n"), "\n")
	if len(lines) != 3 || lines[0] != "Listening on 127.0.0.1 "+server.port() || lines[1] != "Connection received on 127.0.0.1 "+from ||
		!strings.Contains(lines[2], "received 5 bytes") || !strings.Contains(lines[2], "the peer finished") {
		t.Errorf("said %q", lines)
	}
	// A failure is printed once, with -v and without.
	for _, v := range []string{"-n", "-nv", "-nvv"} {
		server := startPurr(t, opts{}, v, "-l", "127.0.0.1", "0")
		c := dialTest(t, "tcp", server.addr())
		writeAll(t, c, "x")
		server.waitOut("x")
		testkit.Reset(t, c)
		server.ends(1)
		if n := strings.Count(server.err.String(), "connection reset by peer"); n != 1 {
			t.Errorf("%s: said %d times: %q", v, n, server.err)
		}
	}
}

// -w and --connect-timeout limit the time for connecting, and print an error
// without -v too.
func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{{"-w", "1"}, {"-w", "0.5"}, {"-w", "500ms"}, {"--connect-timeout", "0.5"}, {"-w", "60", "--connect-timeout", "0.5"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			t.Parallel()
			port := deafPort(t)
			p := startPurr(t, opts{stdin: strings.NewReader("x")}, append(flags, "127.0.0.1", port)...)
			p.endsWithin(1, 10*time.Second)
			if got, want := p.err.String(), "purr: connect to 127.0.0.1 port "+port+" (tcp) timed out: Operation now in progress\n"; got != want {
				t.Errorf("said %q, want %q", got, want)
			}
			if p.took < 500*time.Millisecond {
				t.Errorf("took %v", p.took)
			}
		})
	}
}

// A name with an IPv6 address first, where only IPv4 answers.
func TestNameFallsBackToIPv4(t *testing.T) {
	t.Parallel()
	rootOnly(t)
	needsIPv6(t)
	ln := listenTest(t)
	port := portOf(t, ln.Addr())
	hosts := testkit.TempFile(t, "::1 both.test\n127.0.0.1 both.test\n")
	p := shell(t, opts{stdin: strings.NewReader("x")}, `exec unshare -m sh -c 'mount --bind "$1" /etc/hosts && exec purr -v both.test $2' sh "$1" "$2"`, hosts, port)
	c := acceptTest(t, ln)
	if got := testkit.ReadAll(t, c); got != "x" {
		t.Errorf("got %q", got)
	}
	_ = c.Close()
	p.ends(0)
	want := "NAME: connect to both.test (::1) port " + port + " (tcp) failed: Connection refused\n" +
		"Connection to both.test (127.0.0.1) " + port + " port [tcp/*] succeeded!\n"
	if got := verboseText(p); got != want {
		t.Errorf("said %q, want %q", got, want)
	}
	// Without -v only the success counts.
	p = shell(t, opts{}, `exec unshare -m sh -c 'mount --bind "$1" /etc/hosts && exec purr both.test $2' sh "$1" "$2"`, hosts, port)
	c = acceptTest(t, ln)
	_ = c.Close()
	p.ends(0)
	p.quiet()
	// And with -6 there is nothing else.
	p = shell(t, opts{}, `exec unshare -m sh -c 'mount --bind "$1" /etc/hosts && exec purr -6 both.test $2' sh "$1" "$2"`, hosts, port)
	p.ends(1)
	p.complains("both.test (::1) port " + port)
}

// Addresses that need a zone, over a network of its own.
func TestLinkLocal(t *testing.T) {
	t.Parallel()
	rootOnly(t)
	testkit.Program(t, "ip", "iproute2")
	script := `ip link set lo up && ip addr add fe80::17/64 dev lo nodad || exit 77
		{ echo answer | purr -v -n -l "fe80::17%lo" 7777 >got & } && i=0
		while ! grep -q ":1E61 .* 0A " /proc/net/tcp6 && [ $i -lt 500 ]; do i=$((i+1)); sleep 0.01; done
		echo question | purr -v -n "fe80::17%lo" 7777 || exit 1
		echo "[zone]" && echo question | purr "[fe80::17%lo]:7777"; s=$?; wait; [ $s = 1 ] && cat got &&
		{ purr -u -l -k --echo --upper 7777 </dev/null >/dev/null & p=$!; } && i=0
		while ! grep -q ":1E61 " /proc/net/udp6 && [ $i -lt 500 ]; do i=$((i+1)); sleep 0.01; done
		echo datagram | purr -u -w 20 -W 1 "fe80::17%lo" 7777; s=$?; kill $p; exit $s`
	p := shell(t, opts{dir: t.TempDir()}, `exec unshare -n sh -c "$1"`, script)
	if p.status() == 77 {
		testkit.NotHere(t, "a link-local address on the loopback interface")
	}
	p.ends(0)
	p.printed("answer\n[zone]\nquestion\nDATAGRAM\n")
	for _, line := range []string{
		"Listening on fe80::17%lo 7777\n", "Connection to fe80::17%lo 7777 port [tcp/*] succeeded!\n",
		"Connection received on fe80::17%lo ", "purr: connect to fe80::17%lo port 7777 (tcp) failed: Connection refused\n",
	} {
		if !strings.Contains(p.err.String(), line) {
			t.Errorf("stderr lacks %q:\n%s", line, p.err)
		}
	}
}
