package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"purr/internal/proxy"
	"purr/internal/proxyproto"
	"purr/internal/sock"
	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// Sockets from elsewhere: behind and in front of a proxy, from the service
// manager, and of virtual machines.

const headerOfClient = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"

// The address in a PROXY header is the peer's in messages, events and the
// variables of a command; the payload begins behind it. In a header without an
// address it is the connection's own.
func TestAcceptProxy(t *testing.T) {
	t.Parallel()
	key := testkit.SecretFile(t, tlsconn.NewKey().String())
	const command = `echo $NCAT_REMOTE_ADDR $NC_REMOTE_PORT $NCAT_PROTO`
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"messages", []string{"-v", "-n"}, `Connection received on 192\.0\.2\.7 40000\n`},
		{"last line", []string{"-vv", "-n", "--echo"}, `192\.0\.2\.7 port 40000: `},
		{"events", []string{"--json"}, `"event":"connect","role":"accept","network":"tcp","address":"192\.0\.2\.7","port":40000`},
		{"many", []string{"-v", "-n", "-k"}, `Connection received on 192\.0\.2\.7 40000\n`},
		{"key", []string{"-v", "-n", "--key-file", key}, `Connection received on 192\.0\.2\.7 40000\n`},
		{"TLS", []string{"-v", "-n", "--ssl"}, `Connection received on 192\.0\.2\.7 40000\n`},
		{"push", []string{"--push"}, `192\.0\.2\.7`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := append(append([]string{"-l", "--accept-proxy"}, test.args...), "127.0.0.1", "0")
			if test.name == "push" {
				args = append(args, testkit.TempFile(t, "x"))
			}
			p := startPurr(t, opts{}, args...)
			addr := ""
			if test.name == "events" {
				m := p.waitErr(regexp.MustCompile(`"event":"listen".*"port":(\d+)`))
				addr = "127.0.0.1:" + m[1]
			} else {
				addr = p.addr()
			}
			c := dialTest(t, "tcp", addr)
			writeAll(t, c, headerOfClient)
			if test.name == "push" {
				writeAll(t, c, "GET /file HTTP/1.0\r\n\r\n")
				testkit.ReadAll(t, c)
			} else {
				writeAll(t, c, "payload")
			}
			_ = c.(*net.TCPConn).CloseWrite()
			p.waitErr(regexp.MustCompile(test.want))
			if strings.Contains(p.err.String(), c.LocalAddr().String()) {
				t.Errorf("the proxy is the peer:\n%s", p.err)
			}
			switch test.name {
			case "messages", "events":
				p.ends(0)
				p.printed("payload")
			}
		})
	}
	for _, way := range []string{"", "--upper"} { // the command has the socket, or pipes
		for head, want := range map[string]string{headerOfClient: "192.0.2.7 40000 TCP\n", "PROXY UNKNOWN\r\n": "", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00": ""} {
			p := startPurr(t, opts{}, append(words("-l --accept-proxy "+way), "-c", command, "127.0.0.1", "0")...)
			c := dialTest(t, "tcp", p.addr())
			if want == "" {
				want = fmt.Sprintf("127.0.0.1 %s TCP\n", portOf(t, c.LocalAddr()))
			}
			writeAll(t, c, head)
			if got := testkit.ReadAll(t, c); got != want {
				t.Errorf("%s: after %q the command has %q, and not %q", way, head, got, want)
			}
			p.ends(0)
		}
	}
}

// A proxy that connects to a Unix socket passes its client on, too.
func TestAcceptProxyOnUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testkit.SocketDir(t), "s")
	p := startPurr(t, opts{}, "-l", "-U", "-v", "-n", "--accept-proxy", "--echo", path)
	p.waitErr(regexp.MustCompile(`Listening on `))
	c := dialTest(t, "unix", path)
	writeAll(t, c, headerOfClient+"hi")
	_ = c.(*net.UnixConn).CloseWrite()
	if got := testkit.ReadAll(t, c); got != "hi" {
		t.Errorf("%q", got)
	}
	p.ends(0)
	p.waitErr(regexp.MustCompile(`Connection received on 192\.0\.2\.7 40000\n`))
}

// A client without a header is reset with one line, and does not use up a
// listener of one client; the one after it is served, and nothing else arrives.
func TestAcceptProxyRejects(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ sends, line string }{
		"silent":    {"", `no PROXY header in time: within 3s`},
		"half":      {"PROXY TCP4 192.0.2.7", `no PROXY header in time: within 3s`},
		"other":     {"GET / HTTP/1.0\r\n\r\n", `no PROXY header `},
		"malformed": {"PROXY TCP4 192.0.2.7 1\x1b 2 3\r\n", `malformed PROXY header: "PROXY TCP4 192\.0\.2\.7 1\\x1b 2 3"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{}, "-l", "--accept-proxy", "--accept-timeout", "60", "127.0.0.1", "0")
			c := dialTest(t, "tcp", p.addr())
			writeAll(t, c, test.sends)
			p.waitErr(regexp.MustCompile(`(?m)^purr: 127\.0\.0\.1 port ` + portOf(t, c.LocalAddr()) + `: ` + test.line + `.*\(--accept-proxy\): reset, nothing of it was taken$`))
			if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
				t.Errorf("it has %q and ends with %v, not with a reset", b, err)
			}
			p.runs()
			c = dialTest(t, "tcp", p.addr())
			writeAll(t, c, headerOfClient+"hi")
			_ = c.Close()
			p.ends(0)
			p.printed("hi")
			p.complains("PROXY header")
		})
	}
}

// The access lists are about the machine that connects, and are asked before
// its header is read.
func TestAcceptProxyAsksAboutTheProxy(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "-l", "-v", "-n", "--accept-proxy", "--allow", "127.0.0.2,192.0.2.7", "--deny", "198.51.100.7", "127.0.0.1", "0")
	if b, _ := io.ReadAll(dialFrom(t, "127.0.0.1", p.addr())); len(b) > 0 {
		t.Errorf("it was sent %q", b)
	}
	p.waitErr(regexp.MustCompile(`(?m)^purr: 127\.0\.0\.1 port \d+: denied by the access lists$`))
	c := dialFrom(t, "127.0.0.2", p.addr())
	writeAll(t, c, strings.Replace(headerOfClient, "192.0.2.7", "198.51.100.7", 1)+"hi")
	_ = c.Close()
	p.ends(0)
	p.printed("hi")
}

// Two hundred clients that send half a header hold nobody up, and leave no
// descriptor behind.
func TestHalfHeaders(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "-l", "-k", "--accept-proxy", "--echo", "127.0.0.1", "0")
	ask := func() {
		t.Helper()
		c := dialTest(t, "tcp", p.addr())
		writeAll(t, c, headerOfClient+"hi")
		_ = c.(*net.TCPConn).CloseWrite()
		if got := testkit.ReadAll(t, c); got != "hi" {
			t.Errorf("%q", got)
		}
		_ = c.Close()
	}
	ask()
	begun := time.Now()
	var all sync.WaitGroup
	for range 200 {
		c := dialTest(t, "tcp", p.addr())
		writeAll(t, c, headerOfClient[:20])
		all.Go(func() {
			if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
				t.Errorf("it has %q and ends with %v, not with a reset", b, err)
			}
		})
	}
	ask()
	t.Logf("served %v after the first of them", time.Since(begun))
	all.Wait()
	testkit.Eventually(t, "their sockets are closed", func() bool { return socketsOf(t, p) == 1 })
	p.runs()
}

// headerTest accepts a client and reads the header that it begins with.
func headerTest(t *testing.T, ln *net.TCPListener) (*net.TCPConn, proxyproto.Header) {
	t.Helper()
	c := acceptTest(t, ln)
	h, err := proxyproto.Receive(c, testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return c, h
}

// A dialer begins with a header of its own addresses, directly and through a
// proxy, where it goes to the peer.
func TestSendProxy(t *testing.T) {
	t.Parallel()
	socks, requests := proxyTest(t, false, new(proxy.Server))
	for _, test := range []struct {
		args []string
		via  bool
	}{
		{words("--send-proxy"), false},
		{words("--send-proxy-v2"), false},
		{words("--send-proxy -x " + socks), true},
	} {
		ln := listenTest(t)
		p := startPurr(t, opts{stdin: strings.NewReader("payload")}, append(append([]string{"-N"}, test.args...), "127.0.0.1", portOf(t, ln.Addr()))...)
		c, h := headerTest(t, ln)
		if test.via {
			<-requests
			if h.Destination.String() != socks || !h.Source.Addr().IsLoopback() {
				t.Errorf("through a proxy the header has %v", h)
			}
		} else if h.Source.String() != c.RemoteAddr().String() || h.Destination.String() != c.LocalAddr().String() {
			t.Errorf("%q: the header has %v", test.args, h)
		}
		if got := testkit.ReadAll(t, c); got != "payload" {
			t.Errorf("%q: %q", test.args, got)
		}
		_ = c.Close()
		p.ends(0)
		p.quiet()
	}
}

// In a tunnel the target gets the address of the client, or what came in its
// header, and then the payload.
func TestSendProxyInTunnel(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"--send-proxy", "--send-proxy-v2"} {
		for _, head := range []string{"", headerOfClient} {
			ln := listenTest(t)
			args := []string{"-l", "-n", version, "-L", ln.Addr().String()}
			if head != "" {
				args = append(args, "--accept-proxy")
			}
			p := startPurr(t, opts{}, append(args, "127.0.0.1", "0")...)
			client := dialTest(t, "tcp", p.addr())
			writeAll(t, client, head+"question")
			_ = client.(*net.TCPConn).CloseWrite()
			c, h := headerTest(t, ln)
			want := client.LocalAddr().String() + " " + client.RemoteAddr().String()
			if head != "" {
				want = "192.0.2.7:40000 198.51.100.1:443"
			}
			if got := fmt.Sprint(h.Source, " ", h.Destination); got != want {
				t.Errorf("%s: the target has %s, and not %s", version, got, want)
			}
			if got := testkit.ReadAll(t, c); got != "question" {
				t.Errorf("%s: the target has %q", version, got)
			}
			writeAll(t, c, "answer")
			_ = c.Close()
			if got := testkit.ReadAll(t, client); got != "answer" {
				t.Errorf("%s: the client has %q", version, got)
			}
			p.ends(0)
		}
	}
}

// With TLS, a key or checked files the header comes first, on each connection.
func TestSendProxyBeforeEncryption(t *testing.T) {
	t.Parallel()
	key := testkit.SecretFile(t, tlsconn.NewKey().String())
	for _, version := range []string{"--send-proxy", "--send-proxy-v2"} {
		p := startPurr(t, opts{}, "-l", "-v", "-n", "--ssl", "--accept-proxy", "127.0.0.1", "0")
		host, port, _ := net.SplitHostPort(p.addr())
		d := startPurr(t, opts{stdin: strings.NewReader("hi")}, "--ssl-insecure", version, host, port)
		d.ends(0)
		p.ends(0)
		p.printed("hi")

		p = startPurr(t, opts{}, "-l", "--key-file", key, "--accept-proxy", "127.0.0.1", "0")
		host, port, _ = net.SplitHostPort(p.addr())
		d = startPurr(t, opts{stdin: strings.NewReader("hi")}, "--key-file", key, version, host, port)
		d.ends(0)
		p.ends(0)
		p.printed("hi")

		dir, from := t.TempDir(), t.TempDir()
		for i := range 40 { // enough for further connections
			testkit.WriteFile(t, filepath.Join(from, fmt.Sprint(i)), testkit.Noise(1<<20))
		}
		p = startPurr(t, opts{dir: dir}, "--pull", "-l", "--accept-proxy", "127.0.0.1", "0")
		host, port, _ = net.SplitHostPort(p.addr())
		d = startPurr(t, opts{}, "--push", version, host, port, from)
		d.ends(0)
		p.ends(0)
		if strings.Contains(p.err.String(), "PROXY") {
			t.Errorf("a connection began without a header:\n%s", p.err)
		}
	}
}

// HAProxy passes clients on to purr and purr passes them on to HAProxy, in both
// versions.
func TestHaproxyHeaders(t *testing.T) {
	t.Parallel()
	haproxy := testkit.Program(t, "haproxy", "haproxy")
	p := startPurr(t, opts{}, "-l", "-k", "--accept-proxy", "-c", "echo $NCAT_REMOTE_ADDR $NCAT_REMOTE_PORT", "127.0.0.1", "0")
	dir := testkit.SocketDir(t)
	config := testkit.TempFile(t, `
defaults
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen one
  bind unix@`+dir+`/one accept-proxy
  server s `+p.addr()+` send-proxy
listen two
  bind unix@`+dir+`/two accept-proxy
  server s `+p.addr()+` send-proxy-v2
frontend echo
  mode http
  bind unix@`+dir+`/echo accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]"
`)
	start(t, opts{}, haproxy, "-db", "-f", config)
	testkit.Eventually(t, "haproxy listens", func() bool {
		c, err := net.Dial("unix", dir+"/echo")
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	for _, name := range []string{"one", "two"} {
		for _, version := range []string{"--send-proxy", "--send-proxy-v2"} {
			first := startPurr(t, opts{}, "-l", version, "-L", "unix:"+dir+"/"+name, "127.0.0.1", "0")
			c := dialTest(t, "tcp", first.addr())
			want := fmt.Sprintf("127.0.0.1 %s\n", portOf(t, c.LocalAddr()))
			if got := testkit.ReadAll(t, c); got != want {
				t.Errorf("%s, %s: the command has %q, and not %q", name, version, got, want)
			}
			_ = c.Close()
			first.ends(0)
		}
	}
	for _, version := range []string{"--send-proxy", "--send-proxy-v2"} {
		front := startPurr(t, opts{}, "-l", version, "-L", "unix:"+dir+"/echo", "127.0.0.1", "0")
		c := dialTest(t, "tcp", front.addr())
		writeAll(t, c, "GET / HTTP/1.0\r\n\r\n")
		want := fmt.Sprintf("127.0.0.1 %s 127.0.0.1 %s", portOf(t, c.LocalAddr()), front.port())
		if got := testkit.ReadAll(t, c); !strings.HasSuffix(got, "\r\n\r\n"+want) {
			t.Errorf("%s: haproxy has %q, and not %q", version, got, want)
		}
		_ = c.Close()
		front.ends(0)
	}
	p.signal(syscall.SIGTERM)
	p.ends(128 + int(syscall.SIGTERM))
	if strings.Contains(p.err.String(), "PROXY") {
		t.Errorf("%s", p.err)
	}
}

// What makes no sense is status 2 before anything is opened.
func TestElsewhereUsage(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--accept-proxy 127.0.0.1 9":                   "option --accept-proxy needs -l: ",
		"-l -u --accept-proxy 0":                       "options --accept-proxy and -u exclude each other: ",
		"--send-proxy --send-proxy-v2 127.0.0.1 9":     "options --send-proxy and --send-proxy-v2 exclude each other: ",
		"-u --send-proxy 127.0.0.1 9":                  "options --send-proxy and -u exclude each other: ",
		"-l --send-proxy-v2 0":                         "options --send-proxy-v2 and -l exclude each other, except with -L: ",
		"-l --proxy-type socks5 --send-proxy 0":        "options --send-proxy and -l exclude each other, except with -L: ",
		"-z --send-proxy 127.0.0.1 9":                  `options --send-proxy and -z or "-- CMD" exclude each other: `,
		"--vsock 2":                                    "option --vsock takes a CID and a port: ",
		"--vsock any 22":                               "option --vsock: the CID any is for a listener: ",
		"--vsock 2 x":                                  `option --vsock: "x" is no port of a VM socket: `,
		"-l --vsock 2 3 4":                             "option --vsock takes a CID and a port: ",
		"--vsock -u 2 22":                              "options --vsock and -u exclude each other: ",
		"--vsock -U 2 22":                              "options --vsock and --unixsock exclude each other: ",
		"--vsock -4 2 22":                              "options --vsock and -4 exclude each other: a VM socket has no IP address",
		"--vsock -p 9 2 22":                            "options --vsock and -p exclude each other: ",
		"--vsock -s 1 2 22":                            "options --vsock and -s exclude each other: ",
		"--vsock -x localhost 2 22":                    "options -x and --vsock exclude each other: ",
		"-l --vsock --allow 127.0.0.1 22":              "options --vsock and --allow exclude each other: ",
		"--ssl --vsock 2 22":                           "options --ssl and --vsock need --ssl-servername, ",
		"-l -L vsock:2:x 0":                            `option -L: "x" is no port of a VM socket: `,
		"-l -x localhost -L vsock:2:22 0":              "options -L and -x exclude each other: ",
		"--wait-for 9 --send-proxy 127.0.0.1 9 -- cat": `options --send-proxy and -z or "-- CMD" exclude each other: `,
	} {
		p := startPurr(t, opts{}, words(line)...)
		p.ends(2)
		p.complains(want)
	}
}

// activate starts purr at the first client of a socket that systemd binds:
// its options are in front of the word "purr", and purr's behind it. A "+" in a
// line of the shell is a blank.
func activate(t *testing.T, o opts, line string) *process {
	t.Helper()
	program := testkit.Program(t, "systemd-socket-activate", "systemd")
	args := words(line)
	args[slices.Index(args, "purr")] = purrPath(t)
	for i, arg := range args {
		if arg == "-c" {
			args[i+1] = strings.ReplaceAll(args[i+1], "+", " ")
		}
	}
	for _, name := range []string{runAsPurr, "GORACE", "LC_ALL", "TMPDIR"} { // it passes no others on
		args = append([]string{"-E", name}, args...)
	}
	p := start(t, o, program, args...)
	p.waitErr(regexp.MustCompile(`Listening on .* as 3\.`))
	return p
}

// A listener without a port serves the socket of the service manager, whatever
// its kind, and its clients as ever.
func TestSocketOfServiceManager(t *testing.T) {
	t.Parallel()
	dir := testkit.SocketDir(t)
	tcp, udp := "127.0.0.1:"+freePort(t, "tcp"), "127.0.0.1:"+freePort(t, "udp")
	const fds = `test+-S+/proc/$$/fd/3;echo+$?+${LISTEN_FDS-none}+${LISTEN_PID-none};cat`
	for _, test := range []struct {
		line, network, addr, reply string
	}{
		{"-l " + tcp + " purr -l -k -e cat", "tcp", tcp, "hi"},
		{"-l " + tcp + " purr -l -k -v -c " + fds, "tcp", tcp, "1 none none\nhi"},
		{"-l " + tcp + " purr -l --echo --upper", "tcp", tcp, "HI"},
		{"-l " + dir + "/s purr -l -v --echo", "unix", dir + "/s", "hi"},
		{"-l " + dir + "/k purr -l -k -U -v --echo", "unix", dir + "/k", "hi"},
		{"-d -l " + udp + " purr -l -k -v --echo", "udp", udp, "hi"},
		{"-d -l " + udp + " purr -l -u -k --echo", "udp", udp, "hi"},
		{"-d -l " + dir + "/d purr -l -k --echo", "unixgram", dir + "/d", "hi"},
	} {
		p := activate(t, opts{}, test.line)
		var c net.Conn
		if test.network == "unixgram" {
			own := &net.UnixAddr{Name: dir + "/own", Net: "unixgram"}
			conn, err := net.DialUnix("unixgram", own, &net.UnixAddr{Name: test.addr, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
			c = conn
		} else {
			c = dialTest(t, test.network, test.addr)
		}
		writeAll(t, c, "hi")
		if half, ok := c.(interface{ CloseWrite() error }); ok && test.network != "unixgram" {
			_ = half.CloseWrite()
			if got := testkit.ReadAll(t, c); got != test.reply {
				t.Errorf("%s: %q, and not %q", test.line, got, test.reply)
			}
		} else if got := testkit.ReadN(t, c, 2); got != test.reply {
			t.Errorf("%s: %q", test.line, got)
		}
		_ = c.Close()
		if strings.Contains(test.line, " -k") {
			p.runs()
			p.signal(syscall.SIGTERM)
			p.ends(128 + int(syscall.SIGTERM))
		} else {
			p.ends(0)
		}
		if strings.HasPrefix(test.addr, dir) {
			if _, err := os.Lstat(test.addr); err != nil {
				t.Errorf("%s: the socket of systemd: %v", test.line, err)
			}
		}
		if strings.Contains(test.line, "-v") && strings.Contains(p.err.String(), "not confined") {
			t.Errorf("%s: %s", test.line, p.err)
		}
	}
}

// Checked files come over the socket of the service manager, too: then the
// operands are paths, unless the first one is an address.
func TestFilesOverSocketOfServiceManager(t *testing.T) {
	t.Parallel()
	dir, file := t.TempDir(), testkit.TempFile(t, "content")
	for _, test := range []struct{ own, theirs string }{
		{"--pull -l " + dir, "--push %s %s " + file},
		{"--pull -l --force", "--push %s %s " + file},
		{"--push -l " + file, "--pull %s %s " + dir + " --force"},
	} {
		port := freePort(t, "tcp")
		p := activate(t, opts{dir: dir}, "-l 127.0.0.1:"+port+" purr "+test.own)
		startPurr(t, opts{}, words(fmt.Sprintf(test.theirs, "127.0.0.1", port))...).ends(0)
		p.ends(0)
		testkit.HasContent(t, filepath.Join(dir, filepath.Base(file)), "content")
		_ = os.Remove(filepath.Join(dir, filepath.Base(file)))
	}
	port, other := freePort(t, "tcp"), freePort(t, "tcp")
	p := activate(t, opts{}, "-l 127.0.0.1:"+port+" purr --pull -l "+other+" "+dir)
	_ = dialTest(t, "tcp", "127.0.0.1:"+port).Close()
	p.waitErr(regexp.MustCompile(`Execing `))
	startPurr(t, opts{}, "--push", "--wait-for", "20", "127.0.0.1", other, file).ends(0)
	p.ends(0)
}

// Sockets that purr cannot serve are status 2.
func TestOtherSocketsOfServiceManager(t *testing.T) {
	t.Parallel()
	port := freePort(t, "tcp")
	for line, want := range map[string]string{
		"-l %s -l " + testkit.SocketDir(t) + "/s purr -l": "the variable LISTEN_FDS: 2 sockets are passed on",
		"-l %s purr -l -u":           "options -u, -U and --vsock are about another socket than that of LISTEN_FDS",
		"-l %s purr -l -U":           "options -u, -U and --vsock are about another socket than that of LISTEN_FDS",
		"-l %s purr -l -s 127.0.0.1": "no port: ",
	} {
		p := activate(t, opts{}, fmt.Sprintf(line, "127.0.0.1:"+port))
		if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil { // else it has ended meanwhile
			defer c.Close()
		}
		p.ends(2)
		p.waitErr(regexp.MustCompile(`(?m)^purr: ` + want))
	}
	p := startPurr(t, opts{env: []string{"LISTEN_FDS=1", "LISTEN_PID=1"}}, "-l") // another process's
	p.ends(2)
	p.complains("no port: ")
}

// vsockPort returns a port of VM sockets of this machine. It skips the test if
// the machine cannot connect to itself.
func vsockPort(t *testing.T) string {
	t.Helper()
	for {
		port := fmt.Sprint(1<<20 + rand.Uint32N(1<<30))
		ln, err := (*sock.Inherited)(nil).Listen(t.Context(), net.ListenConfig{}, "vsock", "vsock:any:"+port)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			testkit.NotHere(t, fmt.Sprintf("sockets of virtual machines (AF_VSOCK: %v)", err))
		}
		c, err := sock.DialVM(t.Context(), net.Dialer{Timeout: time.Second}, "vsock:local:"+port)
		if err != nil {
			testkit.NotHere(t, fmt.Sprintf("a VM socket to this machine (module vsock_loopback: %v)", err))
		}
		_ = c.Close()
		_ = ln.Close()
		return port
	}
}

// Machines talk with each other in every mode: late answers after a half-close,
// many clients, commands, tunnels, checks, timeouts, keys and files.
func TestVsock(t *testing.T) {
	t.Parallel()
	vsockPort(t)
	key := testkit.SecretFile(t, tlsconn.NewKey().String())
	noise := testkit.Noise(3 << 20)
	listens := regexp.MustCompile(`(?m)^Listening on vsock:any:\d+$`)
	t.Run("conversation", func(t *testing.T) {
		t.Parallel()
		for _, args := range [][]string{nil, {"--key-file", key}, {"--rate", "100M"}} {
			port := vsockPort(t)
			p := startPurr(t, opts{stdin: strings.NewReader("answer")}, append([]string{"-v", "-l", "--vsock", port}, args...)...)
			p.waitErr(listens)
			d := startPurr(t, opts{stdin: strings.NewReader(noise)}, append([]string{"--vsock", "local", port}, args...)...)
			d.ends(0)
			d.printed("answer")
			p.ends(0)
			p.printed(noise)
		}
	})
	t.Run("late answer of commands", func(t *testing.T) {
		t.Parallel()
		for _, way := range []string{"", "--upper"} {
			port := vsockPort(t)
			p := startPurr(t, opts{}, append(words("-v -l -k "+way), "-c", "n=$(wc -c); echo $n $NCAT_PROTO $NCAT_REMOTE_ADDR", "--vsock", port)...)
			p.waitErr(listens)
			for range 3 {
				d := startPurr(t, opts{stdin: strings.NewReader(noise)}, "-N", "--vsock", "1", port)
				d.ends(0)
				d.printed(fmt.Sprintf("%d VSOCK 1\n", len(noise)))
			}
			p.runs()
			p.signal(syscall.SIGTERM)
			p.ends(128 + int(syscall.SIGTERM))
		}
	})
	t.Run("tunnel", func(t *testing.T) {
		t.Parallel()
		port := vsockPort(t)
		target := startPurr(t, opts{}, "-v", "-l", "-k", "--vsock", port, "-L", freeTarget(t))
		target.waitErr(listens)
		p := startPurr(t, opts{}, "-l", "-k", "-L", "vsock:local:"+port, "127.0.0.1", "0")
		if got := askTunnel(t, "tcp", p.addr(), noise); got != "late answer to "+noise {
			t.Errorf("%s", testkit.Brief(got))
		}
	})
	t.Run("check and refusal", func(t *testing.T) {
		t.Parallel()
		port := vsockPort(t)
		startPurr(t, opts{}, "-z", "--vsock", "local", port).ends(1)
		d := startPurr(t, opts{}, "--vsock", "local", port)
		d.ends(1)
		d.complains("connect to vsock:local:" + port + " failed: ")
		p := startPurr(t, opts{}, "-v", "-l", "-k", "--echo", "--vsock", "any", port)
		p.waitErr(listens)
		startPurr(t, opts{}, "-z", "--vsock", "local", port).ends(0)
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		port := vsockPort(t)
		p := startPurr(t, opts{openStdin: true}, "-v", "-l", "-w", "0.5", "--vsock", port)
		p.waitErr(listens)
		startPurr(t, opts{openStdin: true}, "--vsock", "local", port)
		p.waitErr(regexp.MustCompile(`(?m)^purr: vsock:1:\d+: idle for 500ms`))
		p.ends(0)
	})
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		dir, port, file := t.TempDir(), vsockPort(t), testkit.TempFile(t, noise)
		p := startPurr(t, opts{}, "-v", "--pull", "-l", "--vsock", port, dir)
		p.waitErr(listens)
		startPurr(t, opts{}, "--push", "--vsock", "local", port, file).ends(0)
		p.ends(0)
		testkit.HasContent(t, filepath.Join(dir, filepath.Base(file)), noise)
	})
}

// A file with the name of the address is not touched.
func TestVsockRemovesNoFile(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), vsockPort(t)
	path := filepath.Join(dir, "vsock:any:"+port)
	testkit.WriteFile(t, path, "mine")
	p := startPurr(t, opts{dir: dir}, "-v", "-l", "--vsock", port)
	p.waitErr(regexp.MustCompile(`Listening on`))
	p.signal(syscall.SIGTERM)
	p.ends(128 + int(syscall.SIGTERM))
	testkit.HasContent(t, path, "mine")
}

// A dialer of a group or of a broadcast address prints the answers of all
// members, which come from addresses and ports of their own.
func TestGroupAnswers(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, `
		sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
		ip link add d0 type veth peer name d1
		ip link set d1 up
		ip addr add 10.9.0.1/24 broadcast 10.9.0.255 dev d0
		ip addr add 10.9.0.2/24 dev d0
		ip link set d0 up multicast on
		ip addr add fd09::1/64 dev d0 nodad
		ip addr add fd09::2/64 dev d0 nodad
		ip route add default dev d0`)
	for _, test := range []struct{ group, bound, network, one, two string }{
		{"239.9.9.9", "239.9.9.9", "udp4", "10.9.0.1", "10.9.0.2"},
		{"ff15::99", "ff15::99", "udp6", "fd09::1", "fd09::2"},
		{"10.9.0.255", "0.0.0.0", "udp4", "10.9.0.1", "10.9.0.2"},
		{"255.255.255.255", "0.0.0.0", "udp4", "10.9.0.1", "10.9.0.2"},
	} {
		member := startPurr(t, opts{}, "-v", "-n", "-u", "-l", "-k", test.bound, "0")
		_, port := member.bound()
		p := startPurr(t, opts{stdin: strings.NewReader("who?"), ownStdout: true}, "-b", "-M", "3", "-u", "-w", "20", test.group, port)
		member.waitOut(`who\?`)
		from := member.waitErr(regexp.MustCompile(`Connection received on (\S+) (\d+)`))
		to, err := net.ResolveUDPAddr(test.network, net.JoinHostPort(from[1], from[2]))
		if err != nil {
			t.Fatal(err)
		}
		for _, own := range []string{test.one, test.two} {
			c, err := net.ListenPacket(test.network, net.JoinHostPort(own, "0"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.WriteTo([]byte("I am "+own+"."), to); err != nil {
				t.Fatal(err)
			}
			if got := testkit.ReadN(t, p.stdout, len("I am "+own+".")); got != "I am "+own+"." {
				t.Errorf("%s: %q", test.group, got)
			}
			_ = c.Close()
		}
		p.signal(syscall.SIGTERM)
		p.ends(128 + int(syscall.SIGTERM))
		member.signal(syscall.SIGTERM)
		member.ends(128 + int(syscall.SIGTERM))
	}
}
