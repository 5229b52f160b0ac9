//go:build unix

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
	"purr/internal/testkit"
)

// How conversations end, with whole programs: every byte arrives, or there is a
// message and status 1.

const (
	eight = 8 << 20 // more than all buffers between two processes hold
	quick = 300_000
)

// A peer that half-closes before it reads gets everything all the same: every
// nc loses most of it.
func TestFileToHalfClosedPeer(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight)
	path := testkit.TempFile(t, content)

	t.Run("listen", func(t *testing.T) {
		t.Parallel()
		server := startPurr(t, opts{stdin: opened(t, path)}, "-l", "127.0.0.1", "0")
		c := dialTest(t, "tcp", server.addr())
		_ = c.(*net.TCPConn).CloseWrite()
		awaitHalfClose(t, c)
		if got := testkit.ReadAll(t, c); got != content {
			t.Errorf("%d of %d bytes arrived, or others", len(got), len(content))
		}
		server.ends(0)
		server.quiet()
	})
	t.Run("dial", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		client := startPurr(t, opts{stdin: opened(t, path)}, "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		_ = c.CloseWrite()
		if got := testkit.ReadAll(t, c); got != content {
			t.Errorf("%d of %d bytes arrived, or others", len(got), len(content))
		}
		client.ends(0)
		client.quiet()
	})
	t.Run("unix", func(t *testing.T) {
		t.Parallel()
		socket := filepath.Join(testkit.SocketDir(t), "s")
		server := startPurr(t, opts{stdin: opened(t, path)}, "-v", "-l", "-U", socket)
		server.waitErr(listeningOn)
		c := dialTest(t, "unix", socket)
		_ = c.(*net.UnixConn).CloseWrite()
		if got := testkit.ReadAll(t, c); got != content {
			t.Errorf("%d of %d bytes arrived, or others", len(got), len(content))
		}
		server.ends(0)
	})
}

// awaitHalfClose gives a half-close over loopback the time to have arrived: its
// acknowledgement cannot be seen portably, so this is the one pause there is,
// and a shorter one only makes the test weaker.
func awaitHalfClose(t testing.TB, c net.Conn) {
	t.Helper()
	testkit.ReadN(t, c, 0)
	time.Sleep(50 * time.Millisecond)
}

// A slow pipe into purr -l, and a client whose stdin was /dev/null and which
// half-closes at once: nothing is lost.
func TestSlowPipeToHalfClosedClient(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{openStdin: true}, "-l", "127.0.0.1", "0")
	client := startPurr(t, opts{}, "127.0.0.1", server.port())
	var want string
	for _, piece := range []string{"first ", "second ", "third"} {
		time.Sleep(100 * time.Millisecond) // the test is about a slow source
		server.runs()
		client.runs()
		writeAll(t, server.stdin, piece)
		want += piece
	}
	client.waitOut("third")
	_ = server.stdin.Close()
	client.ends(0)
	server.ends(0)
	client.printed(want)
	client.quiet()
	server.quiet()
}

// purr -l 9000 <fifo | server >fifo: a client that half-closes after its
// question is answered, though the FIFO has carried nothing till then.
func TestServerBehindFIFO(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := shell(t, opts{dir: dir}, `mkfifo f && purr -l 127.0.0.1 0 <f | { read q; sleep 0.3; echo "answer to $q"; } >f`)
	c := dialTest(t, "tcp", p.addr())
	writeAll(t, c, "question\n")
	_ = c.(*net.TCPConn).CloseWrite()
	if got := testkit.ReadAll(t, c); got != "answer to question\n" {
		t.Errorf("got %q", got)
	}
	p.ends(0)
	p.quiet()
}

// The peer closes while stdin is a silent pipe that another process holds open:
// nothing can be lost, so the session ends.
func TestPeerClosesWhileStdinIsSilent(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	client := startPurr(t, opts{openStdin: true}, "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	writeAll(t, c, "banner\n")
	_ = c.Close()
	client.ends(0)
	client.printed("banner\n")
	client.quiet()
}

// A peer that sent nothing can only be here to receive: a silent pipe is waited
// for.
func TestPeerHalfClosesAndSaysNothing(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	client := startPurr(t, opts{openStdin: true}, "-v", "-n", "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	_ = c.CloseWrite()
	time.Sleep(200 * time.Millisecond)
	client.runs()
	writeAll(t, client.stdin, "here it is")
	_ = client.stdin.Close()
	if got := testkit.ReadAll(t, c); got != "here it is" {
		t.Errorf("got %q", got)
	}
	client.ends(0)
}

// A pipe that has carried something goes on to its end.
func TestPeerHalfClosesWhilePipeIsBusy(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	client := startPurr(t, opts{openStdin: true}, "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	writeAll(t, client.stdin, "one ")
	testkit.ReadN(t, c, 4)
	writeAll(t, c, "ok")
	_ = c.CloseWrite()
	client.waitOut("ok")
	time.Sleep(100 * time.Millisecond)
	client.runs()
	writeAll(t, client.stdin, "two")
	_ = client.stdin.Close()
	if got := testkit.ReadAll(t, c); got != "two" {
		t.Errorf("got %q", got)
	}
	client.ends(0)
}

// Bytes that were read from the pipe and not yet sent keep the session open:
// here they wait for the interval of -i when the peer finishes.
func TestPeerHalfClosesWhileLinesWait(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	client := startPurr(t, opts{openStdin: true}, "-i", "0.4", "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	writeAll(t, client.stdin, "one\ntwo\nthree\n")
	testkit.ReadN(t, c, 4)
	writeAll(t, c, "ok")
	_ = c.CloseWrite()
	client.waitOut("ok")
	if got := testkit.ReadN(t, c, 10); got != "two\nthree\n" {
		t.Errorf("got %q", got)
	}
	_ = client.stdin.Close()
	testkit.ReadAll(t, c)
	client.ends(0)
}

// If the peer closes before all bytes are sent, the loss is an error.
func TestPeerClosesBeforeAllIsSent(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	client := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, testkit.Noise(eight)))}, "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	testkit.ReadN(t, c, 1000)
	_ = c.Close()
	client.ends(1)
	client.complains("127.0.0.1 port " + portOf(t, ln.Addr()))
	client.printed("")
}

// purr -l PORT >/dev/full
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		testkit.NotHere(t, "/dev/full")
	}
	for _, mode := range [][]string{{"-l"}, {"-l", "-k"}, {"-l", "-k", "--echo"}, {"-l", "--echo"}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		server := startPurr(t, opts{stdout: full}, append(mode, "127.0.0.1", "0")...)
		c := dialTest(t, "tcp", server.addr())
		writeAll(t, c, "lost")
		server.ends(1)
		server.complains("write to stdout", "no space left on device")
		// The sender must not take this for success: an orderly end would be one.
		if b, err := io.ReadAll(c); err == nil {
			t.Errorf("%v: the sender saw an orderly end (after %q)", mode, b)
		}
	}
}

// A failed stdout ends the run, and a client beside the one whose copy failed
// sees no orderly end either.
func TestFullDiskBesideEcho(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		testkit.NotHere(t, "/dev/full")
	}
	defer full.Close()
	server := startPurr(t, opts{stdout: full}, "-l", "-k", "-v", "--echo", "127.0.0.1", "0")
	beside := dialTest(t, "tcp", server.addr())
	server.waitErr(regexp.MustCompile(`Connection received`))
	writeAll(t, dialTest(t, "tcp", server.addr()), "lost")
	server.ends(1)
	if b, err := io.ReadAll(beside); err == nil {
		t.Errorf("the other client saw an orderly end (after %q)", b)
	}
}

func TestFullDiskDatagrams(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		testkit.NotHere(t, "/dev/full")
	}
	for _, mode := range [][]string{{"-u", "-l"}, {"-u", "-l", "-k"}, {"-u", "-l", "-k", "--echo"}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		server := startPurr(t, opts{stdout: full}, append(mode, "127.0.0.1", "0")...)
		c := dialTest(t, "udp", server.addr())
		writeAll(t, c, "lost")
		server.ends(1)
		server.complains("write to stdout", "no space left on device")
	}
}

// A peer's reset, in each direction and each mode.
func TestReset(t *testing.T) {
	t.Parallel()
	t.Run("while receiving, dial", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		client := startPurr(t, opts{}, "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		writeAll(t, c, "half a ")
		client.waitOut("half a ")
		testkit.Reset(t, c)
		client.ends(1)
		client.complains("connection reset by peer", "127.0.0.1 port "+portOf(t, ln.Addr()))
		client.printed("half a ")
	})
	t.Run("while receiving, listen", func(t *testing.T) {
		t.Parallel()
		server := startPurr(t, opts{}, "-l", "127.0.0.1", "0")
		c := dialTest(t, "tcp", server.addr())
		writeAll(t, c, "half a ")
		server.waitOut("half a ")
		testkit.Reset(t, c)
		server.ends(1)
		server.complains("connection reset by peer", "127.0.0.1 port "+portOf(t, c.LocalAddr()))
		server.printed("half a ")
	})
	t.Run("while sending, dial", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		client := startPurr(t, opts{stdin: strings.NewReader(testkit.Noise(eight))}, "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		testkit.ReadN(t, c, 100)
		testkit.Reset(t, c)
		client.ends(1)
		client.complains("127.0.0.1 port " + portOf(t, ln.Addr()))
		if said := client.said(); !strings.Contains(said, "reset by peer") && !strings.Contains(said, "broken pipe") {
			t.Errorf("said %q", said)
		}
	})
	t.Run("while sending, listen", func(t *testing.T) {
		t.Parallel()
		server := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, testkit.Noise(eight)))}, "-l", "127.0.0.1", "0")
		c := dialTest(t, "tcp", server.addr())
		testkit.ReadN(t, c, 100)
		testkit.Reset(t, c)
		server.ends(1)
		server.complains("127.0.0.1 port " + portOf(t, c.LocalAddr()))
	})
	t.Run("after everything was sent", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		client := startPurr(t, opts{stdin: strings.NewReader("all")}, "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		if got := testkit.ReadAll(t, c); got != "all" {
			t.Errorf("got %q", got)
		}
		testkit.Reset(t, c)
		client.ends(1)
		client.complains("connection reset by peer")
	})
	t.Run("with --send-only", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		client := startPurr(t, opts{openStdin: true}, "--send-only", "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		testkit.Reset(t, c) // stdin stays open: the reset alone must be noticed
		client.ends(1)
		client.complains("onnection reset by peer") // with a capital if it came before connect(2) had returned
	})
	t.Run("echo", func(t *testing.T) {
		t.Parallel()
		server := startPurr(t, opts{}, "-l", "--echo", "127.0.0.1", "0")
		c := dialTest(t, "tcp", server.addr())
		writeAll(t, c, "x")
		testkit.ReadN(t, c, 1)
		testkit.Reset(t, c)
		server.ends(1)
		server.complains("connection reset by peer")
	})
}

// Bytes that the peer sent before its reset are printed.
func TestLastWordsBeforeReset(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	client := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, testkit.Noise(eight)))}, "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	writeAll(t, c, "413 too large\n")
	client.waitOut("413 too large\n")
	_ = c.Close() // with unread bytes: the system sends RST
	client.ends(1)
	client.printed("413 too large\n")
}

// -w 1 with a peer that stops reading: an error with status 1.
func TestPeerStopsReading(t *testing.T) {
	t.Parallel()
	path := testkit.TempFile(t, testkit.Noise(eight))
	check := func(t *testing.T, p *process, c net.Conn) {
		t.Helper()
		testkit.ReadN(t, c, 10)
		p.endsWithin(1, 10*time.Second)
		p.complains("idle for 1s", "not taken by the peer", c.LocalAddr().(*net.TCPAddr).IP.String()+" port "+portOf(t, c.LocalAddr()))
		// And the peer must not see an orderly end.
		if _, err := io.Copy(io.Discard, c); err == nil {
			t.Error("the peer saw an orderly end of what was cut short")
		}
	}
	for _, flag := range []string{"-w", "--idle-timeout"} {
		t.Run("dial "+flag, func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			client := startPurr(t, opts{stdin: opened(t, path)}, flag, "1", "127.0.0.1", portOf(t, ln.Addr()))
			check(t, client, acceptTest(t, ln))
		})
		t.Run("listen "+flag, func(t *testing.T) {
			t.Parallel()
			server := startPurr(t, opts{stdin: opened(t, path)}, "-l", flag, "1", "127.0.0.1", "0")
			check(t, server, dialTest(t, "tcp", server.addr()))
		})
	}
	t.Run("small, acknowledged by the system", func(t *testing.T) {
		t.Parallel()
		// The peer's system has acknowledged all bytes; silence then is no
		// failure.
		ln := listenTest(t)
		client := startPurr(t, opts{stdin: strings.NewReader("small")}, "-w", "1", "127.0.0.1", portOf(t, ln.Addr()))
		acceptTest(t, ln)
		client.endsWithin(0, 10*time.Second)
		client.quiet()
		if client.took < time.Second {
			t.Errorf("ended after %v", client.took)
		}
	})
	t.Run("echo", func(t *testing.T) {
		t.Parallel()
		// Long enough for the windows to be filled, which this process has to do.
		server := startPurr(t, opts{}, "-l", "--echo", "-w", "2", "127.0.0.1", "0")
		c := dialTest(t, "tcp", server.addr())
		go func() { _, _ = io.Copy(c, endless{}) }()
		server.ends(1)
		server.complains("idle for 2s", "not taken by the peer")
	})
	for _, stdin := range []string{"file", "pipe"} {
		t.Run("unix, "+stdin, func(t *testing.T) {
			t.Parallel()
			socket := filepath.Join(testkit.SocketDir(t), "s")
			o := opts{stdin: opened(t, path)}
			if stdin == "pipe" {
				o.stdin = strings.NewReader(testkit.Noise(eight))
			}
			server := startPurr(t, o, "-v", "-l", "-w", "1", "-U", socket)
			server.waitErr(listeningOn)
			c := dialTest(t, "unix", socket)
			testkit.ReadN(t, c, 10)
			server.endsWithin(1, 10*time.Second)
			if said := server.said(); !strings.Contains(said, "idle for 1s with bytes not taken by the peer") {
				t.Errorf("said %q", said)
			}
		})
	}
}

// A slow reader is no idle one: -w counts from the last byte.
func TestSlowReaderIsNotIdle(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight)
	testkit.Fairly(t, 300*time.Millisecond, func(t testing.TB) {
		ln := listenTest(t)
		client := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, content))}, "-w", "1", "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		var got strings.Builder
		for range 5 {
			time.Sleep(300 * time.Millisecond)
			got.WriteString(testkit.ReadN(t, c, eight/16))
		}
		got.WriteString(testkit.ReadAll(t, c))
		if got.String() != content {
			t.Errorf("%d of %d bytes arrived, or others", got.Len(), len(content))
		}
		_ = c.Close()
		client.ends(0)
	})
}

// purr ... | head -c 10: the reader of stdout is gone.
func TestStdoutReaderGoes(t *testing.T) {
	t.Parallel()
	t.Run("listen", func(t *testing.T) {
		t.Parallel()
		p := shell(t, opts{}, `{ purr -l 127.0.0.1 0; echo "status $?" >&2; } | head -c 10`)
		c := dialTest(t, "tcp", p.addr())
		go func() { _, _ = io.Copy(c, strings.NewReader(testkit.Noise(eight))) }()
		p.ends(0)
		p.waitErr(regexpStatus1)
		if got := p.out.String(); got != testkit.Noise(10) {
			t.Errorf("head printed %q", got)
		}
		oneLineOfNoise(t, p)
	})
	t.Run("nothing more comes", func(t *testing.T) {
		t.Parallel()
		// The reader goes and the peer is silent: purr ends all the same.
		p := shell(t, opts{}, `{ purr -l 127.0.0.1 0; echo "status $?" >&2; } | head -c 10`)
		c := dialTest(t, "tcp", p.addr())
		writeAll(t, c, "0123456789")
		p.ends(0)
		p.waitErr(regexpStatus1)
		oneLineOfNoise(t, p)
	})
	t.Run("before the end, with all there was", func(t *testing.T) {
		t.Parallel()
		// As tar does. Nothing is lost if the end comes soon, which a busy
		// machine may not manage.
		for range 10 {
			p := shell(t, opts{}, `{ purr -l 127.0.0.1 0; echo "status $?" >&2; } | { head -c 10; exec <&-; echo gone >&2; }`)
			c := dialTest(t, "tcp", p.addr())
			begun := time.Now()
			writeAll(t, c, "0123456789")
			p.waitErr(regexp.MustCompile(`gone`))
			_ = c.(*net.TCPConn).CloseWrite()
			soon := time.Since(begun) < lingerTime/2
			p.ends(0)
			p.waitErr(regexp.MustCompile(`status \d`))
			if soon {
				p.printed("0123456789")
				if said := p.said(); strings.Contains(said, "purr: ") || !strings.Contains(said, "status 0") {
					t.Errorf("said %q", said)
				}
				return
			}
		}
		t.Error("too slow, ten times")
	})
	for _, mode := range []string{"-l -k", "-l -k --echo", "-l --echo"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := shell(t, opts{}, `{ purr `+mode+` 127.0.0.1 0; echo "status $?" >&2; } | head -c 10`)
			c := dialTest(t, "tcp", p.addr())
			go func() { _, _ = io.Copy(io.Discard, c) }()
			go func() { _, _ = io.Copy(c, strings.NewReader(testkit.Noise(eight))) }()
			p.ends(0)
			p.waitErr(regexpStatus1)
			oneLineOfNoise(t, p)
		})
	}
	t.Run("datagrams", func(t *testing.T) {
		t.Parallel()
		p := shell(t, opts{}, `{ purr -u -l 127.0.0.1 0; echo "status $?" >&2; } | head -c 10`)
		c := dialTest(t, "udp", p.addr())
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					_, _ = c.Write([]byte("0123456789"))
				}
			}
		}()
		p.ends(0)
		p.waitErr(regexpStatus1)
		oneLineOfNoise(t, p)
	})
}

func oneLineOfNoise(t *testing.T, p *process) {
	t.Helper()
	said := strings.ReplaceAll(p.said(), "\x00\n", "")
	said = strings.Replace(said, "status 1\n", "", 1)
	if strings.Count(said, "\n") > 1 || said != "" && !strings.HasPrefix(said, "purr: ") {
		t.Errorf("said %q, want at most one line", said)
	}
}

// A closed stdin is no input, and loses nothing.
func TestClosedStdin(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(quick)
	// A listener receives everything.
	p := shell(t, opts{}, `exec purr -l 127.0.0.1 0 <&-`)
	c := dialTest(t, "tcp", p.addr())
	time.Sleep(100 * time.Millisecond) // a half-close of purr's would come in this time
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); err == io.EOF {
		t.Error("a listener without input half-closed first")
	}
	_ = c.SetReadDeadline(time.Now().Add(testkit.Patience))
	writeAll(t, c, content)
	_ = c.(*net.TCPConn).CloseWrite()
	testkit.ReadAll(t, c)
	p.ends(0)
	p.printed(content)
	p.quiet()
	// A dialer receives everything, and does not half-close first.
	ln := listenTest(t)
	p = shell(t, opts{}, `exec purr 127.0.0.1 $1 <&-`, portOf(t, ln.Addr()))
	a := acceptTest(t, ln)
	silent(t, a, 200*time.Millisecond) // no end either
	writeAll(t, a, content)
	_ = a.CloseWrite()
	testkit.ReadAll(t, a)
	p.ends(0)
	p.printed(content)
	p.quiet()
}

// With stdout closed what is sent still arrives; what is received has nowhere
// to go, and is not lost silently.
func TestClosedStdout(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight)
	path := testkit.TempFile(t, content)
	ln := listenTest(t)
	p := shell(t, opts{stdin: opened(t, path)}, `exec purr 127.0.0.1 $1 >&-`, portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	if got := testkit.ReadAll(t, c); got != content {
		t.Errorf("%d of %d bytes arrived, or others", len(got), len(content))
	}
	_ = c.Close()
	p.ends(0)
	p.quiet()

	p = shell(t, opts{stdin: opened(t, path)}, `exec purr -l 127.0.0.1 0 >&-`)
	d := dialTest(t, "tcp", p.addr())
	if got := testkit.ReadAll(t, d); got != content {
		t.Errorf("%d of %d bytes arrived, or others", len(got), len(content))
	}
	_ = d.Close()
	p.ends(0)
	p.quiet()

	// Received bytes are dropped as by >/dev/null, which Go's runtime opens in
	// the place of a closed descriptor before main runs. It looks like one that
	// the parent has opened, as Python's subprocess.DEVNULL does.
	p = shell(t, opts{}, `exec purr -l 127.0.0.1 0 >&-`)
	d = dialTest(t, "tcp", p.addr())
	writeAll(t, d, "lost")
	_ = d.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, d)
	p.ends(0)
	p.quiet()
}

// /dev/null as stdin of a background job: nothing is lost.
func TestNullStdinInBackground(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(quick)
	dir := t.TempDir()
	p := shell(t, opts{dir: dir}, `purr -l 127.0.0.1 0 >got & wait $!`)
	client := startPurr(t, opts{stdin: strings.NewReader(content)}, "127.0.0.1", p.port())
	client.ends(0)
	p.ends(0)
	got, err := os.ReadFile(filepath.Join(dir, "got"))
	if err != nil || string(got) != content {
		t.Errorf("%d of %d bytes, or others (%v)", len(got), len(content), err)
	}
}

// A stdout without a reader costs no processor time, and the connection can be
// closed meanwhile.
func TestStalledStdout(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		args []string
	}{
		{"listen", []string{"-l"}},
		{"listen -k", []string{"-l", "-k"}},
		{"upper", []string{"-l", "--upper"}},
		{"echo", []string{"-l", "-k", "--echo"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := startPurr(t, opts{ownStdout: true, openStdin: true}, append(test.args, "127.0.0.1", "0")...)
			c := dialTest(t, "tcp", server.addr())
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := io.Copy(c, endless{}); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("nothing has stalled: %v", err)
			}
			server.runs()
			asked := time.Now()
			server.signal(syscall.SIGTERM)
			server.endsWithin(128+int(syscall.SIGTERM), testkit.Patience)
			if took := testkit.Since(asked); took > testkit.Promptly() {
				t.Errorf("SIGTERM took %v", took)
			}
			limit := 500 * time.Millisecond
			if testkit.UnderRace {
				limit *= 2
			}
			if busy := server.busy(); busy > limit {
				t.Errorf("used %v of the processor while stdout was stalled", busy)
			}
			// The sender must not take it for complete.
			_ = c.SetDeadline(time.Now().Add(testkit.Patience))
			if _, err := io.Copy(io.Discard, c); err == nil {
				t.Error("the sender saw an orderly end")
			}
		})
	}
}

// The peer's reset ends a session whose stdout is stalled.
func TestResetWhileStdoutIsStalled(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{ownStdout: true}, "-l", "127.0.0.1", "0")
	c := dialTest(t, "tcp", server.addr())
	writeAll(t, c, "x") // of which the deadline cannot know
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := io.Copy(c, endless{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("nothing has stalled: %v", err)
	}
	testkit.Eventually(t, "something is printed", fdio.New(server.stdout, nil).Ready)
	testkit.Reset(t, c)
	// Bytes received before belong to the reader; then comes the error.
	got := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, server.stdout)
		got <- n
	}()
	server.ends(1)
	server.complains("connection reset by peer")
	if n := <-got; n == 0 {
		t.Error("nothing was printed")
	}
}

// A stalled reader that goes on gets every byte.
func TestStalledStdoutGoesOn(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight)
	server := startPurr(t, opts{ownStdout: true}, "-l", "127.0.0.1", "0")
	client := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, content))}, "127.0.0.1", server.port())
	time.Sleep(300 * time.Millisecond)
	client.runs()
	if got := testkit.ReadAll(t, server.stdout); got != content {
		t.Errorf("%d of %d bytes arrived, or others", len(got), len(content))
	}
	client.ends(0)
	server.ends(0)
}

// An interrupted sender's transfer does not look complete to its receiver.
func TestInterruptedSender(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		for _, from := range []string{"pipe", "file"} {
			for _, sender := range []string{"dial", "listen", "listen -k"} {
				t.Run(s.String()+" "+from+" "+sender, func(t *testing.T) {
					t.Parallel()
					o := opts{openStdin: true}
					if from == "file" {
						o = opts{stdin: opened(t, testkit.TempFile(t, testkit.Noise(4*eight)))}
					}
					var p, q *process // the sender, the receiver
					receiver := opts{ownStdout: true}
					const window = "64k" // or the rest of the file could be in it, with its orderly end
					switch sender {
					case "dial":
						q = startPurr(t, receiver, "-l", "-I", window, "127.0.0.1", "0")
						p = startPurr(t, o, "127.0.0.1", q.port())
					default:
						p = startPurr(t, o, append(strings.Fields(sender)[1:], "-l", "127.0.0.1", "0")...)
						q = startPurr(t, receiver, "-I", window, "127.0.0.1", p.port())
					}
					if p.stdin != nil {
						writeAll(t, p.stdin, "the first part")
					}
					testkit.ReadN(t, q.stdout, 10)
					p.signal(s)
					p.ends(128 + int(s))
					_, _ = io.Copy(io.Discard, q.stdout)
					q.ends(1)
					q.complains("connection reset by peer")
				})
			}
		}
	}
}

// endless is a source without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// -q does not wait for a stdout without a reader, and the loss is an error.
func TestQuitTimeWhileStdoutIsStalled(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	p := startPurr(t, opts{ownStdout: true}, "-q", "2", "127.0.0.1", portOf(t, ln.Addr())) // stdout has stalled by then
	c := acceptTest(t, ln)
	if _, err := io.Copy(c, endless{}); err == nil {
		t.Error("the peer was not told")
	}
	p.endsWithin(1, 20*time.Second)
	p.complains("stdout")
}

// A reset that comes while stdout is stalled and -w is on.
func TestResetWhileIdleIsWatched(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{ownStdout: true}, "-l", "-w", "2", "127.0.0.1", "0")
	c := dialTest(t, "tcp", p.addr())
	_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	_, _ = io.Copy(c, endless{})
	testkit.Reset(t, c)
	p.endsWithin(1, 10*time.Second)
	p.complains()
}

// Every mode ends with the reader of its stdout, though nothing more arrives.
func TestStdoutReaderGoesForGood(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"-u -l", "-u -l -k", "-u -l -k --echo", "-l", "-l -k", "-l -k --echo", "-l --upper"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := shell(t, opts{}, `{ purr `+mode+` 127.0.0.1 0; echo "status $?" >&2; } | head -c 5`)
			network := "tcp"
			if strings.HasPrefix(mode, "-u") {
				network = "udp"
			}
			c := dialTest(t, network, p.addr())
			writeAll(t, c, "hello")
			p.ends(0)
			p.waitErr(regexpStatus1)
			oneLineOfNoise(t, p)
		})
	}
}
