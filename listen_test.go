//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// 200 clients at once, one of them never reading: the others are answered.
func TestManyClients(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{}, "-l", "-k", "--echo", "--upper", "127.0.0.1", "0")
	deaf := dialTest(t, "tcp", server.addr())
	go func() { _, _ = io.Copy(deaf, endless{}) }()
	var clients []net.Conn
	for range 200 {
		clients = append(clients, dialTest(t, "tcp", server.addr()))
	}
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() {
			for round := range 3 {
				question := fmt.Sprintf("client %d, round %d\n", i, round)
				if _, err := io.WriteString(c, question); err != nil {
					t.Error(err)
					return
				}
				answer := make([]byte, len(question))
				if _, err := io.ReadFull(c, answer); err != nil || string(answer) != strings.ToUpper(question) {
					t.Errorf("%q was answered %q (%v)", question, answer, err)
					return
				}
			}
		})
	}
	all.Wait()
	server.runs()
}

// Out of descriptors: the clients that wait are served later, none is refused,
// and waiting costs no processor time.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"--echo --upper", "--send-file small", ""} {
		t.Run("-l -k "+mode, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "small"), []byte("HELLO"), 0o644); err != nil {
				t.Fatal(err)
			}
			p := shell(t, opts{dir: dir}, `ulimit -n 64; exec purr -l -k `+mode+` 127.0.0.1 0`)
			var clients []net.Conn
			for range 100 {
				clients = append(clients, dialTest(t, "tcp", p.addr()))
			}
			for _, c := range clients {
				writeAll(t, c, "hello")
			}
			// The first ones hold on while the rest waits.
			time.Sleep(700 * time.Millisecond)
			p.runs()
			for i, c := range clients {
				if mode != "" {
					if got := testkit.ReadN(t, c, 5); got != "HELLO" {
						t.Fatalf("client %d got %q", i, got)
					}
				}
				_ = c.(*net.TCPConn).CloseWrite()
				if got := testkit.ReadAll(t, c); got != "" {
					t.Fatalf("client %d got %q more", i, got)
				}
				_ = c.Close()
			}
			if strings.Contains(mode, "echo") || mode == "" {
				p.waitOut("(hello){100}")
			}
			p.signal(syscall.SIGTERM)
			p.ends(128 + int(syscall.SIGTERM))
			limit := 300 * time.Millisecond
			if testkit.UnderRace {
				limit *= 3
			}
			if busy := p.busy(); busy > limit {
				t.Errorf("used %v of the processor", busy)
			}
			n := strings.Count(p.err.String(), "\n")
			if mode == "--send-file small" { // a line for each client
				n -= strings.Count(p.err.String(), ": sent 5 bytes; ")
			}
			if n > 2 {
				t.Errorf("said %d lines:\n%s", n, p.err)
			}
		})
	}
}

// -l -k with stdin and stdout: two clients at once, what both send is printed,
// and stdin goes to both.
func TestTwoClientsShareStdio(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{openStdin: true}, "-l", "-k", "127.0.0.1", "0")
	a, b := dialTest(t, "tcp", server.addr()), dialTest(t, "tcp", server.addr())
	writeAll(t, a, "from a\n")
	server.waitOut("from a\n")
	writeAll(t, b, "from b\n")
	server.waitOut("from b\n")
	writeAll(t, server.stdin, "to both\n")
	for _, c := range []net.Conn{a, b} {
		if got := testkit.ReadN(t, c, 8); got != "to both\n" {
			t.Errorf("got %q", got)
		}
	}
	// One goes with a reset; the other goes on.
	testkit.Reset(t, a)
	server.waitErr(regexp.MustCompile("reset by peer"))
	writeAll(t, server.stdin, "to the one left\n")
	if got := testkit.ReadN(t, b, 16); got != "to the one left\n" {
		t.Errorf("got %q", got)
	}
	// The end of stdin closes towards every client.
	_ = server.stdin.Close()
	if got := testkit.ReadAll(t, b); got != "" {
		t.Errorf("got %q", got)
	}
	writeAll(t, b, "last\n")
	_ = b.Close()
	server.waitOut("last\n")
	// And a later client is still served.
	c := dialTest(t, "tcp", server.addr())
	writeAll(t, c, "later\n")
	_ = c.(*net.TCPConn).CloseWrite()
	testkit.ReadAll(t, c)
	server.waitOut("later\n")
	server.runs()
}

// stdin is not read while there is no client: the first one gets all of it.
func TestStdinWaitsForAClient(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight)
	server := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, content))}, "-l", "-k", "127.0.0.1", "0")
	c := dialTest(t, "tcp", server.addr())
	if got := testkit.ReadAll(t, c); got != content {
		t.Errorf("%d of %d bytes arrived, or others", len(got), len(content))
	}
	server.runs()
}

// Clients one after the other; the listening socket stays open meanwhile.
func TestClientAfterClient(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{}, "-l", "-k", "127.0.0.1", "0")
	for i := range 5 {
		line := fmt.Sprintf("client %d\n", i)
		client := startPurr(t, opts{stdin: strings.NewReader(line)}, "127.0.0.1", server.port())
		client.ends(0)
		server.waitOut(line)
	}
	server.runs()
}

// Without -k there is one client, and the next is refused at once.
func TestOneClientOnly(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{}, "-l", "127.0.0.1", "0")
	c := dialTest(t, "tcp", server.addr())
	writeAll(t, c, "x")
	server.waitOut("x")
	if second, err := net.DialTimeout("tcp", server.addr(), testkit.Patience); err == nil {
		_ = second.Close()
		t.Error("a second client was let in")
	} else if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	_ = c.Close()
	server.ends(0)
}

// --max-conns: the clients beyond it wait, and are served later.
func TestMaxConns(t *testing.T) {
	t.Parallel()
	for _, mode := range [][]string{{"--echo"}, {}} {
		server := startPurr(t, opts{}, append(append([]string{"-v", "-n", "-l", "-k", "--max-conns", "2"}, mode...), "127.0.0.1", "0")...)
		received := regexp.MustCompile(`(?s)(Connection received on.*){3}`)
		a, b, c := dialTest(t, "tcp", server.addr()), dialTest(t, "tcp", server.addr()), dialTest(t, "tcp", server.addr())
		for i, conn := range []net.Conn{a, b, c} {
			writeAll(t, conn, fmt.Sprintf("client %d\n", i))
		}
		server.waitOut("client 0\n")
		server.waitOut("client 1\n")
		time.Sleep(200 * time.Millisecond)
		if received.MatchString(server.err.String()) || strings.Contains(server.out.String(), "client 2") {
			t.Errorf("a third client was served at once: %s", server.heard())
		}
		_ = a.Close()
		server.waitOut("client 2\n")
		server.waitErr(received)
		server.kill()
	}
}

func TestAcceptTimeout(t *testing.T) {
	t.Parallel()
	for _, mode := range [][]string{{"-l"}, {"-l", "-k"}, {"-u", "-l"}, {"-u", "-l", "-k", "--echo"}} {
		t.Run(strings.Join(mode, " "), func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{}, append(mode, "--accept-timeout", "300ms", "127.0.0.1", "0")...)
			port := p.port()
			p.endsWithin(1, 10*time.Second)
			p.complains("127.0.0.1 "+port, "300ms")
			if p.took < 300*time.Millisecond {
				t.Errorf("ended after %v", p.took)
			}
		})
	}
	t.Run("once a client has come it says no more", func(t *testing.T) {
		t.Parallel()
		testkit.Fairly(t, 300*time.Millisecond, func(t testing.TB) {
			p := startPurr(t, opts{}, "-l", "-k", "--accept-timeout", "1", "127.0.0.1", "0")
			c := dialTest(t, "tcp", p.addr())
			writeAll(t, c, "x")
			p.waitOut("x")
			_ = c.Close()
			time.Sleep(1300 * time.Millisecond)
			p.runs()
			c = dialTest(t, "tcp", p.addr())
			writeAll(t, c, "y")
			p.waitOut("y")
		})
	})
	t.Run("-w is not for waiting clients", func(t *testing.T) {
		t.Parallel()
		p := startPurr(t, opts{}, "-v", "-n", "-l", "-w", "0.2", "127.0.0.1", "0")
		p.addr()
		time.Sleep(600 * time.Millisecond)
		p.runs()
	})
	t.Run("unix", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(testkit.SocketDir(t), "s")
		p := startPurr(t, opts{}, "-l", "--accept-timeout", "0.3", "-U", path)
		p.endsWithin(1, 10*time.Second)
		p.complains(path)
		testkit.Absent(t, path)
	})
}

// --idle-timeout under -k lets one client go, and only that one.
func TestIdleClientGoes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"-l -k --echo", "-l -k"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			testkit.Fairly(t, 300*time.Millisecond, func(t testing.TB) {
				server := startPurr(t, opts{}, append(words(mode), "--idle-timeout", "1", "127.0.0.1", "0")...)
				begun := time.Now()
				idle, busy := dialTest(t, "tcp", server.addr()), dialTest(t, "tcp", server.addr())
				stop := make(chan struct{})
				go func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(50 * time.Millisecond):
							_, _ = busy.Write([]byte("."))
						}
					}
				}()
				testkit.ReadAll(t, idle)
				if took := time.Since(begun); took < time.Second || testkit.Since(begun) > 5*time.Second {
					t.Errorf("the idle client was let go after %v", took)
				}
				close(stop)
				writeAll(t, busy, "still here")
				server.waitOut("still here")
				server.runs()
			})
		})
	}
}

// A second listener on a port fails and names the address; the first one keeps
// its clients.
func TestSecondListener(t *testing.T) {
	t.Parallel()
	first := startPurr(t, opts{}, "-l", "-k", "127.0.0.1", "0")
	for _, args := range [][]string{{"-l"}, {"-l", "-k"}, {"-l", "-k", "--echo"}} {
		second := startPurr(t, opts{}, append(args, "127.0.0.1", first.port())...)
		second.ends(1)
		second.complains("127.0.0.1 "+first.port(), "address already in use")
	}
	// On every address too.
	second := startPurr(t, opts{}, "-l", first.port())
	second.ends(1)
	second.complains(first.port(), "address already in use")
	for i := range 10 {
		c := dialTest(t, "tcp", first.addr())
		line := fmt.Sprintf("client %d\n", i)
		writeAll(t, c, line)
		first.waitOut(line)
	}

	udp := startPurr(t, opts{}, "-u", "-l", "127.0.0.1", "0")
	second = startPurr(t, opts{}, "-u", "-l", "127.0.0.1", udp.port())
	second.ends(1)
	second.complains("127.0.0.1 "+udp.port(), "address already in use")
}

// An address in TIME_WAIT can be listened on again at once.
func TestTimeWait(t *testing.T) {
	t.Parallel()
	port := freePort(t, "tcp") // reserved for this test meanwhile
	server := startPurr(t, opts{stdin: strings.NewReader("bye")}, "-v", "-n", "-l", "127.0.0.1", port)
	c := dialTest(t, "tcp", server.addr())
	testkit.ReadAll(t, c) // purr has closed first: its end goes into TIME_WAIT
	_ = c.Close()
	server.ends(0)
	again := startPurr(t, opts{}, "-v", "-n", "-l", "127.0.0.1", port)
	if again.port() != port {
		t.Errorf("listens on %s", again.port())
	}
	c = dialTest(t, "tcp", again.addr())
	_ = c.Close()
	again.ends(0)
}

// One listener serves both families; -4 and -6 only theirs.
func TestListenFamilies(t *testing.T) {
	t.Parallel()
	needsIPv6(t)
	for _, test := range []struct {
		args   []string
		v4, v6 bool
		says   string
	}{
		{[]string{"PORT"}, true, true, "0.0.0.0 ::"},
		{[]string{"-4", "PORT"}, true, false, "0.0.0.0"},
		{[]string{"-6", "PORT"}, false, true, "::"},
		{[]string{"::1", "PORT"}, false, true, "::1"},
		{[]string{"[::1]:PORT"}, false, true, "::1"},
		{[]string{"127.0.0.1:PORT"}, true, false, "127.0.0.1"},
		{[]string{"-s", "127.0.0.1", "PORT"}, true, false, "127.0.0.1"},
		{[]string{"-p", "PORT", "127.0.0.1"}, true, false, "127.0.0.1"},
		{[]string{"-s", "127.0.0.1", "-p", "PORT"}, true, false, "127.0.0.1"},
		{[]string{"-pPORT", "::1"}, false, true, "::1"},
		{[]string{":PORT"}, true, true, "0.0.0.0 ::"},
		{[]string{"0.0.0.0", "PORT"}, true, false, "0.0.0.0"},
		{[]string{"::", "PORT"}, true, true, "::"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			t.Parallel()
			// A port that the system chooses for one family may be
			// taken in the other.
			args, free := []string{"-v", "-n", "-l", "-k"}, freePort(t, "tcp")
			for _, a := range test.args {
				args = append(args, strings.ReplaceAll(a, "PORT", free))
			}
			server := startPurr(t, opts{}, args...)
			port := server.port()
			for _, family := range []struct {
				addr string
				want bool
			}{{"127.0.0.1", test.v4}, {"::1", test.v6}} {
				c, err := net.DialTimeout("tcp", net.JoinHostPort(family.addr, port), testkit.Patience)
				if (err == nil) != family.want {
					t.Errorf("dialling %s: %v", family.addr, err)
				}
				if err != nil {
					continue
				}
				writeAll(t, c, family.addr+"\n")
				_ = c.Close()
				server.waitOut(regexp.QuoteMeta(family.addr + "\n"))
				// An IPv4 client has its own address, not a mapped one.
				server.waitErr(regexp.MustCompile(`(?m)^Connection received on ` + regexp.QuoteMeta(family.addr) + ` \d+$`))
			}
			var says []string
			for _, line := range announcement.FindAllStringSubmatch(server.err.String(), -1) {
				says = append(says, line[1])
				if line[2] != port {
					t.Errorf("says %q, and the port is %s", line[0], port)
				}
			}
			if got := strings.Join(says, " "); got != test.says {
				t.Errorf("says it listens on %s, want %s", got, test.says)
			}
		})
	}
}

func needsIPv6(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		testkit.NotHere(t, fmt.Sprintf("IPv6 on the loopback interface: %v", err))
	}
	_ = ln.Close()
}

// An address that is not this machine's cannot be listened on.
func TestListenOnForeignAddress(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "-l", "192.0.2.1", "0")
	p.ends(1)
	p.complains("192.0.2.1 0", "annot assign requested address")
	if strings.Contains(p.err.String(), "Listening") {
		t.Errorf("said %q", p.err)
	}
}

// --- Unix sockets ---

// A dead socket file is replaced; a live socket, a regular file and everything
// else stays.
func TestUnixPath(t *testing.T) {
	t.Parallel()
	for _, mode := range [][]string{{"-l"}, {"-l", "-k", "--echo"}, {"-u", "-l"}, {"-u", "-l", "-k", "--echo"}} {
		network := "unix"
		if mode[0] == "-u" {
			network = "unixgram"
		}
		refused := func(t *testing.T, path, why string) {
			t.Helper()
			p := startPurr(t, opts{}, append(append([]string{"-v"}, mode...), "-U", path)...)
			p.ends(1)
			if said := p.said(); !strings.Contains(said, path+": "+why) {
				t.Errorf("said %q, want %q", said, why)
			}
			if strings.Contains(p.err.String(), "ound on") || strings.Contains(p.err.String(), "istening on "+path+"\n") {
				t.Errorf("said %q, and must not have bound", p.err)
			}
		}
		name := strings.Join(mode, " ")
		t.Run(name+" regular file", func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(testkit.SocketDir(t), "precious")
			if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, path, "a file that is not a socket is there")
			if b, err := os.ReadFile(path); err != nil || string(b) != "data" {
				t.Errorf("the file is %q now (%v)", b, err)
			}
		})
		t.Run(name+" directory, symlink, fifo", func(t *testing.T) {
			t.Parallel()
			dir := testkit.SocketDir(t)
			sub, link, fifo := filepath.Join(dir, "sub"), filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
			if err := errors.Join(os.Mkdir(sub, 0o755), os.Symlink("nowhere", link), testkit.Mkfifo(fifo)); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{sub, link, fifo} {
				refused(t, path, "")
				if _, err := os.Lstat(path); err != nil {
					t.Error(err)
				}
			}
			testkit.Absent(t, filepath.Join(dir, "nowhere"))
		})
		t.Run(name+" live socket", func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(testkit.SocketDir(t), "s")
			live := startPurr(t, opts{}, append(append([]string{"-v"}, mode...), "-U", path)...)
			live.waitErr(boundOn)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, path, "address already in use")
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("the socket was replaced (%v)", err)
			}
			live.runs()
			if network == "unix" { // a one-shot listener has not taken the other for its client
				c := dialTest(t, "unix", path)
				writeAll(t, c, "alive")
				live.waitOut("alive")
			}
		})
		t.Run(name+" dead socket", func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(testkit.SocketDir(t), "s")
			deadSocket(t, network, path)
			p := startPurr(t, opts{}, append(append([]string{"-v"}, mode...), "-U", path)...)
			p.waitErr(boundOn)
			p.signal(syscall.SIGTERM)
			p.ends(128 + int(syscall.SIGTERM))
			testkit.Absent(t, path)
		})
	}
}

// deadSocket leaves a socket file without a listener.
func deadSocket(t testing.TB, network, path string) {
	t.Helper()
	if network == "unixgram" {
		c, err := net.ListenUnixgram(network, &net.UnixAddr{Name: path, Net: network})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close() // which leaves the file
	} else {
		ln, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		_ = ln.Close()
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}

// Once another process has replaced a listener's socket file, the listener does
// not remove it.
func TestUnixFileOfAnotherIsNotRemoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testkit.SocketDir(t), "s")
	p := startPurr(t, opts{}, "-v", "-l", "-k", "-U", path)
	p.waitErr(listeningOn)
	// Another process puts its socket into the place.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p.signal(syscall.SIGTERM)
	p.ends(128 + int(syscall.SIGTERM))
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("purr removed a socket that is not its own: %v", err)
	}
}

func TestUnixDial(t *testing.T) {
	t.Parallel()
	dir := testkit.SocketDir(t)
	p := startPurr(t, opts{}, "-U", filepath.Join(dir, "nobody"))
	p.ends(1)
	p.complains(filepath.Join(dir, "nobody"), "No such file or directory")
	testkit.Absent(t, filepath.Join(dir, "nobody"))

	deadSocket(t, "unix", filepath.Join(dir, "dead"))
	p = startPurr(t, opts{}, "-U", filepath.Join(dir, "dead"))
	p.ends(1)
	p.complains(filepath.Join(dir, "dead"), "Connection refused")
	if _, err := os.Lstat(filepath.Join(dir, "dead")); err != nil {
		t.Errorf("a dialler removed the file: %v", err)
	}
}

// purr -l -k -U: two clients, each with its bytes.
func TestUnixKeep(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testkit.SocketDir(t), "s")
	server := startPurr(t, opts{}, "-v", "-l", "-k", "--echo", "--upper", "-U", path)
	server.waitErr(listeningOn)
	for range 2 {
		a, b := dialTest(t, "unix", path), dialTest(t, "unix", path)
		for _, c := range []net.Conn{b, a} {
			writeAll(t, c, "hello")
			if got := testkit.ReadN(t, c, 5); got != "HELLO" {
				t.Errorf("got %q", got)
			}
		}
	}
	server.runs()
}

// The echo answers each read by itself and copies to stdout in order, byte for
// byte, also a lot.
func TestEchoBulk(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight)
	server := startPurr(t, opts{}, "-l", "--echo", "--upper", "127.0.0.1", "0")
	client := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, content))}, "127.0.0.1", server.port())
	client.ends(0)
	server.ends(0)
	server.printed(content)
	client.printed(string(upperASCII([]byte(content))))
}

// upperASCII is the reference implementation of --upper.
func upperASCII(b []byte) []byte {
	b = bytes.Clone(b)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return b
}
