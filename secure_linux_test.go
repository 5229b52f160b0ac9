package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/sock"
	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// Conversations over an encrypted connection: everything that a plain one does.

// A killed process has not finished: its peer fails, although the system closes
// the connection in order.
func TestPeerIsKilled(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		k := tlsconn.NewKey()
		l := startPurr(t, opts{env: keyed(k)}, "-l", "127.0.0.1", "0")
		d := startPurr(t, opts{env: keyed(k), openStdin: true}, "127.0.0.1", l.port())
		writeAll(t, d.stdin, "some of it")
		l.waitOut("some of it")
		d.signal(sig)
		l.ends(1)
		l.complains("receive from 127.0.0.1 port")
	}
}

// More than all buffers hold each way at the same time, and every byte arrives.
func TestSecureBulk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, parts ...string) (path string, sum [32]byte) {
		path = filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		for _, part := range parts {
			if _, err := io.WriteString(io.MultiWriter(f, h), part); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return path, [32]byte(h.Sum(nil))
	}
	block := testkit.Noise(32 << 20)
	one, oneSum := file("one", block, block[:8<<20+5], "end")
	two, twoSum := file("two", block[9:], block[1:8<<20], "other end")
	for _, pipes := range []bool{false, true} {
		k := tlsconn.NewKey()
		command, tail := "purr <%1 >%2", ""
		if pipes {
			command, tail = "cat %1 | purr", " | cat >%2"
		}
		line := func(args, in, out string) string {
			s := strings.Replace(command, "purr", "purr "+args, 1) + tail
			return "set -e; " + strings.NewReplacer("%1", in, "%2", out).Replace(s)
		}
		l := shell(t, opts{env: keyed(k), dir: dir}, line("-l 127.0.0.1 0", one, "two.came"))
		d := shell(t, opts{env: keyed(k), dir: dir}, line("127.0.0.1 "+l.port(), two, "one.came"))
		d.endsWithin(0, 2*testkit.Patience)
		l.endsWithin(0, 2*testkit.Patience)
		for name, want := range map[string][32]byte{"one.came": oneSum, "two.came": twoSum} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if sha256.Sum256(b) != want {
				t.Errorf("%s: %d bytes, and not those that were sent", name, len(b))
			}
		}
	}
}

// The end of one direction leaves the other open.
func TestSecureHalfClose(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	l := startPurr(t, opts{env: keyed(k), openStdin: true}, "-v", "-l", "127.0.0.1", "0")
	writeAll(t, l.stdin, testkit.Noise(1)) // a pipe that has carried something is read to its end
	d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader("question\n")}, "127.0.0.1", l.port())
	l.waitOut("question")
	d.waitOut("^.")
	writeAll(t, l.stdin, testkit.Noise(200_000)[1:])
	_ = l.stdin.Close()
	d.ends(0)
	d.printed(testkit.Noise(200_000))
	l.ends(0)
	l.waitErr(regexp.MustCompile(`both ends finished; sent 200000 bytes, received 9 bytes`))
}

// Every way to use a connection works with a key as it does without.
func TestSecureModes(t *testing.T) {
	t.Parallel()
	payload := testkit.Noise(500_000)
	file := testkit.TempFile(t, payload)
	for _, test := range []struct {
		name, listener, dialer string
		in                     string // the dialer's stdin
		listens, dials         string // their stdout
	}{
		{"echo", "-lk --echo", "", payload, payload, payload},
		{"echo upper", "-lk --echo --upper", "", "hello", "hello", "HELLO"},
		{"echo once", "-l --echo", "", payload, payload, payload},
		{"echo dials", "-l", "--echo -w 2", "", "", ""},
		{"upper", "-l --upper", "", "hello", "HELLO", ""},
		{"send file", "-l --send-file " + file, "", "x", "x", payload},
		{"send file, many", "-lk --send-file " + file, "", "x", "x", payload},
		{"dialer sends file", "-l", "--send-file " + file, "", payload, ""},
		{"recv only", "-l -d", "", payload, payload, ""},
		{"send only", "-l", "--send-only", payload, payload, ""},
		{"listener sends only", "-l --send-only", "", "", "", ""},
		{"crlf", "-l", "-C", "a\nb\n", "a\r\nb\r\n", ""},
		{"telnet", "-l", "-t", "a", "a", ""},
		{"lines apart", "-l", "-i 0.01", "a\nb\n", "a\nb\n", ""},
		{"quit word", "-l", "--quit-word q", "a\nq\nb\n", "a\n", ""},
		{"reads", "-l -W 1", "", "hello", "hello", ""},
		{"no shutdown", "-l -w 2", "--no-shutdown -w 2", "hello", "hello", ""},
		{"quit after", "-l -w 20", "-q 1", "hello", "hello", ""},
		{"nothing at all", "-l", "", "", "", ""},
		{"options of the socket", "-l --keepalive 5 -I 64k", "-O 64k --keepalive 0", payload, payload, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, unix := range []bool{false, true} {
				if unix && (strings.Contains(test.name, "socket")) {
					continue
				}
				k := tlsconn.NewKey()
				args := words(test.listener)
				if unix {
					args = append(args, "-v", "-U", testkit.SocketDir(t)+"/s")
				} else {
					args = append(args, "127.0.0.1", "0")
				}
				l := startPurr(t, opts{env: keyed(k)}, args...)
				to := args[len(args)-2:]
				if unix {
					l.waitErr(listeningOn)
				} else {
					to[1] = l.port()
				}
				d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader(test.in)}, append(words(test.dialer), to...)...)
				d.ends(0)
				d.printed(test.dials)
				if !strings.Contains(test.dialer, "--send-file") { // which has a last line
					d.quiet()
				}
				if strings.Contains(test.listener, "-lk") {
					testkit.Eventually(t, "all is printed", func() bool { return l.out.Len() >= len(test.listens) })
					if got := l.out.String(); got != test.listens {
						t.Errorf("printed %s, want %s", testkit.Brief(got), testkit.Brief(test.listens))
					}
					l.runs()
					continue
				}
				l.ends(0)
				l.printed(test.listens)
				if !unix && !strings.Contains(test.listener, "--send-file") {
					l.quiet()
				}
			}
		})
	}
}

// --send-file over an encrypted connection waits for the acknowledgement, and
// counts the file's bytes, not TLS's.
func TestSecureSendFileIsAcknowledged(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	l := startPurr(t, opts{env: keyed(k)}, "-l", "127.0.0.1", "0")
	d := startPurr(t, opts{env: keyed(k)}, "--send-file", testkit.TempFile(t, testkit.Noise(300_000)), "127.0.0.1", l.port())
	d.ends(0)
	d.complains("sent 300000 bytes", "sent 300000 bytes; the other end has taken all of them")
	l.ends(0)
	l.printed(testkit.Noise(300_000))
}

// -k: each client's bytes go to stdout, stdin goes to all, and a client
// without the key sees none of it.
func TestSecureKeep(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	l := startPurr(t, opts{env: keyed(k), openStdin: true}, "-lk", "-v", "127.0.0.1", "0")
	var clients []*process
	for _, name := range []string{"one", "two", "three"} {
		c := startPurr(t, opts{env: keyed(k), openStdin: true}, "127.0.0.1", l.port())
		writeAll(t, c.stdin, name+"\n")
		l.waitOut("(?m)^" + name + "$")
		clients = append(clients, c)
	}
	stranger := startPurr(t, opts{env: keyed(tlsconn.NewKey())}, "127.0.0.1", l.port())
	stranger.ends(7)
	writeAll(t, l.stdin, "to all\n")
	for _, c := range clients {
		c.waitOut("to all")
		_ = c.stdin.Close()
	}
	_ = l.stdin.Close()
	for _, c := range clients {
		c.ends(0)
		c.printed("to all\n")
	}
	stranger.printed("")
}

// --interactive, with the key typed at the prompt, unseen, and once wrong.
func TestSecureInteractive(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	l := startPurr(t, opts{env: keyed(k), openStdin: true}, "-l", "127.0.0.1", "0")
	s := newScreen(t)
	before := s.modes()
	s.enter("clear; purr --interactive --key-file - 127.0.0.1 " + l.port() + "; echo STATUS $?")
	s.shows(`(?m)^purr: key: *$`)
	s.enter(k.String()[:20])
	s.shows(`(?s)purr: (mistyped: 20 characters|this is no key).*purr: key: *\n`)
	s.enter(strings.ToLower(k.String()))
	writeAll(t, l.stdin, "welcome\n")
	s.shows(`(?m)^welcome$`)
	if text := s.text(); strings.Contains(strings.ToUpper(text), k.String()[:6]) {
		t.Errorf("the screen shows the key:\n%s", text)
	}
	s.enter("hello")
	l.waitOut("^hello\n$")
	_ = l.stdin.Close()
	s.status(0)
	l.ends(0)
	if after := s.modes(); after != before {
		t.Errorf("the terminal was left as %s, was %s", after, before)
	}
}

// Ctrl-C at the prompt gives the terminal back.
func TestKeyPromptInterrupted(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	before := s.modes()
	s.enter("clear; purr --key-file - 127.0.0.1 9; echo STATUS $?")
	s.shows(`(?m)^purr: key: *$`)
	s.press("C-c")
	s.status(130)
	if after := s.modes(); after != before {
		t.Errorf("the terminal was left as %s, was %s", after, before)
	}
}

// securePair is the two ends of an encrypted connection: ours, as purr uses
// it, and the other, bare.
func securePair(t testing.TB, p *run, ctx context.Context) (ours, theirs *tlsconn.BytesConn, socket *net.TCPConn) {
	t.Helper()
	a, b := testkit.TcpPair(t)
	result := make(chan error, 1)
	var c net.Conn
	go func() {
		var err error
		c, err = p.encryption.secure(ctx, a)
		result <- err
	}()
	s, err := sealStream(t, b, true, p.cfg.key.secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := ends(t, result); err != nil {
		t.Fatal(err)
	}
	return c.(*tlsconn.BytesConn), s, b
}

func keyedRun(t testing.TB, stdin, stdout *os.File, args ...string) (*run, context.Context) {
	t.Helper()
	k := tlsconn.NewKey()
	file := testkit.SecretFile(t, k.String())
	return testRun(t, stdin, stdout, append([]string{"--key-file", file}, args...)...)
}

// The session's goroutines end with it, as without a key, in each case.
func TestSecureSessionLeavesNothing(t *testing.T) {
	testkit.NoLeaks(t)
	for _, args := range []string{"h 80", "--upper h 80", "-w 5 h 80", "--send-only h 80", "--send-file go.mod h 80", "--quit-word q h 80", "--echo h 80", "-t -C h 80"} {
		for _, how := range []string{"in order", "stopped", "reset", "cut"} {
			t.Run(args+" "+how, func(t *testing.T) {
				t.Parallel()
				in, feed := testkit.StdioPipe(t)
				drain, out := testkit.StdioPipe(t)
				p, ctx := keyedRun(t, in, out, words(args)...)
				ours, theirs, socket := securePair(t, p, ctx)
				result := converses(p, ctx, ours)
				go func() { _, _ = io.Copy(io.Discard, drain) }()
				testkit.WriteString(t, feed, "hello\n")
				testkit.WriteString(t, theirs, "hello\n")
				switch how {
				case "in order":
					_ = feed.Close()
					_ = theirs.CloseWrite()
					n, _ := io.Copy(io.Discard, theirs)
					_ = theirs.Taken(n)
				case "stopped":
					testkit.ReadN(t, theirs, 1)
					p.stop(errors.New("stopped by the test"))
				case "reset":
					testkit.ReadN(t, theirs, 1)
					testkit.Reset(t, socket)
				case "cut":
					testkit.ReadN(t, theirs, 1)
					_ = socket.Close()
				}
				err := ends(t, result)
				if (err == nil) != (how == "in order") && !strings.Contains(args, "send-only") && !strings.Contains(args, "send-file") {
					t.Errorf("ended with %v", err)
				}
				_ = feed.Close()
				_ = out.Close()
				p.stop(nil)
			})
		}
	}
}

// A stdout that cannot be written to is an error at both ends.
func TestSecureFullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		testkit.NotHere(t, err.Error())
	}
	defer full.Close()
	k := tlsconn.NewKey()
	l := startPurr(t, opts{env: keyed(k), stdout: full}, "-l", "127.0.0.1", "0")
	d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader(testkit.Noise(20_000_000))}, "127.0.0.1", l.port())
	l.ends(1)
	l.complains("write to stdout", "no space left")
	d.ends(1)
}

// An idle conversation ends in order, also encrypted; one with bytes that the
// peer does not take does not.
func TestSecureIdle(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	t.Run("nothing under way", func(t *testing.T) {
		t.Parallel()
		l := startPurr(t, opts{env: keyed(k), openStdin: true}, "-l", "-w", "2", "127.0.0.1", "0")
		d := startPurr(t, opts{env: keyed(k), openStdin: true}, "127.0.0.1", l.port())
		writeAll(t, d.stdin, "hello")
		l.ends(0)
		l.printed("hello")
		_ = d.stdin.Close()
		d.ends(0)
	})
	t.Run("bytes not taken", func(t *testing.T) {
		t.Parallel()
		l := startPurr(t, opts{env: keyed(k), ownStdout: true}, "-l", "127.0.0.1", "0")
		d := startPurr(t, opts{env: keyed(k), stdin: strings.NewReader(testkit.Noise(20_000_000))}, "-w", "2", "127.0.0.1", l.port())
		d.ends(1)
		d.complains("send to 127.0.0.1 port", "idle for 2s")
	})
}

// An encrypted connection is never spliced: the socket's bytes are not the
// payload.
func TestSecureIsNotSpliced(t *testing.T) {
	p, ctx := keyedRun(t, nil, nil, "h", "80")
	ours, _, _ := securePair(t, p, ctx)
	in, _ := testkit.StdioPipe(t)
	_, out := testkit.StdioPipe(t)
	a, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var kinds []string
	copier.TestHook = func(kind string) { kinds = append(kinds, kind) }
	defer func() { copier.TestHook = nil }()
	copier.New(ours, fdio.New(in, a))
	copier.New(fdio.New(out, a), ours)
	copier.New(io.Discard, ours)
	if fmt.Sprint(kinds) != "[buffer buffer buffer]" {
		t.Errorf("an encrypted connection is copied by %v", kinds)
	}
	if n, err := sock.Unacked(ours); n != 0 || err != nil {
		t.Errorf("unacknowledged: %d, %v", n, err)
	}
	if socket := ours.Conn.Conn; sock.Under(ours) != socket || sock.Under(socket) != socket {
		t.Error("socketOf is not the socket")
	}
}
