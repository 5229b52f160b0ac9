package main

import (
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// brokered starts a broker and returns it with its address, for dialling.
func brokered(t testing.TB, o opts, args ...string) (p *process, network, addr string) {
	t.Helper()
	if !slices.Contains(args, "-U") {
		p = startPurr(t, o, append(args, "-l", "127.0.0.1", "0")...)
		return p, "tcp", p.addr()
	}
	addr = filepath.Join(testkit.SocketDir(t), "s")
	p = startPurr(t, o, append(args, "-l", "-v", addr)...)
	p.waitErr(regexp.MustCompile(`Listening on `))
	return p, "unix", addr
}

// joinBroker dials n clients and returns them once the broker, whose stdin is
// open, sends to all of them.
func joinBroker(t testing.TB, p *process, network, addr string, n int) (clients []net.Conn) {
	t.Helper()
	one := make([]byte, 1)
	for range n {
		c := dialTest(t, network, addr)
		clients = append(clients, c)
		testkit.Eventually(t, "the client has joined", func() bool {
			testkit.WriteString(t, p.stdin, "?")
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			n, _ := c.Read(one)
			return n > 0
		})
	}
	testkit.WriteString(t, p.stdin, "!")
	for _, c := range clients {
		_ = c.SetDeadline(time.Now().Add(testkit.Patience))
		for one[0] = 0; one[0] != '!'; {
			copy(one, testkit.ReadN(t, c, 1))
		}
	}
	return clients
}

// Clients of every kind of stream hear each other and stdin; stdout has
// nothing, and no end of one ends another.
func TestBroker(t *testing.T) {
	t.Parallel()
	key := testkit.SecretFile(t, tlsconn.NewKey().String())
	for way, ends := range map[string][2][]string{
		"tcp":  {nil, nil},
		"unix": {{"-U"}, {"-U"}},
		"key":  {{"--key-file", key}, {"--key-file", key}},
		"tls":  {{"--ssl"}, {"--ssl-insecure"}},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			hex := filepath.Join(t.TempDir(), "hex")
			p, _, addr := brokered(t, opts{openStdin: true}, append(slices.Clone(ends[0]), "--broker", "-v", "-n", "--hex-dump", hex)...)
			to := []string{addr}
			if way != "unix" {
				host, port, _ := net.SplitHostPort(addr)
				to = []string{host, port}
			}
			var clients []*process
			for i, name := range []string{"one\n", "two\n", "three\n"} {
				c := startPurr(t, opts{openStdin: true}, append(slices.Clone(ends[1]), to...)...)
				testkit.Eventually(t, "the client is there", func() bool {
					testkit.WriteString(t, p.stdin, "there?\n")
					return strings.Contains(c.out.String(), "there?")
				})
				clients = append(clients, c)
				testkit.WriteString(t, c.stdin, name)
				for _, other := range clients[:i] {
					other.waitOut("(?m)^" + strings.TrimSpace(name) + "$")
				}
			}
			testkit.WriteString(t, p.stdin, "stdin\n")
			for _, c := range clients {
				c.waitOut("(?m)^stdin$")
			}
			_ = clients[2].stdin.Close()
			clients[2].ends(0)
			_ = p.stdin.Close()
			testkit.WriteString(t, clients[0].stdin, "on\n")
			clients[1].waitOut("(?m)^on$")
			for _, c := range clients[:2] {
				_ = c.stdin.Close()
				c.ends(0)
			}
			if got := clients[0].out.String(); strings.Contains(got, "one") || strings.Contains(got, "on\n") {
				t.Errorf("its own words came back: %q", got)
			}
			testkit.Eventually(t, "all clients have gone", func() bool { return strings.Count(p.err.String(), " finished; ") == 3 })
			if strings.Contains(p.err.String(), "purr: send") || strings.Contains(p.err.String(), "purr: receive") {
				t.Errorf("a failure: %s", p.err)
			}
			if got := readDump(t, hex); got.received != "one\ntwo\nthree\non\n" {
				t.Errorf("dumped: %q", got.received)
			}
			p.signal(syscall.SIGTERM)
			p.ends(128 + int(syscall.SIGTERM))
			p.printed("")
		})
	}
}

// The chat has Ncat's words, and stdout shows it.
func TestChat(t *testing.T) {
	t.Parallel()
	p, network, addr := brokered(t, opts{}, "--chat")
	one := dialTest(t, network, addr)
	const first = "<announce> 127.0.0.1 is connected as <user1>.\n<announce> already connected: nobody.\n"
	if got := testkit.ReadN(t, one, len(first)); got != first {
		t.Errorf("%q", got)
	}
	ncat := testkit.Program(t, "ncat", "ncat")
	theirs := start(t, opts{openStdin: true}, ncat, words(strings.ReplaceAll(addr, ":", " "))...)
	theirs.waitOut(`(?s)<user2>\..*already connected: 127\.0\.0\.1 as <user1>\.\n`)
	testkit.WriteString(t, one, "hello\x1b[2J\r\n")
	theirs.waitOut(`(?m)^<user1> hello\\x1b\[2J$`)
	p.waitOut(`(?m)^<user1> hello\\x1b\[2J$`)
	theirs.kill()
	p.waitOut(`(?m)^<announce> <user2> is disconnected\.$`)

	// Ncat's own, with numbers of its own.
	port := freePort(t, "tcp")
	serve := start(t, opts{}, ncat, "-l", "--chat", "127.0.0.1", port)
	var c net.Conn
	testkit.Eventually(t, "ncat listens", func() bool {
		serve.runs()
		var err error
		c, err = net.Dial("tcp", "127.0.0.1:"+port)
		return err == nil
	})
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	got := testkit.ReadN(t, c, len(first))
	if got = regexp.MustCompile(`user\d+`).ReplaceAllString(got, "user1"); got != first {
		t.Errorf("ncat: %q, and purr: %q", got, first)
	}
}

// Behind a proxy a chat has the address of the client, and not the proxy's.
func TestChatBehindAProxy(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "-l", "--chat", "--accept-proxy", "127.0.0.1", "0")
	c := dialTest(t, "tcp", p.addr())
	writeAll(t, c, headerOfClient)
	want := "<announce> 192.0.2.7 is connected as <user1>.\n"
	if got := testkit.ReadN(t, c, len(want)); got != want {
		t.Errorf("%q", got)
	}
}

// A client that takes nothing is dropped with a line, and the others go on.
// stdin is one of the senders.
func TestBrokerDropsAStalledClient(t *testing.T) {
	t.Parallel()
	p, network, addr := brokered(t, opts{openStdin: true}, "--broker")
	clients := joinBroker(t, p, network, addr, 2)
	stalled, other := clients[0], clients[1]
	content := testkit.Noise(16 << 20)
	go func() { _, _ = io.WriteString(p.stdin, content); _ = p.stdin.Close() }()
	if got := testkit.ReadN(t, other, len(content)); got != content {
		t.Errorf("%d bytes, or others", len(got))
	}
	p.waitErr(regexp.MustCompile("purr: send to 127.0.0.1 port " + portOf(t, stalled.LocalAddr()) + ": dropped: it took nothing for 5s while others waited\n"))
	p.runs()
	p.signal(syscall.SIGTERM)
	p.ends(128 + int(syscall.SIGTERM))
	if p.busy() > 2*time.Second {
		t.Errorf("it used the processor for %v", p.busy())
	}
}

// --max-conns, --allow, -w and the end of the run hold for a broker.
func TestBrokerLimits(t *testing.T) {
	t.Parallel()
	p, network, addr := brokered(t, opts{}, "--broker", "--max-conns", "1", "-w", "0.3", "-v", "-n")
	one, two := dialTest(t, network, addr), dialTest(t, network, addr)
	testkit.WriteString(t, two, "lost")
	if got := testkit.ReadAll(t, one); got != "" {
		t.Errorf("the first client got %q before its silence ended it", got)
	}
	if got := testkit.ReadAll(t, two); got != "" {
		t.Errorf("%q", got)
	}
	p.waitErr(regexp.MustCompile(`(?s)idle for 300ms.*idle for 300ms`))

	// Who is held up is not idle; who takes nothing is.
	p, network, addr = brokered(t, opts{openStdin: true}, "--broker", "-w", "2")
	clients := joinBroker(t, p, network, addr, 2)
	stalled, sender := clients[0], clients[1]
	testkit.WriteString(t, sender, testkit.Noise(16<<20))
	p.waitErr(regexp.MustCompile("send to 127.0.0.1 port " + portOf(t, stalled.LocalAddr()) + ": idle for 2s with "))
	if strings.Contains(p.err.String(), portOf(t, sender.LocalAddr())) {
		t.Errorf("the sender is blamed: %s", p.err)
	}

	_, network, addr = brokered(t, opts{}, "--broker", "--deny", "127.0.0.1")
	denied := dialTest(t, network, addr)
	if n, err := denied.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d, %v", n, err)
	}

	p, network, addr = brokered(t, opts{openStdin: true}, "--chat")
	dialTest(t, network, addr)
	testkit.WriteString(t, p.stdin, "hello\n")
	p.waitOut("user1")
	p.signal(syscall.SIGINT)
	p.ends(128 + int(syscall.SIGINT))
}

// What excludes a broker names both options and the other end.
func TestBrokerCommandLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for args, want := range map[string]string{
		"--broker h 80":                          "option --broker needs -l",
		"--chat -l -u 80":                        "options --chat and -u exclude each other: datagrams have no connections",
		"-l --broker -L h:1 80":                  "options --broker and -L exclude each other: the other end of a client is the others, or a target",
		"-l --broker --proxy-type http 80":       "options --broker and --proxy-type with -l exclude each other",
		"-l --broker -e cat 80":                  "options --broker and --exec or --sh-exec exclude each other: the other end of a client is the others, or a command",
		"-l --broker --echo 80":                  "options --broker and --echo exclude each other: the other end of a client is the others, or itself",
		"-l --broker --send-file go.mod 80":      "options --broker and --send-file or --recv-file exclude each other",
		"-l --chat --recv-file " + dir + "/f 80": "options --chat and --send-file or --recv-file exclude each other",
		"-l --broker --push 80 go.mod":           "options --broker and --push or --pull exclude each other",
		"-l --broker --pull 80":                  "options --broker and --push or --pull exclude each other",
		"-l --broker --send-only 80":             "options --broker and --send-only exclude each other",
		"-l --chat --interactive 80":             "options --chat and --interactive or --quit-word exclude each other",
		"-l --broker -N 80":                      "options --broker and -N, -q or --no-shutdown exclude each other",
		"-z --broker 80":                         "options --broker and -z exclude each other",
	} {
		if _, err := newConfig(words(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	if c, err := newConfig(words("-l --chat 80")); err != nil || !c.keep || !c.broker {
		t.Errorf("%v", err)
	}
}
