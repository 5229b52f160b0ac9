package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// When the end of stdin becomes a half-close; the rule's own table is that of
// internal/halfclose.

// toldSoFar is the line about an answer that may be cut off.
const toldSoFar = "told that nothing more comes; the rest of its answer may be missing (--no-shutdown waits)"

// endOf returns the time until the end of c, and what came before.
func endOf(t testing.TB, c net.Conn) (string, time.Duration) {
	t.Helper()
	begun := time.Now()
	got := testkit.ReadAll(t, c)
	return got, time.Since(begun)
}

// asks runs a conversation in this process with a question on stdin, and
// returns the peer's end of it once the question is there and stdin has ended.
func asks(t testing.TB, question string, args ...string) (peer *net.TCPConn, result <-chan error) {
	t.Helper()
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	p, ctx := testRun(t, in, nil, args...)
	ours, theirs := testkit.TcpPair(t)
	result = converses(p, ctx, ours)
	testkit.WriteString(t, feed, question)
	if got := testkit.ReadN(t, theirs, len(question)); got != question {
		t.Fatalf("got %s", testkit.Brief(got))
	}
	_ = feed.Close()
	return theirs, result
}

// What is no question, or for which no answer is wanted, is over at once; a
// question without an answer soon.
func TestEndOfStdin(t *testing.T) {
	t.Parallel()
	const get = "GET / HTTP/1.0\r\n\r\n"
	for _, test := range []struct{ name, args, stdin string }{
		{"much", "h 80", testkit.Noise(64<<10 + 1)},
		{"-N", "-N h 80", "hello"},
		{"-N of a listener", "-N -l 80", "hello"},
		{"-N of a listener for many", "-N -l -k 80", "hello"},
		{"-N, a request", "-N h 80", get},
		{"-N, nothing", "-N h 80", ""},
		{"-N of a listener, nothing", "-N -l 80", ""},
		{"-N of a listener for many, nothing", "-N -l -k 80", ""},
		{"-q 0", "-q 0 h 80", "hello"},
		{"an answer by hand", "-l 80", "HTTP/1.1 200 OK\r\n\r\nhello"},
		{"an answer by hand to many", "-l -k 80", "HTTP/1.1 200 OK\r\n\r\nhello"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			testkit.Fairly(t, 10*time.Millisecond, func(t testing.TB) {
				peer, result := asks(t, test.stdin, words(test.args)...)
				if rest, took := endOf(t, peer); rest != "" || took > 90*time.Millisecond {
					t.Errorf("the end came after %v and %q", took, rest)
				}
				_ = peer.Close()
				if err := ends(t, result); err != nil {
					t.Error(err)
				}
			})
		})
	}
	t.Run("a metric", func(t *testing.T) {
		t.Parallel()
		testkit.Fairly(t, 50*time.Millisecond, func(t testing.TB) {
			peer, result := asks(t, "metric 1\n", "h", "80")
			if rest, took := endOf(t, peer); rest != "" || took < 80*time.Millisecond || took > 200*time.Millisecond {
				t.Errorf("the end came after %v and %q", took, rest)
			}
			_ = peer.Close()
			if err := ends(t, result); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("an answer in parts", func(t *testing.T) {
		t.Parallel()
		testkit.Fairly(t, 50*time.Millisecond, func(t testing.TB) {
			peer, result := asks(t, "hello", "h", "80")
			silent(t, peer, 50*time.Millisecond)
			for range 3 {
				writeAll(t, peer, "part")
				silent(t, peer, 180*time.Millisecond)
			}
			if rest, took := endOf(t, peer); rest != "" || took > 300*time.Millisecond {
				t.Errorf("the end came after %v and %q", took, rest)
			}
			_ = peer.Close()
			if err := ends(t, result); err != nil {
				t.Error(err)
			}
		})
	})
	for _, args := range []string{"--no-shutdown h 80", "-q 9 h 80", "-q -1 -l 80", "--no-shutdown -l -k 80"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			peer, result := asks(t, "hello", words(args)...)
			silent(t, peer, 300*time.Millisecond) // no end either
			_ = peer.Close()
			if err := ends(t, result); err != nil {
				t.Error(err)
			}
		})
	}
	// The request came to a server that is slow, over every kind of stream.
	for _, args := range []string{"h 80", "-l 80", "-l -k 80", "--upper h 80", "-C h 80", "--rate 1M h 80", "-i 0.01 h 80"} {
		t.Run("a slow answer: "+args, func(t *testing.T) {
			t.Parallel()
			peer, result := asks(t, get, words(args)...)
			silent(t, peer, 600*time.Millisecond)
			writeAll(t, peer, "an answer")
			silent(t, peer, 600*time.Millisecond)
			_ = peer.Close()
			if err := ends(t, result); err != nil {
				t.Error(err)
			}
		})
	}
}

// The first bytes of stdin are looked at, and the rest is still copied inside
// the kernel; a request may come in pieces.
func TestRequestInPieces(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	p := startPurr(t, opts{openStdin: true}, "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	for _, piece := range []string{"G", "ET / HT", "TP/1.1\r\nHost:", " h\r\n\r\n"} {
		writeAll(t, p.stdin, piece)
		if got := testkit.ReadN(t, c, len(piece)); got != piece {
			t.Errorf("got %q", got)
		}
	}
	_ = p.stdin.Close()
	silent(t, c, 300*time.Millisecond)
	writeAll(t, c, "the answer")
	_ = c.Close()
	p.ends(0)
	p.printed("the answer")
	p.quiet()
}

// noInputs are the forms of a stdin without input: a script that gives them to
// the command $2.... $1 is a directory.
var noInputs = []struct {
	name, script string
	root         bool
}{
	{"/dev/null", `shift; exec "$@" </dev/null`, false},
	{"another node", `mknod "$1/n" c 1 3 || exit 99; exec <"$1/n"; shift; exec "$@"`, true},
	{"closed", `shift; exec "$@" <&-`, false},
	{"opened to write", `shift; exec "$@" 0>/dev/null`, false},
	{"a file opened to write", `exec 0>"$1/w"; shift; exec "$@"`, false},
	{"an ended pipe", `shift; : | "$@"`, false},
	{"an empty file", `: >"$1/e"; exec <"$1/e"; shift; exec "$@"`, false},
	{"an ended FIFO", `mkfifo "$1/f"; : >"$1/f" & exec <"$1/f"; shift; exec "$@"`, false},
}

// withoutInput starts purr with a form of no input.
func withoutInput(t testing.TB, form int, args ...string) *process {
	t.Helper()
	if noInputs[form].root && os.Getuid() != 0 {
		testkit.NotHere(t, "root, for mknod")
	}
	return shell(t, opts{}, noInputs[form].script, append([]string{t.TempDir(), "purr"}, args...)...)
}

// A listener without input half-closes only after the sender did: a stock one
// stops at a half-close.
func TestListenerWithoutInput(t *testing.T) {
	t.Parallel()
	for form, how := range noInputs {
		for _, args := range []string{"-l 127.0.0.1 0", "-l -k 127.0.0.1 0", "-l -q 1 127.0.0.1 0"} {
			t.Run(how.name+" "+args, func(t *testing.T) {
				t.Parallel()
				p := withoutInput(t, form, words(args)...)
				addr := p.addr()
				for range 2 {
					c := dialTest(t, "tcp", addr)
					writeAll(t, c, "one ")
					silent(t, c, 400*time.Millisecond)
					writeAll(t, c, "two")
					_ = c.(*net.TCPConn).CloseWrite()
					testkit.ReadAll(t, c)
					if !strings.Contains(args, "-k") {
						p.ends(0)
						p.printed("one two")
						return
					}
				}
				p.waitOut("^one twoone two$")
			})
		}
	}
	t.Run("-q 1 outlasts it", func(t *testing.T) {
		t.Parallel()
		p := withoutInput(t, 5, "-l", "-q", "1", "127.0.0.1", "0")
		c := dialTest(t, "tcp", p.addr())
		silent(t, c, 1300*time.Millisecond)
		writeAll(t, c, "late")
		_ = c.Close()
		p.ends(0)
		p.printed("late")
	})
}

// The stock sender that stops at a half-close sends all of it.
func TestStockSenderToNoInput(t *testing.T) {
	t.Parallel()
	nc := testkit.Program(t, "nc.traditional", "netcat-traditional")
	content := testkit.Noise(eight)
	path := testkit.TempFile(t, content)
	p := withoutInput(t, 5, "-l", "127.0.0.1", "0")
	sender := start(t, opts{stdin: opened(t, path)}, nc, append([]string{"-q1"}, strings.Split(p.addr(), ":")...)...)
	sender.ends(0)
	p.ends(0)
	p.printed(content)
}

// A dialer without input does not make the sender stop either.
func TestDialerWithoutInput(t *testing.T) {
	t.Parallel()
	for form, how := range noInputs {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			p := withoutInput(t, form, "127.0.0.1", portOf(t, ln.Addr()))
			c := acceptTest(t, ln)
			writeAll(t, c, "one ")
			silent(t, c, 500*time.Millisecond)
			writeAll(t, c, "two")
			_ = c.CloseWrite()
			testkit.ReadAll(t, c)
			p.ends(0)
			p.printed("one two")
			p.quiet()
		})
	}
	t.Run("nc.openbsd", func(t *testing.T) {
		t.Parallel()
		nc := testkit.Program(t, "nc.openbsd", "netcat-openbsd")
		content := testkit.Noise(eight)
		port := freePort(t, "tcp")
		sender := start(t, opts{stdin: opened(t, testkit.TempFile(t, content))}, nc, "-N", "-l", "127.0.0.1", port)
		p := withoutInput(t, 0, "--wait-for", "20", "127.0.0.1", port)
		p.ends(0)
		p.printed(content)
		sender.ends(0)
	})
}

// Two ends without input do not wait for each other for ever.
func TestTwoEndsWithoutInput(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			listen, dial := []string{"-l", "127.0.0.1", "0"}, []string(nil)
			if network == "unix" {
				path := filepath.Join(testkit.SocketDir(t), "s")
				listen, dial = []string{"-v", "-l", "-U", path}, []string{"-U", path}
			}
			server := startPurr(t, opts{}, listen...)
			if server.waitErr(listeningOn); dial == nil {
				dial = strings.Split(server.addr(), ":")
			}
			client := startPurr(t, opts{}, dial...)
			client.ends(0)
			server.ends(0)
			client.complains("silent for 5 s", toldSoFar)
			if strings.Contains(server.err.String(), toldSoFar) {
				t.Errorf("the listener said %q", server.err.String())
			}
			if client.took < 5*time.Second {
				t.Errorf("took %v", client.took)
			}
		})
	}
}

// A silence that ends the wait for an HTTP answer is a line, and an answer that
// ends in order is not.
func TestSilenceIsTold(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	p := startPurr(t, opts{stdin: strings.NewReader("GET / HTTP/1.1\r\nHost: h\r\n\r\n")}, "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	_, _ = io.ReadFull(c, make([]byte, 27))
	writeAll(t, c, "the answer")
	silent(t, c, 4500*time.Millisecond)
	testkit.ReadAll(t, c) // keep-alive: the server waits for more
	p.waitErr(regexp.MustCompile(`silent for 5 s, ` + regexp.QuoteMeta(toldSoFar)))
	writeAll(t, c, ", and its rest")
	_ = c.Close()
	p.ends(0)
	p.printed("the answer, and its rest")
}

// What a stdout that takes nothing holds back is no silence.
func TestStalledStdoutIsNoSilence(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(32 << 20) // a pipe takes 8 MiB of a socket's buffers
	ln := listenTest(t)
	p := startPurr(t, opts{openStdin: true, ownStdout: true}, "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	writeAll(t, p.stdin, "hello")
	testkit.ReadN(t, c, 5)
	sent := 0
	for quiet := 0; quiet < 2; { // until nothing moves any more, and not for want of a processor
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, _ := c.Write([]byte(content[sent:]))
		if sent += n; n > 0 {
			quiet = 0
		} else if sent > 0 {
			quiet++
		}
	}
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	_ = p.stdin.Close()
	silent(t, c, 800*time.Millisecond) // no end either
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, content[sent:])
		wrote <- err
	}()
	got := testkit.ReadN(t, p.stdout, len(content))
	if err := <-wrote; err != nil || got != content {
		t.Errorf("%d bytes (%v), or others", len(got), err)
	}
	testkit.ReadAll(t, c)
	_ = c.Close()
	p.ends(0)
}

// nohup(1) gives a program at a terminal a stdin that was opened for writing.
func TestNohup(t *testing.T) {
	t.Parallel()
	nohup := testkit.Program(t, "nohup", "coreutils")
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for _, udp := range []bool{false, true} {
		var p *process
		if udp {
			c := listenUDPTest(t)
			p = start(t, opts{stdin: terminal}, nohup, purrPath(t), "-u", "-w", "1", "127.0.0.1", portOf(t, c.LocalAddr()))
		} else {
			ln := listenTest(t)
			p = start(t, opts{stdin: terminal}, nohup, purrPath(t), "127.0.0.1", portOf(t, ln.Addr()))
			c := acceptTest(t, ln)
			writeAll(t, c, "hello")
			_ = c.Close()
		}
		p.ends(0)
		if strings.Contains(p.err.String(), "descriptor") {
			t.Errorf("said %q", p.err.String())
		}
		if !udp {
			p.printed("hello")
		}
	}
}

// With a key the end is passed on at once: the other end is a purr.
func TestEndOfStdinWithKey(t *testing.T) {
	t.Parallel()
	testkit.Fairly(t, 10*time.Millisecond, func(t testing.TB) {
		const get = "GET / HTTP/1.0\r\n\r\n"
		in, feed := testkit.StdioPipe(t)
		p, ctx := keyedRun(t, in, nil, "h", "80")
		ours, theirs, _ := securePair(t, p, ctx)
		result := converses(p, ctx, ours)
		writeAll(t, feed, get)
		testkit.ReadN(t, theirs, len(get))
		_ = feed.Close()
		if rest, took := endOf(t, theirs); rest != "" || took > 90*time.Millisecond {
			t.Errorf("the end came after %v and %q", took, rest)
		}
		if err := theirs.Taken(int64(len(get))); err != nil {
			t.Error(err)
		}
		_ = theirs.Close()
		if err := ends(t, result); err != nil {
			t.Error(err)
		}
	})
}
