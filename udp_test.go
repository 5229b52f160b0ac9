//go:build unix

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// listenUDPTest binds a UDP socket to a free port of 127.0.0.1.
func listenUDPTest(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadBuffer(4 << 20)
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return c
}

// receiveFrom reads one datagram.
func receiveFrom(t testing.TB, c *net.UDPConn) (string, *net.UDPAddr) {
	t.Helper()
	b := make([]byte, 1<<16)
	n, from, err := c.ReadFromUDP(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), from
}

// datagram reads one datagram from a connected socket.
func pkt(t testing.TB, c net.Conn) string {
	t.Helper()
	b := make([]byte, 1<<20)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// silent checks that nothing comes on c.
func silent(t testing.TB, c net.Conn, within time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 100)
	if n, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %q (%v), want nothing", b[:n], err)
	}
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
}

// One read of stdin is one datagram, up to 65,507 bytes.
func TestUDPSizes(t *testing.T) {
	t.Parallel()
	t.Run("a pipe's writes", func(t *testing.T) {
		t.Parallel()
		c := listenUDPTest(t)
		p := startPurr(t, opts{openStdin: true}, "-u", "127.0.0.1", portOf(t, c.LocalAddr()))
		for _, want := range []string{"one", "two\nlines\n", testkit.Noise(60_000), "x"} {
			writeAll(t, p.stdin, want)
			if got, _ := receiveFrom(t, c); got != want {
				t.Errorf("got %s, want %s", testkit.Brief(got), testkit.Brief(want))
			}
		}
		_ = p.stdin.Close()
		p.ends(0)
		silent(t, c, 10*time.Millisecond) // the end of stdin is no datagram
	})
	t.Run("a file", func(t *testing.T) {
		t.Parallel()
		content := testkit.Noise(3*65_507 + 100)
		c := listenUDPTest(t)
		p := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, content))}, "-u", "127.0.0.1", portOf(t, c.LocalAddr()))
		var got string
		for _, size := range []int{65_507, 65_507, 65_507, 100} {
			d, _ := receiveFrom(t, c)
			if len(d) != size {
				t.Errorf("a datagram of %d bytes, want %d", len(d), size)
			}
			got += d
		}
		if got != content {
			t.Error("other bytes arrived")
		}
		p.ends(0)
		p.quiet()
	})
	for _, mode := range [][]string{{"-l"}, {"-l", "-k"}} {
		t.Run("received whole "+strings.Join(mode, " "), func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{}, append(append([]string{"-u"}, mode...), "-W", "3", "127.0.0.1", "0")...)
			c := dialTest(t, "udp", p.addr())
			var want string
			for _, d := range []string{testkit.Noise(60_000), testkit.Noise(65_507), "small"} {
				writeAll(t, c, d)
				want += d
			}
			p.ends(0)
			p.printed(want)
			p.quiet()
		})
	}
	t.Run("a reply received whole", func(t *testing.T) {
		t.Parallel()
		c := listenUDPTest(t)
		p := startPurr(t, opts{stdin: strings.NewReader("?")}, "-u", "-w", "20", "-W", "1", "127.0.0.1", portOf(t, c.LocalAddr()))
		_, from := receiveFrom(t, c)
		if _, err := c.WriteToUDP([]byte(testkit.Noise(65_507)), from); err != nil {
			t.Fatal(err)
		}
		p.ends(0)
		p.printed(testkit.Noise(65_507))
	})
	t.Run("echoed whole", func(t *testing.T) {
		t.Parallel()
		p := startPurr(t, opts{}, "-u", "-l", "-k", "--echo", "127.0.0.1", "0")
		c := dialTest(t, "udp", p.addr())
		for _, d := range []string{testkit.Noise(65_507), "", "x", testkit.Noise(1472)} {
			writeAll(t, c, d)
			if got := pkt(t, c); got != d {
				t.Errorf("got %s back, want %s", testkit.Brief(got), testkit.Brief(d))
			}
		}
	})
}

// An empty datagram is a message, and not the end.
func TestUDPEmptyDatagram(t *testing.T) {
	t.Parallel()
	for _, mode := range [][]string{{"-l"}, {"-l", "-k"}} {
		p := startPurr(t, opts{}, append(append([]string{"-u"}, mode...), "-W", "4", "127.0.0.1", "0")...)
		c := dialTest(t, "udp", p.addr())
		for _, d := range []string{"", "a", "", "b"} {
			if _, err := c.Write([]byte(d)); err != nil {
				t.Fatal(err)
			}
		}
		p.ends(0) // four datagrams, the empty ones counted
		p.printed("ab")
	}
	c := listenUDPTest(t)
	p := startPurr(t, opts{stdin: strings.NewReader("?")}, "-u", "-w", "20", "-W", "3", "127.0.0.1", portOf(t, c.LocalAddr()))
	_, from := receiveFrom(t, c)
	for _, d := range []string{"", "reply", ""} {
		if _, err := c.WriteToUDP([]byte(d), from); err != nil {
			t.Fatal(err)
		}
	}
	p.ends(0)
	p.printed("reply")
}

// purr -u -l answers the first sender and ignores others.
func TestUDPFirstSender(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{openStdin: true}, "-u", "-l", "127.0.0.1", "0")
	first, second := dialTest(t, "udp", p.addr()), dialTest(t, "udp", p.addr())
	writeAll(t, p.stdin, "early answer") // before there is a peer to send it to
	writeAll(t, first, "from first ")
	p.waitOut("from first ")
	if got := pkt(t, first); got != "early answer" {
		t.Errorf("got %q", got)
	}
	writeAll(t, second, "from second ")
	writeAll(t, first, "first again ")
	p.waitOut("first again ")
	writeAll(t, p.stdin, "answer")
	if got := pkt(t, first); got != "answer" {
		t.Errorf("got %q", got)
	}
	silent(t, second, 100*time.Millisecond)
	if strings.Contains(p.out.String(), "second") {
		t.Errorf("printed %q", p.out)
	}
	p.runs()
}

// purr -u -l -k prints the datagrams of all senders and answers the last one.
func TestUDPLastSender(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{openStdin: true}, "-u", "-l", "-k", "127.0.0.1", "0")
	a, b := dialTest(t, "udp", p.addr()), dialTest(t, "udp", p.addr())
	for _, turn := range []struct {
		speaks, other net.Conn
		says          string
	}{{a, b, "a1 "}, {b, a, "b1 "}, {a, b, "a2 "}} {
		writeAll(t, turn.speaks, turn.says)
		p.waitOut(turn.says)
		writeAll(t, p.stdin, "to "+turn.says)
		if got := pkt(t, turn.speaks); got != "to "+turn.says {
			t.Errorf("got %q", got)
		}
		silent(t, turn.other, 20*time.Millisecond)
	}
	if got := p.out.String(); got != "a1 b1 a2 " {
		t.Errorf("printed %q", got)
	}
	p.runs()
}

// A closed port is an error with status 1, in both directions.
func TestUDPRefused(t *testing.T) {
	t.Parallel()
	port := freePort(t, "udp")
	for _, args := range [][]string{{}, {"-v", "-n"}, {"--send-only", "-w", "2"}} {
		p := startPurr(t, opts{stdin: strings.NewReader("anybody there?")}, append(append([]string{"-u"}, args...), "127.0.0.1", port)...)
		if len(args) == 0 {
			p.ends(1)
			p.complains("127.0.0.1 port "+port, "Connection refused")
			p.printed("")
		}
		if len(args) == 2 {
			p.ends(1)
			if !strings.Contains(p.said(), "Connection refused") {
				t.Errorf("said %q", p.said())
			}
		}
	}
	// A listener whose only peer has gone.
	p := startPurr(t, opts{openStdin: true}, "-u", "-l", "127.0.0.1", "0")
	c := dialTest(t, "udp", p.addr())
	writeAll(t, c, "hello")
	p.waitOut("hello")
	gone := portOf(t, c.LocalAddr())
	_ = c.Close()
	writeAll(t, p.stdin, "still there?")
	p.ends(1)
	p.complains("127.0.0.1 port "+gone, "Connection refused")
}

// The quit word ends a listener too.
func TestUDPQuitWord(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{openStdin: true}, "-u", "-l", "--quit-word", "q", "127.0.0.1", "0")
	c := dialTest(t, "udp", p.addr())
	writeAll(t, c, "hello")
	p.waitOut("hello")
	writeAll(t, p.stdin, "answer\n")
	if got := pkt(t, c); got != "answer\n" {
		t.Errorf("got %q", got)
	}
	writeAll(t, p.stdin, "q\n")
	p.ends(0)
	silent(t, c, 20*time.Millisecond)
}

// With -k a peer that has gone does not end the run.
func TestUDPKeepSurvivesRefusal(t *testing.T) {
	t.Parallel()
	for _, mode := range [][]string{{}, {"--echo"}} {
		p := startPurr(t, opts{openStdin: true}, append(append([]string{"-u", "-l", "-k"}, mode...), "127.0.0.1", "0")...)
		for range 3 {
			gone := dialTest(t, "udp", p.addr())
			writeAll(t, gone, "bye")
			_ = gone.Close()
		}
		p.waitOut("byebyebye")
		writeAll(t, p.stdin, "still there?")
		c := dialTest(t, "udp", p.addr())
		writeAll(t, c, "hello")
		p.waitOut("hello")
		if len(mode) == 0 {
			writeAll(t, p.stdin, "hello")
		}
		for { // the answer to the peer that has gone may come first
			if got := pkt(t, c); strings.HasSuffix(got, "hello") {
				break
			} else if got != "still there?" {
				t.Fatalf("got %q", got)
			}
		}
		p.runs()
		p.kill()
	}
}

// purr -u -v sends nothing of its own.
func TestUDPVerboseSendsNothing(t *testing.T) {
	t.Parallel()
	c := listenUDPTest(t)
	p := startPurr(t, opts{openStdin: true}, "-u", "-v", "-v", "-n", "127.0.0.1", portOf(t, c.LocalAddr()))
	silent(t, c, 500*time.Millisecond)
	p.runs()
	writeAll(t, p.stdin, "mine")
	if got, _ := receiveFrom(t, c); got != "mine" {
		t.Errorf("the first datagram is %q", got)
	}
	_ = p.stdin.Close()
	p.ends(0)
	silent(t, c, 10*time.Millisecond)
	if strings.Contains(p.err.String(), "succeeded") {
		t.Errorf("claims to know of an unanswered UDP port: %q", p.err)
	}
}

// After the end of stdin a dialler waits for replies: 1 s after the last
// datagram, or -w.
func TestUDPWaitsForReplies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		wait time.Duration
	}{
		{nil, time.Second},
		{[]string{"-w", "0.7"}, 700 * time.Millisecond},
		{[]string{"-w", "1.6"}, 1600 * time.Millisecond},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			t.Parallel()
			testkit.Fairly(t, 100*time.Millisecond, func(t testing.TB) {
				c := listenUDPTest(t)
				p := startPurr(t, opts{stdin: strings.NewReader("?")}, append(append([]string{"-u"}, test.args...), "127.0.0.1", portOf(t, c.LocalAddr()))...)
				_, from := receiveFrom(t, c)
				// Two replies, each when most of the wait is over.
				var last time.Time
				for range 2 {
					time.Sleep(test.wait * 6 / 10)
					last = time.Now()
					if _, err := c.WriteToUDP([]byte("reply "), from); err != nil {
						t.Fatal(err)
					}
				}
				p.ends(0)
				p.printed("reply reply ")
				p.quiet()
				if took := time.Since(last); took < test.wait-20*time.Millisecond || took > test.wait+2*time.Second {
					t.Errorf("ended %v after the last reply, want %v", took, test.wait)
				}
			})
		})
	}
	t.Run("-d waits for ever", func(t *testing.T) {
		t.Parallel()
		c := listenUDPTest(t)
		p := startPurr(t, opts{}, "-u", "-d", "127.0.0.1", portOf(t, c.LocalAddr()))
		time.Sleep(1500 * time.Millisecond)
		p.runs()
	})
	t.Run("an open stdin too", func(t *testing.T) {
		t.Parallel()
		c := listenUDPTest(t)
		p := startPurr(t, opts{openStdin: true}, "-u", "127.0.0.1", portOf(t, c.LocalAddr()))
		writeAll(t, p.stdin, "?")
		receiveFrom(t, c)
		time.Sleep(1500 * time.Millisecond)
		p.runs()
	})
	t.Run("-q", func(t *testing.T) {
		t.Parallel()
		c := listenUDPTest(t)
		p := startPurr(t, opts{stdin: strings.NewReader("?")}, "-u", "-q", "0.3", "-w", "60", "127.0.0.1", portOf(t, c.LocalAddr()))
		p.ends(0)
		if p.took > 20*time.Second || p.took < 300*time.Millisecond {
			t.Errorf("took %v", p.took)
		}
	})
}

// A listener on every address answers from the address of the request.
func TestUDPRepliesFromTheAddressAsked(t *testing.T) {
	t.Parallel()
	probe, err := net.ListenPacket("udp", "127.0.0.2:0")
	if err != nil {
		testkit.NotHere(t, fmt.Sprintf("a second loopback address: %v", err))
	}
	_ = probe.Close()
	for _, args := range [][]string{
		{"--echo", "-k"}, {"--echo", "-k", "-4"}, {"--echo"}, {"-k"}, {},
		{"--echo", "-k", "0.0.0.0"}, {"-k", "0.0.0.0"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{openStdin: true}, append(append([]string{"-u", "-l"}, args...), "0")...)
			port := p.port()
			for _, asked := range []string{"127.0.0.2", "127.0.0.1", "127.0.0.3"} {
				if asked != "127.0.0.2" && !strings.Contains(strings.Join(args, " "), "-k") {
					break // it receives from the first sender only
				}
				// Not connected: the socket takes answers from anywhere, and shows
				// where they came from.
				c := listenUDPTest(t)
				to, err := net.ResolveUDPAddr("udp", net.JoinHostPort(asked, port))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.WriteToUDP([]byte("hello "+asked), to); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(strings.Join(args, " "), "echo") {
					p.waitOut("hello " + asked)
					writeAll(t, p.stdin, "answer")
				}
				if _, from := receiveFrom(t, c); from.String() != to.String() {
					t.Errorf("asked %v, answered from %v", to, from)
				}
			}
		})
	}
}

// IPv6, and both families on one socket.
func TestUDPFamilies(t *testing.T) {
	t.Parallel()
	needsIPv6(t)
	p := startPurr(t, opts{}, "-u", "-l", "-k", "--echo", "--upper", "0")
	for _, host := range []string{"127.0.0.1", "::1"} {
		client := startPurr(t, opts{stdin: strings.NewReader("via " + host)}, "-u", "-w", "20", "-W", "1", host, p.port())
		client.ends(0)
		client.printed("VIA " + strings.ToUpper(host))
	}
	p.runs()
	p = startPurr(t, opts{}, "-u", "-l", "-6", "-k", "--echo", "0")
	client := startPurr(t, opts{stdin: strings.NewReader("x")}, "-u", "127.0.0.1", p.port())
	client.ends(1)
	client.complains("Connection refused")
}

// -C and --upper change datagrams, and nothing gets lost by growing.
func TestUDPTransforms(t *testing.T) {
	t.Parallel()
	c := listenUDPTest(t)
	content := strings.Repeat("a\n", 50_000)
	p := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, content))}, "-u", "-C", "--upper", "127.0.0.1", portOf(t, c.LocalAddr()))
	want := strings.Repeat("A\r\n", 50_000)
	var got string
	for len(got) < len(want) {
		d, _ := receiveFrom(t, c)
		got += d
	}
	if got != want {
		t.Error("other bytes arrived")
	}
	p.ends(0)
}

// --- Unix datagrams ---

func TestUnixDatagrams(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testkit.SocketDir(t), "s")
	server := startPurr(t, opts{}, "-v", "-u", "-l", "-k", "--echo", "--upper", "-U", path)
	server.waitErr(boundOn)
	for answers, question := range map[string]string{"1": "hello", "2": testkit.Noise(100_000)} {
		client := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, question))}, "-u", "-U", "-w", "20", "-W", answers, path)
		client.ends(0)
		client.printed(string(upperASCII([]byte(question))))
		client.quiet()
	}
	// With a name of its own, which is removed afterwards.
	own := filepath.Join(filepath.Dir(path), "own")
	client := startPurr(t, opts{stdin: strings.NewReader("named")}, "-u", "-U", "-w", "20", "-W", "1", "-s", own, path)
	client.ends(0)
	client.printed("NAMED")
	testkit.Absent(t, own)
	server.signal(syscall.SIGTERM)
	server.status()
	testkit.Absent(t, path)
}

// The own path of a client is as safe as a listener's.
func TestUnixDatagramOwnPath(t *testing.T) {
	t.Parallel()
	dir := testkit.SocketDir(t)
	path, own := filepath.Join(dir, "s"), filepath.Join(dir, "own")
	server := startPurr(t, opts{}, "-v", "-u", "-l", "-k", "-U", path)
	server.waitErr(boundOn)
	if err := os.WriteFile(own, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := startPurr(t, opts{stdin: strings.NewReader("x")}, "-u", "-U", "-s", own, path)
	client.ends(1)
	client.complains(own, "not a socket")
	if b, err := os.ReadFile(own); err != nil || string(b) != "data" {
		t.Errorf("the file is %q now (%v)", b, err)
	}
	// Without a listener at the other end, no file is left behind.
	_ = os.Remove(own)
	client = startPurr(t, opts{stdin: strings.NewReader("x")}, "-u", "-U", "-s", own, filepath.Join(dir, "nobody"))
	client.ends(1)
	client.complains(filepath.Join(dir, "nobody"), "No such file or directory")
	testkit.Absent(t, own)
	if got := server.out.String(); got != "" {
		t.Errorf("the server got %q", got)
	}
	// And a signal removes it too.
	client = startPurr(t, opts{openStdin: true}, "-u", "-U", "-s", own, path)
	testkit.Eventually(t, own+" is bound", func() bool { _, err := os.Lstat(own); return err == nil })
	writeAll(t, client.stdin, "here")
	server.waitOut("here")
	client.signal(syscall.SIGINT)
	client.ends(128 + int(syscall.SIGINT))
	testkit.Absent(t, own)
}

// purr -u -l -U: answers the first sender.
func TestUnixDatagramConversation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testkit.SocketDir(t), "s")
	server := startPurr(t, opts{openStdin: true}, "-v", "-u", "-l", "-U", path)
	server.waitErr(boundOn)
	client := startPurr(t, opts{openStdin: true}, "-u", "-U", path)
	writeAll(t, client.stdin, "question")
	server.waitOut("question")
	writeAll(t, server.stdin, "answer")
	client.waitOut("answer")
	_ = client.stdin.Close()
	client.ends(0)
}
