//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// The programs of the socket tutorial, each as one command.

// echo helloworld | purr -l 8008, and echo sb | purr 127.0.0.1 8008
func TestOneShotServerAndClient(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{stdin: strings.NewReader("helloworld\n")}, "-l", "127.0.0.1", "0")
	client := startPurr(t, opts{stdin: strings.NewReader("sb\n")}, "127.0.0.1", server.port())
	client.ends(0)
	server.ends(0)
	client.printed("helloworld\n")
	server.printed("sb\n")
	client.quiet()
	server.quiet()
}

// The answer is sent at once, also to a client that sends nothing and does not
// half-close.
func TestOneShotServerAnswersFirst(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{stdin: strings.NewReader("helloworld\n")}, "-l", "127.0.0.1", "0")
	c := dialTest(t, "tcp", server.addr())
	if got := testkit.ReadAll(t, c); got != "helloworld\n" {
		t.Errorf("got %q", got)
	}
	writeAll(t, c, "late")
	_ = c.Close()
	server.ends(0)
	server.printed("late")
}

// purr -l --send-file f 8008: one client, and with -k every client.
func TestSendFileServer(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(300_000)
	server := startPurr(t, opts{}, "-l", "--send-file", testkit.TempFile(t, content), "127.0.0.1", "0")
	c := dialTest(t, "tcp", server.addr())
	if got := testkit.ReadAll(t, c); got != content {
		t.Errorf("got %s", testkit.Brief(got))
	}
	writeAll(t, c, "thanks")
	_ = c.Close()
	server.ends(0)
	server.printed("thanks")
}

func TestSendFileToEveryClient(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(300_000)
	server := startPurr(t, opts{}, "-l", "-k", "--send-file", testkit.TempFile(t, content), "127.0.0.1", "0")
	for range 3 {
		client := startPurr(t, opts{}, "127.0.0.1", server.port())
		client.ends(0)
		client.printed(content)
	}
	// One that is in the middle does not keep another one waiting.
	first, second := dialTest(t, "tcp", server.addr()), dialTest(t, "tcp", server.addr())
	testkit.ReadN(t, first, 10)
	if got := testkit.ReadAll(t, second); got != content {
		t.Errorf("second client got %s", testkit.Brief(got))
	}
	if got := testkit.ReadAll(t, first); got != content[10:] {
		t.Errorf("first client got %s", testkit.Brief(got))
	}
	server.runs()
}

// purr --send-file f HOST 8008
func TestSendFileClient(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(300_000)
	ln := listenTest(t)
	client := startPurr(t, opts{openStdin: true}, "--send-file", testkit.TempFile(t, content), "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	if got := testkit.ReadAll(t, c); got != content {
		t.Errorf("got %s", testkit.Brief(got))
	}
	writeAll(t, c, "received")
	_ = c.Close()
	client.ends(0)
	client.printed("received")
}

// purr -l -k --echo --upper 8080: an accept loop with a message loop, which
// survives a client that dies.
func TestUpperServer(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{}, "-l", "-k", "--echo", "--upper", "127.0.0.1", "0")
	first := dialTest(t, "tcp", server.addr())
	for _, line := range []string{"hello\n", "straße é\n", "x"} {
		writeAll(t, first, line)
		want := strings.NewReplacer("hello", "HELLO", "straße é", "STRAßE é", "x", "X").Replace(line)
		if got := testkit.ReadN(t, first, len(want)); got != want {
			t.Errorf("%q was answered %q", line, got)
		}
	}
	// Another client dies with unread bytes on both sides.
	dying := dialTest(t, "tcp", server.addr())
	writeAll(t, dying, strings.Repeat("bye", 1000))
	testkit.ReadN(t, dying, 1)
	testkit.Reset(t, dying)
	// The first still gets answers, and so does a new one.
	for _, c := range []net.Conn{first, dialTest(t, "tcp", server.addr())} {
		writeAll(t, c, "still there?")
		if got := testkit.ReadN(t, c, 12); got != "STILL THERE?" {
			t.Errorf("answered %q", got)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		if got := testkit.ReadAll(t, c); got != "" {
			t.Errorf("after the end: %q", got)
		}
	}
	server.runs()
	if strings.Contains(server.err.String(), "goroutine") {
		t.Errorf("stderr holds a stack: %s", server.err)
	}
	// The input is copied to stdout as it was received.
	server.waitOut("straße é")
	if strings.Contains(server.out.String(), "HELLO") {
		t.Error("the copy on stdout was changed")
	}
}

// purr -u -l -k --echo --upper 8082, and echo sb | purr -u 127.0.0.1 8082
func TestUpperServerUDP(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{}, "-u", "-l", "-k", "--echo", "--upper", "127.0.0.1", "0")
	server.addr()
	for range 2 {
		testkit.Fairly(t, 100*time.Millisecond, func(t testing.TB) { // it waits a second for the reply
			client := startPurr(t, opts{stdin: strings.NewReader("sb é\n")}, "-u", "127.0.0.1", server.port())
			client.ends(0)
			client.printed("SB é\n")
			client.quiet()
			if client.took < replyWait {
				t.Errorf("the client waited %v for more replies, want %v", client.took, replyWait)
			}
		})
	}
	// Senders take turns, and each gets its own reply.
	a, b := dialTest(t, "udp", server.addr()), dialTest(t, "udp", server.addr())
	for _, c := range []net.Conn{a, b, a} {
		writeAll(t, c, "from "+c.LocalAddr().String())
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if want := "FROM " + c.LocalAddr().String(); string(buf[:n]) != want {
			t.Errorf("got %q, want %q", buf[:n], want)
		}
	}
	server.runs()
}

// purr --upper HOST PORT and purr -l --upper PORT: what they send and what they
// print.
func TestUpperWithoutEcho(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	client := startPurr(t, opts{stdin: strings.NewReader("straße é a{z`\n")}, "--upper", "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	if got := testkit.ReadAll(t, c); got != "STRAßE é A{Z`\n" {
		t.Errorf("sent %q", got)
	}
	writeAll(t, c, "reply é\n")
	_ = c.Close()
	client.ends(0)
	client.printed("REPLY é\n")

	server := startPurr(t, opts{stdin: strings.NewReader("banner\n")}, "-l", "--upper", "127.0.0.1", "0")
	dialled := dialTest(t, "tcp", server.addr())
	writeAll(t, dialled, "abc")
	_ = dialled.(*net.TCPConn).CloseWrite()
	if got := testkit.ReadAll(t, dialled); got != "BANNER\n" {
		t.Errorf("sent %q", got)
	}
	server.ends(0)
	server.printed("ABC")
}

// purr -l -U path, purr -U path
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testkit.SocketDir(t), "s")
	server := startPurr(t, opts{stdin: strings.NewReader("answer\n")}, "-v", "-l", "-U", path)
	server.waitErr(listeningOn)
	client := startPurr(t, opts{stdin: strings.NewReader("question\n")}, "-U", path)
	client.ends(0)
	server.ends(0)
	client.printed("answer\n")
	server.printed("question\n")
	testkit.Absent(t, path)
}

// Each byte of 8 bits passes in both directions, over each of the transports.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for i := range 256 {
		all.WriteByte(byte(i))
	}
	path := filepath.Join(testkit.SocketDir(t), "s")
	for _, transport := range [][]string{{"127.0.0.1", "0"}, {"::1", "0"}, {"-U", path}} {
		server := startPurr(t, opts{stdin: strings.NewReader(all.String())}, append([]string{"-n", "-v", "-l"}, transport...)...)
		server.waitErr(listeningOn)
		to := transport
		if transport[0] != "-U" {
			to = []string{transport[0], server.port()}
		}
		client := startPurr(t, opts{stdin: strings.NewReader(all.String())}, to...)
		client.ends(0)
		server.ends(0)
		client.printed(all.String())
		server.printed(all.String())
	}
}

// A client that gets its reply late still gets it: the end of stdin is not the
// end.
func TestLateReply(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	client := startPurr(t, opts{stdin: strings.NewReader("q")}, "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	if got := testkit.ReadAll(t, c); got != "q" { // the end of stdin has arrived
		t.Errorf("got %q", got)
	}
	time.Sleep(300 * time.Millisecond) // longer than any half-hearted wait
	client.runs()
	writeAll(t, c, "late")
	_ = c.Close()
	client.ends(0)
	client.printed("late")
}

// purr alone prints eight lines of examples, and status 2.
func TestNoArguments(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{})
	p.ends(2)
	p.printed("")
	lines := strings.Split(strings.TrimSuffix(p.err.String(), "\n"), "\n")
	if len(lines) != 10 {
		t.Errorf("%d lines, want 10:\n%s", len(lines), p.err)
	}
	for _, line := range lines {
		if !strings.Contains(line, "purr ") || len(line) > 100 {
			t.Errorf("not an example: %q", line)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	overview, _, _ := strings.Cut(help, "\n# ")
	for _, args := range [][]string{{"-h"}, {"--help"}, {"-lh"}, {"-l", "--help", "80"}} {
		p := startPurr(t, opts{}, args...)
		p.ends(0)
		p.printed(overview)
		p.quiet()
	}
	p := startPurr(t, opts{}, "--version")
	p.ends(0)
	p.quiet()
	if got := p.out.String(); !strings.HasPrefix(got, "purr ") || strings.Count(got, "\n") != 1 {
		t.Errorf("--version printed %q", got)
	}
	if _, err := os.Stat("/dev/full"); err != nil {
		return
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	p = startPurr(t, opts{stdout: full}, "--help")
	p.ends(1)
	p.complains("stdout", "no space left on device")
}
