package main

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/fdio"
	"purr/internal/idle"
	"purr/internal/sys"
	"purr/internal/testkit"
)

// nc host port | head -1: the reader has its line and goes, stdin has ended,
// and the peer would keep the connection for another question. It is
// half-closed at once, whatever else forbids that, and the end of the peer is a
// success.
func TestReaderGoneEndsThePeer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		args []string
	}{{"nc", nil}, {"nc", []string{"-w", "60"}}, {"nc", []string{"-d"}}, {"purr", []string{"--no-shutdown"}}, {"purr", []string{"-q", "60"}}} {
		t.Run(test.name+" "+strings.Join(test.args, " "), func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			p := startAs(t, test.name, opts{stdin: strings.NewReader("PING\n"), ownStdout: true}, append(test.args, "127.0.0.1", portOf(t, ln.Addr()))...)
			c := acceptTest(t, ln)
			if len(test.args) == 0 || test.args[0] != "-d" {
				testkit.ReadN(t, c, 5)
			}
			writeAll(t, c, "PONG\n")
			testkit.ReadN(t, p.stdout, 5)
			_ = p.stdout.Close()
			if got := testkit.ReadAll(t, c); got != "" { // an end, not a reset
				t.Errorf("got %q", got)
			}
			_ = c.Close()
			p.ends(0)
			p.quiet()
		})
	}
	gone := func(t *testing.T, o opts) (*process, net.Conn) { // nc, whose reader of stdout goes after a line
		t.Helper()
		ln := listenTest(t)
		o.ownStdout = true
		p := startAs(t, "nc", o, "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		writeAll(t, c, "PONG\n")
		testkit.ReadN(t, p.stdout, 5)
		_ = p.stdout.Close()
		return p, c
	}
	t.Run("stdin ends later", func(t *testing.T) {
		t.Parallel()
		p, c := gone(t, opts{openStdin: true})
		_ = p.stdin.Close()
		testkit.ReadAll(t, c)
		_ = c.Close()
		p.ends(0)
		p.quiet()
	})
	// What comes after the reader has gone is lost, and no success.
	t.Run("more comes", func(t *testing.T) {
		t.Parallel()
		p, c := gone(t, opts{stdin: strings.NewReader("")})
		testkit.ReadAll(t, c)
		writeAll(t, c, "more")
		_ = c.Close()
		p.ends(1)
		p.waitErr(brokenStdout)
	})
	// Nor is the connection half-closed while there is something to send.
	t.Run("stdin goes on", func(t *testing.T) {
		t.Parallel()
		p, c := gone(t, opts{openStdin: true})
		if n, err := c.Read(make([]byte, 1)); n > 0 || !sys.IsReset(err) {
			t.Errorf("got %d bytes, %v, want a reset", n, err)
		}
		p.ends(1)
		p.waitErr(brokenStdout)
	})
}

// echo status | nc -i 1 host port: -i holds up what is sent, line by line, and
// nothing that comes.
func TestIntervalIsForLinesSent(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nc", "purr"} {
		ln := listenTest(t)
		p := startAs(t, name, opts{stdin: strings.NewReader("status\nquit\n")}, "-i", "3600", "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		if got := testkit.ReadN(t, c, 7); got != "status\n" {
			t.Errorf("%s: got %q", name, got)
		}
		writeAll(t, c, "1\n2\n3\n")
		p.waitOut("^1\n2\n3\n$")
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the next line did not wait: %d bytes, %v", name, n, err)
		}
		p.kill()
	}
}

// echo metric | nc -u -q0 host port, over and over: what was sent arrives, and
// no answer is waited for, which -w 60 would do. A listener goes on.
func TestDatagramsQuitAtOnce(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nc", "purr"} {
		server, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		_ = server.SetReadDeadline(time.Now().Add(testkit.Patience))
		p := startAs(t, name, opts{stdin: strings.NewReader("foo:1|c\n")}, "-u", "-q", "0", "-w", "3600", "127.0.0.1", portOf(t, server.LocalAddr()))
		b := make([]byte, 100)
		if n, _, err := server.ReadFrom(b); err != nil || string(b[:n]) != "foo:1|c\n" {
			t.Errorf("%s: got %q, %v", name, b[:n], err)
		}
		p.ends(0)
		p.quiet()
		p = startAs(t, name, opts{}, "-u", "-l", "-q", "0", "127.0.0.1", "0")
		writeAll(t, dialTest(t, "udp", p.addr()), "question")
		p.waitOut("^question$")
		p.runs()
		p.kill()
	}
	path := filepath.Join(testkit.SocketDir(t), "s")
	server, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	_ = server.SetReadDeadline(time.Now().Add(testkit.Patience))
	p := startAs(t, "nc", opts{stdin: strings.NewReader("dump\n")}, "-uU", "-q0", path)
	b := make([]byte, 100)
	if n, _, err := server.ReadFrom(b); err != nil || string(b[:n]) != "dump\n" {
		t.Errorf("unixgram: got %q, %v", b[:n], err)
	}
	p.ends(0)
}

// nc -vvvvzt host port -w 8: a check with options that are about data is a
// check under another netcat's name, and a usage error under purr's own.
func TestOptionsWithoutEffect(t *testing.T) {
	t.Parallel()
	port := portOf(t, listenTest(t).Addr())
	for name, options := range map[string][]string{"nc": {"-t", "-C", "-b", "-I4096", "-O4096", "-M64", "-m1", "-Tlowdelay", "-W1"}, "ncat": {"-t", "-C", "-i1"}} {
		for _, option := range options {
			p := startAs(t, name, opts{}, "-z", "-w", "8", option, "127.0.0.1", port)
			p.ends(0)
			p.quiet()
			if name == "nc" {
				p = startPurr(t, opts{}, "-z", option, "127.0.0.1", port)
				p.ends(2)
				p.complains("exclude each other")
			}
		}
	}
	p := startAs(t, "nc", opts{}, "-z", "--interactive", "127.0.0.1", port)
	p.ends(1)
	p.waitErr(regexp.MustCompile(`-z and --interactive.* exclude each other`))

	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	_ = server.SetReadDeadline(time.Now().Add(testkit.Patience))
	p = startAs(t, "nc", opts{openStdin: true}, "-u", "-t", "127.0.0.1", portOf(t, server.LocalAddr()))
	writeAll(t, p.stdin, "question")
	b := make([]byte, 100)
	_, from, err := server.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.WriteTo([]byte("\xff\xfd\x18answer"), from); err != nil {
		t.Fatal(err)
	}
	p.waitOut("answer$")
	if got := p.out.String(); got != "\xff\xfd\x18answer" {
		t.Errorf("got %q", got)
	}
	p.kill()
}

// ncat --listen --keep-open --send-only --max-conns=1 3307 -c CMD: each client
// gets what the command prints, and the command nothing of what the client
// sends: the input is at its end at once.
func TestCommandOnlySends(t *testing.T) {
	t.Parallel()
	p := startAs(t, "ncat", opts{}, "--listen", "--keep-open", "--send-only", "--max-conns=1", "127.0.0.1", "0", "-v", "-c", "cat; echo done")
	for range 2 {
		c := dialTest(t, "tcp", "127.0.0.1:"+p.waitErr(regexp.MustCompile(`Listening on 127.0.0.1:(\d+)`))[1])
		writeAll(t, c, "dropped")
		if got := testkit.ReadAll(t, c); got != "done\n" {
			t.Errorf("got %q", got)
		}
		_ = c.Close()
	}
	p.kill()
	ln := listenTest(t)
	p = startPurr(t, opts{}, "--send-only", "-c", "cat; echo done; exit 3", "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	writeAll(t, c, "dropped")
	if got := testkit.ReadAll(t, c); got != "done\n" {
		t.Errorf("got %q", got)
	}
	p.ends(3)
	for _, args := range [][]string{{"-u", "--send-only"}, {"-d"}, {"--recv-only"}} {
		p = startPurr(t, opts{}, append(args, "-c", "true", "127.0.0.1", "9")...)
		p.ends(2)
		p.complains("exclude each other", "--sh-exec 'CMD ")
	}
}

// timeout 1 nc host port <file: what nc has sent to the end is complete for a
// receiver that says nothing, although a signal ends nc. One that has answered
// is reset, for the rest of the answer is lost.
func TestSignalAfterAllIsSent(t *testing.T) {
	t.Parallel()
	end := func(answer string) error {
		ln := listenTest(t)
		p := startAs(t, "nc", opts{stdin: opened(t, testkit.TempFile(t, "metric 1\n"))}, "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		testkit.ReadN(t, c, 9)
		writeAll(t, c, answer)
		p.waitOut("^" + answer + "$")
		p.signal(syscall.SIGTERM)
		_, err := c.Read(make([]byte, 1))
		p.ends(143)
		p.quiet()
		return err
	}
	if err := end("ok\n"); !sys.IsReset(err) {
		t.Errorf("after an answer: %v, want a reset", err)
	}
	var err error
	for range 20 { // the signal may come before nc has found the end of the file
		if err = end(""); err == io.EOF {
			return
		}
	}
	t.Errorf("%v, want an end", err)
}

// A FIFO may get another reader: the answer is not over then, and is not cut
// short.
func TestReaderBackKeepsThePeer(t *testing.T) {
	t.Parallel()
	reader, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	c, peer := net.Pipe()
	defer c.Close()
	defer peer.Close()
	v := newSupervisor(&session{conversation: newConversation(&talker{}, ""), conn: c, out: fdio.New(stdout, nil)})
	v.linger = idle.New(testkit.Patience)
	defer v.linger.Stop()
	if v.hurryPeer(); v.running != 0 {
		t.Error("half-closed, although stdout has a reader")
	}
	_ = reader.Close()
	if v.hurryPeer(); v.running != 1 {
		t.Error("not half-closed, although stdout has no reader")
	}
	drain(v.results, v.running)
}

var brokenStdout = regexp.MustCompile(`^nc: write to stdout: Broken pipe\n`)
