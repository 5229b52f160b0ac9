package main

import (
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"purr/internal/copier"
	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// A dumped is the content of a --hex-dump file: the bytes of each direction and
// the peers.
type dumped struct {
	sent, received string
	peers          []string
}

var (
	dumpHead = pattern(`^# \S+ (.+)\n$`)
	dumpLine = pattern(`^([<>]) [0-9a-f]{8,} ((?:[0-9a-f]{2} |   ){16})# .*\n$`)
)

// readDump parses a --hex-dump file. Every line must be whole.
func readDump(t testing.TB, path string) (d dumped) {
	t.Helper()
	var sent, received strings.Builder
	for line := range strings.Lines(testkit.ReadFile(t, path)) {
		if m := dumpHead().FindStringSubmatch(line); m != nil {
			d.peers = append(d.peers, m[1])
			continue
		}
		m := dumpLine().FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("%q is no line of a dump", line)
		}
		b, err := hex.DecodeString(strings.ReplaceAll(m[2], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if m[1] == ">" {
			sent.Write(b)
		} else {
			received.Write(b)
		}
	}
	d.sent, d.received = sent.String(), received.String()
	return d
}

// Every kind of conversation is dumped, in both directions, as it is on the
// connection.
func TestDumpOfEveryKind(t *testing.T) {
	t.Parallel()
	target := freeTarget(t)
	key := testkit.SecretFile(t, tlsconn.NewKey().String())
	file := testkit.TempFile(t, "a file")
	for name, test := range map[string]struct {
		args           []string
		stdin          string
		sends, answers string // of the client
		secured        []string
	}{
		"stdio":     {nil, "hello", "question", "hello", nil},
		"upper":     {[]string{"--upper"}, "hello", "question", "HELLO", nil},
		"crlf":      {[]string{"-C"}, "a\nb\n", "question", "a\r\nb\r\n", nil},
		"keep":      {[]string{"-k"}, "hello", "question", "hello", nil},
		"unix":      {[]string{"-U"}, "hello", "question", "hello", nil},
		"key":       {[]string{"--key-file", key}, "hello", "question", "hello", []string{"--key-file", key}},
		"tls":       {[]string{"--ssl"}, "hello", "question", "hello", []string{"--ssl-insecure"}},
		"echo":      {[]string{"--echo", "--upper"}, "", "question", "QUESTION", nil},
		"exec":      {[]string{"--sh-exec", "cat; echo end"}, "", "question", "questionend\n", nil},
		"tunnel":    {[]string{"-L", target}, "", "question", "late answer to question", nil},
		"send-file": {[]string{"--send-file", file}, "", "question", "a file", nil},
		"sum":       {[]string{"--send-file", file, "--sum"}, "", "question", "a file", nil},
		"recv-file": {[]string{"--recv-file", filepath.Join(t.TempDir(), "new")}, "", "question", "", nil},
		"delay":     {[]string{"--delay", "10ms"}, "hello", "question", "hello", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := testkit.SocketDir(t)
			raw, hex := filepath.Join(dir, "raw"), filepath.Join(dir, "hex")
			path := ""
			args := append([]string{"-l", "-v", "-n", "-o", raw, "--hex-dump", hex}, test.args...)
			if slices.Contains(test.args, "-U") {
				path = filepath.Join(dir, "s")
				args = append(args, path)
			} else {
				args = append(args, "127.0.0.1", "0")
			}
			p := startPurr(t, opts{stdin: strings.NewReader(test.stdin)}, args...)
			to := addressOf(p, path)
			dialer := append(slices.Clone(test.secured), to...)
			if path != "" {
				dialer = append([]string{"-U"}, dialer...)
			}
			c := startPurr(t, opts{stdin: strings.NewReader(test.sends)}, append([]string{"-N"}, dialer...)...)
			c.ends(0)
			c.printed(test.answers)
			if slices.Contains(test.args, "-k") {
				testkit.Eventually(t, "the client has gone", func() bool { return strings.Contains(p.err.String(), "finished") })
				p.kill()
			} else {
				p.ends(0)
			}
			got := readDump(t, hex)
			if got.sent != test.answers || got.received != test.sends {
				t.Errorf("the dump has sent %q and received %q", got.sent, got.received)
			}
			if peer := got.peers[0]; !strings.HasPrefix(peer, "127.0.0.1 port ") && path == "" || path != "" && !strings.Contains(peer, path) {
				t.Errorf("the peer is %q", peer)
			}
			both := testkit.ReadFile(t, raw)
			if len(both) != len(test.sends)+len(test.answers) || !strings.Contains(both, test.sends) {
				t.Errorf("the raw file has %q", both)
			}
		})
	}
}

// What passes through the tunnels of a proxy server is dumped, and the request
// for one is not.
func TestDumpOfProxyServer(t *testing.T) {
	t.Parallel()
	target := freeTarget(t)
	hex := filepath.Join(t.TempDir(), "hex")
	p := startPurr(t, opts{}, "-l", "--proxy-type", "http", "--hex-dump", hex, "127.0.0.1", "0")
	host, port, _ := net.SplitHostPort(target)
	c := startPurr(t, opts{stdin: strings.NewReader("question")}, "-N", "--proxy", "http://"+p.addr(), host, port)
	c.ends(0)
	c.printed("late answer to question")
	if got := readDump(t, hex); got.received != "question" || got.sent != "late answer to question" {
		t.Errorf("%+v", got)
	}
}

// Datagrams are dumped one by one with their senders, an empty one as well.
func TestDumpOfDatagrams(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--echo", "--upper"}, {"--sh-exec", "head -n 1 | tr a-z A-Z"}, {}, {"-k"}, {"--delay", "10ms"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			hex := filepath.Join(t.TempDir(), "hex")
			p := startPurr(t, opts{openStdin: true}, append([]string{"-u", "-l", "--hex-dump", hex, "127.0.0.1", "0"}, args...)...)
			c := dialTest(t, "udp", p.addr())
			testkit.WriteString(t, c, "")
			testkit.WriteString(t, c, "question\n")
			testkit.WriteString(t, p.stdin, "QUESTION\n")
			b := make([]byte, 100)
			n, err := c.Read(b)
			if err == nil && n == 0 { // the echo of the empty one
				n, err = c.Read(b)
			}
			if err != nil || string(b[:n]) != "QUESTION\n" {
				t.Errorf("%q, %v", b[:n], err)
			}
			testkit.Eventually(t, "the dump is complete", func() bool {
				got := readDump(t, hex)
				return got.sent == "QUESTION\n" && got.received == "question\n"
			})
			if want := "\n< 00000000                                                 # \n"; !strings.Contains(testkit.ReadFile(t, hex), want) {
				t.Errorf("no line for the empty datagram:\n%s", testkit.ReadFile(t, hex))
			}
			for _, peer := range readDump(t, hex).peers {
				if peer != "127.0.0.1 port "+portOf(t, c.LocalAddr()) {
					t.Errorf("the peer is %q", peer)
				}
			}
		})
	}
}

// The lines are those of netcat 1.10, which is asked the same.
func TestDumpAsNetcat(t *testing.T) {
	t.Parallel()
	nc := testkit.Program(t, "nc.traditional", "netcat-traditional")
	dir := t.TempDir()
	content := testkit.Noise(5000)
	lines := func(program string, args ...string) (lines [2]string) {
		hex := filepath.Join(dir, filepath.Base(program))
		ln := listenTest(t)
		start(t, opts{stdin: strings.NewReader(content)}, program, append(args, hex, "127.0.0.1", portOf(t, ln.Addr()))...)
		c := acceptTest(t, ln)
		testkit.WriteString(t, c, content[1:])
		_ = c.CloseWrite()
		_ = testkit.ReadN(t, c, len(content))
		testkit.Eventually(t, "all is dumped", func() bool {
			lines = [2]string{}
			for line := range strings.Lines(testkit.ReadFile(t, hex)) {
				if i := strings.Index("<>", line[:1]); i >= 0 {
					lines[i] += line
				}
			}
			return strings.Count(lines[0], "\n") >= 313 && strings.Count(lines[1], "\n") >= 313
		})
		return lines
	}
	got, want := lines(purrPath(t), "--hex-dump"), lines(nc, "-q", "1", "-o")
	if got != want {
		t.Errorf("got\n%.2000s\nwant\n%.2000s", got, want)
	}
}

// A dump that cannot be written ends the run with status 1, on every side of a
// conversation; the stream is not taken for a complete one.
func TestDumpOnFullDisk(t *testing.T) {
	t.Parallel()
	target := freeTarget(t)
	for _, args := range []string{"", "-k", "--echo", "-k --echo", "--sh-exec cat", "-L " + target, "-u --echo", "-u"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{openStdin: true}, append(words(args), "-l", "--hex-dump", "/dev/full", "127.0.0.1", "0")...)
			network := "tcp"
			if strings.Contains(args, "-u") {
				network = "udp"
			}
			c := dialTest(t, network, p.addr())
			testkit.WriteString(t, c, "question")
			p.ends(1)
			p.complains("write to /dev/full: no space left on device")
			if network == "tcp" { // an echo may have answered
				if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%v, want a reset", err)
				}
			}
		})
	}
	ln := listenTest(t)
	p := startPurr(t, opts{stdin: strings.NewReader("x")}, "-o", "/dev/full", "127.0.0.1", portOf(t, ln.Addr()))
	p.ends(1)
	p.complains("write to /dev/full: no space left on device")
}

// A dump that cannot be opened is status 2, before anything is bound, and
// leaves no file.
func TestDumpThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	testkit.WriteFile(t, in("sent"), "content")
	for _, test := range [][2]string{
		{"-o " + dir, "option --output or --hex-dump: open " + dir + ": is a directory"},
		{"-o DIR/new --hex-dump DIR/none/x", "open " + in("none/x") + ": no such file or directory"},
		{"-o DIR/sent --send-file DIR/sent", in("sent") + " is " + in("sent") + ", too"},
		{"--hex-dump DIR/new --recv-file DIR/new", "name a file that nothing else uses"},
		{"-o -", "option --output or --hex-dump: - is no file"},
	} {
		p := startPurr(t, opts{}, append(words(strings.ReplaceAll(test[0], "DIR", dir)), "-l", "--port-file", in("port"), "0")...)
		p.ends(2)
		p.complains(test[1])
		if strings.Contains(p.err.String(), "Listening") {
			t.Error("it has listened")
		}
		testkit.Absent(t, in("new"))
		testkit.Absent(t, in("port"))
		testkit.HasContent(t, in("sent"), "content")
	}
	p := startPurr(t, opts{stdin: opened(t, in("sent"))}, "-o", in("sent"), "127.0.0.1", "9")
	p.ends(2)
	testkit.HasContent(t, in("sent"), "content")
}

// A FIFO without a reader holds the run up, and a signal ends the wait.
func TestDumpIntoFIFO(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startPurr(t, opts{}, "-l", "-o", fifo, "--port-file", filepath.Join(dir, "port"), "127.0.0.1", "0")
	p.runs()
	p.signal(syscall.SIGTERM)
	p.ends(128 + int(syscall.SIGTERM))
	testkit.Absent(t, filepath.Join(dir, "port"))

	p = startPurr(t, opts{}, "-l", "-o", fifo, "127.0.0.1", "0")
	r, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := dialTest(t, "tcp", p.addr())
	testkit.WriteString(t, c, "hello")
	if got := testkit.ReadN(t, r, 5); got != "hello" {
		t.Errorf("%q", got)
	}
	_ = r.Close()
	testkit.WriteString(t, c, "again")
	p.ends(1)
	p.complains("write to " + fifo + ": broken pipe")
}

// An idle timeout while the reader of a dump takes nothing is no success: bytes
// of the peer are lost.
func TestDumpThatIsNotRead(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := startPurr(t, opts{}, "-l", "-w", "0.3", "-o", fifo, "127.0.0.1", "0")
	c := dialTest(t, "tcp", p.addr())
	go func() { _, _ = io.WriteString(c, testkit.Noise(1<<20)) }()
	p.ends(1)
}

// Clients of -k share a dump, line by line, and --append-output keeps what it
// had.
func TestDumpIsShared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	raw, hex := filepath.Join(dir, "raw"), filepath.Join(dir, "hex")
	testkit.WriteFile(t, raw, "before")
	p := startPurr(t, opts{}, "-l", "-k", "--echo", "-o", raw, "--hex-dump", hex, "--append-output", "127.0.0.1", "0")
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() {
			c := dialTest(t, "tcp", p.addr())
			for range 20 {
				testkit.WriteString(t, c, testkit.Noise(3000))
				_ = testkit.ReadN(t, c, 3000)
			}
		})
	}
	clients.Wait()
	got := readDump(t, hex)
	if len(got.sent) != 10*20*3000 || len(got.received) != len(got.sent) {
		t.Errorf("%d and %d bytes", len(got.sent), len(got.received))
	}
	if text := testkit.ReadFile(t, raw); !strings.HasPrefix(text, "before") || len(text) != 6+2*10*20*3000 {
		t.Errorf("%d bytes", len(text))
	}
}

// A dump takes a buffer; --delay does not, and leaves its time between reads.
func TestDumpIsNotSpliced(t *testing.T) {
	for args, want := range map[string][]string{
		"h 80":                {"splice", "splice"},
		"--delay 30ms h 80":   {"splice", "splice"},
		"-o FILE h 80":        {"buffer", "buffer"},
		"--hex-dump FILE h 1": {"buffer", "buffer"},
	} {
		stdin, feed := testkit.StdioPipe(t)
		read, stdout := testkit.StdioPipe(t)
		p, ctx := testRun(t, stdin, stdout, words(strings.ReplaceAll(args, "FILE", filepath.Join(t.TempDir(), "f")))...)
		if err := p.openDump(ctx); err != nil {
			t.Fatal(err)
		}
		var kinds []string
		copier.TestHook = func(name string) { kinds = append(kinds, name) }
		ours, theirs := testkit.TcpPair(t)
		question := testkit.Noise(200_000) // more than what is looked at first
		go func() { _, _ = io.WriteString(feed, question); _ = feed.Close() }()
		result := converses(p, ctx, ours)
		begun := time.Now()
		for range 5 { // each read has 8 bytes
			testkit.WriteString(t, theirs, "question")
			_ = testkit.ReadN(t, read, 8)
		}
		if took := time.Since(begun); strings.Contains(args, "--delay") && took < 4*30*time.Millisecond {
			t.Errorf("%s: five reads took %v", args, took)
		}
		_ = theirs.CloseWrite()
		if got := testkit.ReadAll(t, theirs); got != question {
			t.Errorf("%s: %s", args, testkit.Brief(got))
		}
		if err := ends(t, result); err != nil {
			t.Errorf("%s: %v", args, err)
		}
		copier.TestHook = nil
		if !slices.Equal(kinds, want) {
			t.Errorf("%s: copiers %q, want %q", args, kinds, want)
		}
		p.talk.dump.Close()
	}
}

// A delay that is interrupted by the end of the peer is no failure, and counts
// as no silence.
func TestDelayEnds(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	p := startPurr(t, opts{openStdin: true}, "--delay", "60", "127.0.0.1", portOf(t, ln.Addr()))
	testkit.WriteString(t, p.stdin, "hello")
	c := acceptTest(t, ln)
	if got := testkit.ReadN(t, c, 5); got != "hello" {
		t.Errorf("%q", got)
	}
	p.signal(syscall.SIGTERM)
	p.ends(128 + int(syscall.SIGTERM))
}

// What excludes a dump names both options and the alternative.
func TestDumpCommandLines(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--append-output h 80":        "option --append-output needs --output (-o) or --hex-dump",
		"-z -o f h 80":                "options --output and -z exclude each other",
		"-z --delay 1 h 80":           "options --delay and -z exclude each other",
		"--push -o f h 80 x":          "options --output and --push or --pull exclude each other",
		"--pull --hex-dump f h 80":    "options --hex-dump and --push or --pull exclude each other",
		"-F -x p -o f h 80":           "options --output and -F exclude each other",
		"--retry 1 -o f h 80 -- true": "options --output and a command behind -- exclude each other",
		"--delay x h 80":              "option --delay",
		"--hexdump f h 80":            "say --hex-dump FILE",
	} {
		if _, err := newConfig(words(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
