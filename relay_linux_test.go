package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
	"purr/internal/testkit"
)

// The ends of a connection that others wait for: programs that relay a socket
// through purr, and a purr whose peer has gone for good.

// socketpair returns the two ends of a stream, as descriptors for a child and a
// connection.
func socketpair(t testing.TB) (theirs *os.File, ours *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs = os.NewFile(uintptr(fds[0]), "theirs")
	f := os.NewFile(uintptr(fds[1]), "ours")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close(); _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return theirs, c.(*net.UnixConn)
}

// relayed checks one session through a relay, from the client's end to the
// backend's, which it returns: the backend's end arrives, and the client's goes
// on meanwhile.
func relayed(t testing.TB, client streamConn, backend *net.TCPListener) (b *net.TCPConn) {
	t.Helper()
	writeAll(t, client, "question")
	b = acceptTest(t, backend)
	testkit.ReadN(t, b, 8)
	writeAll(t, b, "answer")
	_ = b.CloseWrite()
	if got := testkit.ReadAll(t, client); got != "answer" {
		t.Errorf("got %q", got)
	}
	writeAll(t, client, "more")
	if got := testkit.ReadN(t, b, 4); got != "more" {
		t.Errorf("the backend got %q", got)
	}
	return b
}

// A stdout that is a socket is shut down when the peer has finished, also while
// other processes hold it.
func TestRelayPassesTheEndOn(t *testing.T) {
	t.Parallel()
	t.Run("a socket held by others", func(t *testing.T) {
		t.Parallel()
		backend := listenTest(t)
		theirs, client := socketpair(t)
		p := startPurr(t, opts{stdin: theirs, stdout: theirs}, "127.0.0.1", portOf(t, backend.Addr()))
		b := relayed(t, client, backend)
		_ = client.CloseWrite()
		testkit.ReadAll(t, b)
		p.ends(0)
		p.quiet()
	})
	t.Run("but not under -k", func(t *testing.T) {
		t.Parallel()
		theirs, reader := socketpair(t)
		p := startPurr(t, opts{stdout: theirs}, "-l", "-k", "127.0.0.1", "0")
		for _, what := range []string{"one", "two"} {
			c := dialTest(t, "tcp", p.addr())
			writeAll(t, c, what)
			_ = c.(*net.TCPConn).CloseWrite()
			testkit.ReadAll(t, c)
			if got := testkit.ReadN(t, reader, 3); got != what {
				t.Errorf("got %q", got)
			}
		}
	})
	t.Run("socat", func(t *testing.T) {
		t.Parallel()
		socat := testkit.Program(t, "socat", "socat")
		backend, port := listenTest(t), freePort(t, "tcp")
		start(t, opts{}, socat, "-t", "20", "TCP-LISTEN:"+port+",bind=127.0.0.1", "EXEC:"+purrPath(t)+" 127.0.0.1 "+portOf(t, backend.Addr()))
		relayed(t, dialUntil(t, port), backend) // it sends purr SIGTERM once both have ended
	})
	t.Run("inetd", func(t *testing.T) {
		t.Parallel()
		rootOnly(t)
		inetd := testkit.Program(t, "inetd", "openbsd-inetd")
		backend, port := listenTest(t), freePort(t, "tcp")
		config := testkit.TempFile(t, "127.0.0.1:"+port+" stream tcp nowait root "+purrPath(t)+" purr 127.0.0.1 "+portOf(t, backend.Addr())+"\n")
		// Its pid file has a fixed place.
		start(t, opts{}, "/usr/bin/unshare", "-m", "sh", "-c", `mount -t tmpfs none /run && exec "$@"`, "sh", inetd, "-i", config)
		relayed(t, dialUntil(t, port), backend)
	})
}

// dialUntil dials until the server is there.
func dialUntil(t testing.TB, port string) *net.TCPConn {
	t.Helper()
	var c net.Conn
	testkit.Eventually(t, "the server listens", func() (up bool) {
		var err error
		c, err = net.Dial("tcp", "127.0.0.1:"+port)
		return err == nil
	})
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return c.(*net.TCPConn)
}

// A peer that is gone altogether is noticed while stdin is open and silent:
// without a loss on a Unix socket, unless bytes were not read.
func TestPeerIsGone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, args string // PATH is a Unix socket's
		unread     bool   // whether the peer does not read what comes
		status     int
	}{
		{"Unix", "-U PATH", false, 0},
		{"Unix, a listener", "-v -l -U PATH", false, 0},
		{"Unix, a listener for many", "-v -l -k -U PATH", false, 0},
		{"Unix, through a filter", "--upper -U PATH", false, 0},
		{"Unix, unread", "-U PATH", true, 1},
		{"TCP", "127.0.0.1 PORT", false, 1},
		{"TCP, a listener", "-l 127.0.0.1 0", false, 1},
		{"TCP, unread", "127.0.0.1 PORT", true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, c := openStream(t, test.args)
			writeAll(t, p.stdin, "1")
			testkit.ReadN(t, c, 1)
			writeAll(t, c, "hello")
			_ = c.CloseWrite()
			if p.waitOut("(?i)hello"); !strings.Contains(test.args, "-k") {
				p.out.Wait(regexp.MustCompile("^until it is closed$"))
			}
			p.runs() // stdin has carried something
			if test.unread {
				writeAll(t, p.stdin, "2")
				testkit.Eventually(t, "it has arrived", func() bool { return sys.Arrived(c) })
			}
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = c.Close()
			if strings.Contains(test.args, "-k") {
				p.waitErr(regexp.MustCompile(`the peer finished`))
				p.runs()
				return
			}
			p.ends(test.status)
			if test.status == 0 {
				return
			}
			p.complains("connection reset by peer")
		})
	}
	// What is on stdin and cannot be delivered is a loss.
	t.Run("Unix, unsent", func(t *testing.T) {
		t.Parallel()
		p, c := openStream(t, "-U PATH")
		writeAll(t, p.stdin, "1")
		testkit.ReadN(t, c, 1)
		_ = c.CloseWrite()
		p.stop()
		writeAll(t, p.stdin, "2")
		_ = c.Close()
		p.signal(unix.SIGCONT)
		p.ends(1)
		p.complains("purr: ") // in words that depend on when it was stopped
	})
}

// openStream starts purr with an open stdin, and returns the other end of its
// connection.
func openStream(t testing.TB, args string) (*process, streamConn) {
	t.Helper()
	path := filepath.Join(testkit.SocketDir(t), "s")
	args = strings.ReplaceAll(args, "PATH", path)
	network, address := "tcp", ""
	if strings.Contains(args, "-U") {
		network, address = "unix", path
	}
	if strings.Contains(args, "-l") {
		p := startPurr(t, opts{openStdin: true}, words(args)...)
		if p.waitErr(listeningOn); network == "tcp" {
			address = p.addr()
		}
		return p, dialTest(t, network, address).(streamConn)
	}
	if network == "tcp" {
		ln := listenTest(t)
		return startPurr(t, opts{openStdin: true}, words(strings.ReplaceAll(args, "PORT", portOf(t, ln.Addr())))...), acceptTest(t, ln)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := startPurr(t, opts{openStdin: true}, words(args)...)
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return p, c.(streamConn)
}
