package main

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/fdio"
	"purr/internal/testkit"
)

// Ways in which a byte was once lost without a word. Each was found by trying.

// urgent sends one byte as TCP urgent data.
func urgent(t testing.TB, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.Sendto(int(fd), []byte("!"), syscall.MSG_OOB, nil) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// openFlags opens a file for the length of the test.
func openFlags(t testing.TB, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// splice stops at a byte that was sent as urgent, and at the end of the peer
// it looks as if nothing came behind. The urgent byte itself is not part of the
// stream (RFC 6093).
func TestUrgentByte(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"pipe", "file", "append"} {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			path := testkit.TempFile(t, "")
			o := opts{}
			switch to {
			case "file":
				o.stdout = openFlags(t, path, os.O_WRONLY)
			case "append":
				o.stdout = openFlags(t, path, os.O_WRONLY|os.O_APPEND)
			}
			ln := listenTest(t)
			p := startPurr(t, o, "-d", "127.0.0.1", portOf(t, ln.Addr()))
			c := acceptTest(t, ln)
			writeAll(t, c, "before")
			urgent(t, c)
			behind := testkit.Noise(200_000)
			writeAll(t, c, behind)
			time.Sleep(50 * time.Millisecond) // long enough to have stalled or spun
			_ = c.Close()
			p.ends(0)
			got := ""
			if o.stdout == nil {
				got = p.out.String()
			} else if b, err := os.ReadFile(path); err != nil {
				t.Fatal(err)
			} else {
				got = string(b)
			}
			if got != "before"+behind {
				t.Errorf("%d of %d bytes, or others", len(got), len("before")+len(behind))
			}
		})
	}
}

// A file in /proc is regular and has size 0, but also content.
func TestSendFileOfNoSize(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	p := startPurr(t, opts{}, "--send-file", "/proc/version", "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	want, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Fatal(err)
	}
	if got := testkit.ReadAll(t, c); got != string(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	_ = c.Close()
	p.ends(0)
}

// The last piece of a line that is too long to be the quit word is not taken
// for it.
func TestQuitWordBehindALongLine(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	content := strings.Repeat("a", 64<<10) + "q\nmore\n"
	p := startPurr(t, opts{stdin: strings.NewReader(content + "q\nnever\n")}, "--quit-word", "q", "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	if got := testkit.ReadAll(t, c); got != content {
		t.Errorf("%d of %d bytes", len(got), len(content))
	}
	_ = c.Close()
	p.ends(0)
}

// -q limits the wait for a peer that does not read, and prints an error.
func TestQuitTimeWithUnsentBytes(t *testing.T) {
	t.Parallel()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
	}}
	ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, testkit.Noise(200_000)))}, "-q", "0.5", "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln.(*net.TCPListener)) // and does not read
	p.endsWithin(1, testkit.Promptly()+5*time.Second)
	p.complains("not taken", "after the end of stdin")
	_ = c.Close()
}

// An echo is over when its answers have been acknowledged, not when they have
// been written.
func TestEchoSettles(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "-l", "--echo", "127.0.0.1", "0")
	c := dialTest(t, "tcp", p.addr()).(*net.TCPConn)
	_ = c.SetReadBuffer(2048)
	writeAll(t, c, testkit.Noise(300_000)+"the last\n")
	_ = c.CloseWrite()
	p.waitOut("the last\n")
	time.Sleep(50 * time.Millisecond)
	p.runs()
	testkit.Reset(t, c)
	p.endsWithin(1, testkit.Promptly()+5*time.Second)
}

// A stderr without a reader does no harm to the transfer.
func TestNobodyReadsStderr(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	defer w.Close()
	content := testkit.Noise(quick)
	ln := listenTest(t)
	p := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, content)), stderr: w}, "-v", "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	if got := testkit.ReadAll(t, c); got != content {
		t.Errorf("%d of %d bytes arrived", len(got), len(content))
	}
	_ = c.Close()
	if got := p.status(); got != 0 {
		t.Errorf("status %d", got)
	}
}

// Datagrams that have arrived are written however slow the reader is, though
// nothing comes any more.
func TestUDPSlowReader(t *testing.T) {
	t.Parallel()
	testkit.Fairly(t, 300*time.Millisecond, func(t testing.TB) {
		server := listenUDPTest(t)
		p := startPurr(t, opts{stdin: strings.NewReader("?"), ownStdout: true}, "-u", "127.0.0.1", portOf(t, server.LocalAddr()))
		_, client := receiveFrom(t, server)
		content := testkit.Noise(40 * 20_000)
		printed := fdio.New(p.stdout, nil)
		for i := range 40 {
			if _, err := server.WriteToUDP([]byte(content[i*20_000:(i+1)*20_000]), client); err != nil {
				t.Fatal(err)
			}
			// Bytes beyond the receive buffer would be lost.
			testkit.Eventually(t, "the datagram is printed", func() bool { return printed.Unread() == (i+1)*20_000 })
		}
		time.Sleep(replyWait + 500*time.Millisecond)
		if got := testkit.ReadAll(t, p.stdout); got != content {
			t.Errorf("%d of %d bytes", len(got), len(content))
		}
		p.ends(0)
	})
}

// Bytes written to stdin between two clients of -l -k go to one of them.
func TestNothingFallsBetweenClients(t *testing.T) {
	t.Parallel()
	for range 5 {
		p := startPurr(t, opts{openStdin: true}, "-l", "-k", "127.0.0.1", "0")
		a := dialTest(t, "tcp", p.addr()).(*net.TCPConn)
		writeAll(t, a, "q\n")
		p.waitOut("q\n")
		_ = a.CloseWrite()
		writeAll(t, p.stdin, "the line\n")
		first := make(chan string, 1)
		go func() { first <- testkit.ReadAll(t, a) }()
		time.Sleep(20 * time.Millisecond)
		b := dialTest(t, "tcp", p.addr())
		_ = p.stdin.Close()
		_ = b.(*net.TCPConn).CloseWrite()
		second := testkit.ReadAll(t, b)
		// Both, if the second connected before purr read the line.
		if got := <-first + second; got != "the line\n" && got != "the line\nthe line\n" {
			t.Errorf("the clients got %q", got)
		}
		p.kill()
	}
}
