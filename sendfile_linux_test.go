package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// The claims of --send-file's last line about the sent bytes.

const (
	allAcknowledged = "the other end's system acknowledged all of them and closed; a plain peer cannot confirm that it stored them"
	notClosed       = "the other end's system acknowledged all of them, but had not closed when this end did; a plain peer cannot confirm that it stored them"
)

// sumOf is the SHA-256 of content as messages have it.
func sumOf(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

// fewer checks the message of an ended process that the peer acknowledged only
// a part of its file.
func fewer(t testing.TB, p *process, size int) {
	t.Helper()
	m := regexp.MustCompile(`^purr: .*; peer acknowledged (\d+) of (\d+) bytes\n$`).FindStringSubmatch(strings.ReplaceAll(p.said(), "\x00\n", ""))
	if m == nil {
		t.Fatalf("said %q", p.said())
	}
	acked, _ := strconv.Atoi(m[1])
	if of, _ := strconv.Atoi(m[2]); of != size || acked >= size {
		t.Errorf("said %q, want fewer than %d", m[0], size)
	}
}

// The last line, with each netcat at the other end, and its received bytes.
func TestSendFileSaysWhatIsKnown(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight/4 + 321)
	path := testkit.TempFile(t, content)
	want := fmt.Sprintf("sent %d bytes, sha256 %s; %s", len(content), sumOf(content), allAcknowledged)
	for _, peer := range netcats {
		t.Run("purr dials "+peer.program, func(t *testing.T) {
			t.Parallel()
			port := freePort(t, "tcp")
			// -t 30: socat would not wait for the other direction.
			server := shell(t, opts{}, peer.command(t, strings.Replace(peer.listenReceive, "-u ", "-t 30 -u ", 1), port))
			awaitPort(t, "tcp", port)
			p := startPurr(t, opts{}, "--sum", "--send-file", path, "127.0.0.1", port)
			p.ends(0)
			p.complains("purr: 127.0.0.1 port "+port+": "+want+"\n", want)
			server.ends(0)
			server.printed(content)
		})
		t.Run(peer.program+" dials purr", func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{}, "-l", "--sum", "--send-file", path, "127.0.0.1", "0")
			client := shell(t, opts{}, peer.command(t, peer.dialReceive, p.port()))
			client.ends(0)
			client.printed(content)
			p.ends(0)
			p.complains("purr: 127.0.0.1 port ", want)
		})
	}
}

// What netcat hides at the other end shows at this one: a full disk, a kill, a
// reset.
func TestSendFileNotAcknowledged(t *testing.T) {
	t.Parallel()
	path := testkit.TempFile(t, testkit.Noise(2*eight))
	large := testkit.TempFile(t, strings.Repeat(testkit.Noise(2*eight), 3)) // more than sockets hold: it cannot be acknowledged as a whole
	for _, peer := range netcats {
		t.Run(peer.program+" on a full disk", func(t *testing.T) {
			t.Parallel()
			full := openFlags(t, "/dev/full", os.O_WRONLY)
			port := freePort(t, "tcp")
			server := shell(t, opts{stdout: full}, "exec "+peer.command(t, peer.listenReceive, port))
			awaitPort(t, "tcp", port)
			p := startPurr(t, opts{}, "--send-file", path, "127.0.0.1", port)
			p.ends(1)
			fewer(t, p, 2*eight)
			server.kill()
		})
		t.Run(peer.program+" killed", func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{}, "-l", "--send-file", large, "127.0.0.1", "0")
			client := shell(t, opts{ownStdout: true}, "exec "+peer.command(t, peer.dialReceive, p.port()))
			testkit.ReadN(t, client.stdout, 1000)
			client.kill()
			p.ends(1)
			fewer(t, p, 6*eight)
		})
	}
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		p := startPurr(t, opts{}, "--send-file", path, "--sum", "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		testkit.ReadN(t, c, 100_000)
		testkit.Reset(t, c)
		p.ends(1)
		fewer(t, p, 2*eight)
	})
	t.Run("reset after the last byte", func(t *testing.T) {
		t.Parallel()
		p := startPurr(t, opts{}, "-l", "--send-file", testkit.TempFile(t, "small"), "127.0.0.1", "0")
		c := dialTest(t, "tcp", p.addr())
		testkit.ReadAll(t, c)
		testkit.Reset(t, c)
		p.ends(1)
		p.complains("connection reset by peer; peer acknowledged 5 of 5 bytes")
	})
	t.Run("receive limit", func(t *testing.T) {
		t.Parallel()
		p := startPurr(t, opts{}, "-l", "-W", "1", "--send-file", path, "127.0.0.1", "0")
		c := dialTest(t, "tcp", p.addr())
		testkit.ReadN(t, c, 1000)
		writeAll(t, c, "x")
		if _, err := io.Copy(io.Discard, c); err == nil {
			t.Error("the receiver saw an orderly end")
		}
		p.ends(1)
		fewer(t, p, 2*eight)
	})
}

// If the peer takes all bytes and does not finish, the wait can be limited, and
// the line claims no more than is known.
func TestSendFilePeerStays(t *testing.T) {
	t.Parallel()
	for _, limit := range [][]string{{"-q", "1"}, {"-w", "1"}, {"--send-only"}} {
		t.Run(limit[0], func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			args := append([]string{"--send-file", testkit.TempFile(t, "hello"), "127.0.0.1", portOf(t, ln.Addr())}, limit...)
			p := startPurr(t, opts{}, args...)
			acceptTest(t, ln)
			p.ends(0)
			p.complains("sent 5 bytes; " + notClosed)
		})
	}
}

// A pipe that has no end yet is no file that was sent.
func TestSendFileUnfinishedPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := testkit.Mkfifo(path); err != nil {
		t.Fatal(err)
	}
	ln := listenTest(t)
	p := startPurr(t, opts{}, "-w", "1", "--send-file", path, "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	w := openFlags(t, path, os.O_WRONLY)
	writeAll(t, w, "a part")
	testkit.ReadN(t, c, 6)
	if b, err := io.ReadAll(c); err == nil {
		t.Errorf("the receiver saw an orderly end, after %q", b)
	}
	p.ends(1)
	p.complains("idle for 1s before the end of " + path)
}

// A file that cannot be read resets the connection; one that is empty does not.
func TestSendFileUnreadableAndEmpty(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"--sum"}} {
		ln := listenTest(t)
		p := startPurr(t, opts{}, append(flags, "--send-file", "/proc/self/mem", "127.0.0.1", portOf(t, ln.Addr()))...)
		c := acceptTest(t, ln)
		if b, err := io.ReadAll(c); err == nil || len(b) > 0 {
			t.Errorf("the receiver saw an orderly end, after %q", b)
		}
		p.ends(1)
		p.complains("read from /proc/self/mem: input/output error")

		p = startPurr(t, opts{}, append(flags, "-l", "--send-file", testkit.TempFile(t, ""), "127.0.0.1", "0")...)
		d := dialTest(t, "tcp", p.addr())
		if got := testkit.ReadAll(t, d); got != "" {
			t.Errorf("got %q", got)
		}
		_ = d.Close()
		p.ends(0)
		p.complains("sent 0 bytes", allAcknowledged)
	}
}

// One line for each client, with its name; one that resets is one of them.
func TestSendFileManyClients(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(2 * eight)
	p := startPurr(t, opts{}, "-l", "-k", "--sum", "--send-file", testkit.TempFile(t, content), "127.0.0.1", "0")
	var names []string
	for i := range 3 {
		c := dialTest(t, "tcp", p.addr())
		name := "127.0.0.1 port " + portOf(t, c.LocalAddr())
		if i == 1 {
			testkit.ReadN(t, c, 1000)
			testkit.Reset(t, c)
			p.waitErr(regexp.MustCompile(`(?m)^purr: .*` + name + `: .*; peer acknowledged \d+ of 16777216 bytes$`))
			continue
		}
		names = append(names, name)
		if got := testkit.ReadAll(t, c); got != content {
			t.Errorf("%d of %d bytes, or others", len(got), len(content))
		}
		_ = c.Close()
	}
	for _, name := range names {
		p.waitErr(regexp.MustCompile(`(?m)^purr: ` + name + `: sent 16777216 bytes, sha256 ` + sumOf(content) + `; ` + allAcknowledged + `$`))
	}
	p.signal(syscall.SIGTERM)
	p.ends(143)
	if said := strings.ReplaceAll(p.said(), "\x00\n", ""); strings.Count(said, "\n") != 3 {
		t.Errorf("said %q, want one line for each client", said)
	}
}

// A Unix socket has no acknowledgements, and the line claims none.
func TestSendFileUnix(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testkit.SocketDir(t), "s")
	p := startPurr(t, opts{}, "-l", "-k", "-v", "--send-file", testkit.TempFile(t, testkit.Noise(quick)), "-U", path)
	p.waitErr(listeningOn)
	c := dialTest(t, "unix", path)
	if got := testkit.ReadAll(t, c); got != testkit.Noise(quick) {
		t.Errorf("%d bytes", len(got))
	}
	_ = c.Close()
	p.waitErr(regexp.MustCompile(`(?m)^purr: .*: sent 300000 bytes; the other end closed in order; nothing acknowledges bytes here, and a plain peer cannot confirm that it read or stored them$`))

	one := startPurr(t, opts{}, "-l", "-v", "--send-file", testkit.TempFile(t, testkit.Noise(2*eight)), "-U", path+"2")
	one.waitErr(listeningOn)
	c = dialTest(t, "unix", path+"2")
	testkit.ReadN(t, c, 1000)
	_ = c.Close()
	one.ends(1)
}

// A connection of several paths counts too: its kernel knows what is left.
func TestAcknowledgedMultipath(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	config.SetMultipathTCP(true)
	ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	content := testkit.Noise(quick)
	p := startPurr(t, opts{}, "-l", "--send-file", testkit.TempFile(t, content), "127.0.0.1", "0")
	var dialer net.Dialer
	dialer.SetMultipathTCP(true)
	c, err := dialer.DialContext(t.Context(), "tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if several, err := c.(*net.TCPConn).MultipathTCP(); err != nil || !several {
		testkit.NotHere(t, fmt.Sprintf("MPTCP (%v)", err))
	}
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	if got := testkit.ReadAll(t, c); got != content {
		t.Errorf("%d of %d bytes, or others", len(got), len(content))
	}
	_ = c.Close()
	p.ends(0)
	p.complains("sent 300000 bytes; " + allAcknowledged)
}
