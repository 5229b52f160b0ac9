package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/proxy"
	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// proxyTest runs a proxy: SOCKS5, or HTTP if web is true. requests has every
// target that it was asked for.
func proxyTest(t testing.TB, web bool, s *proxy.Server) (addr string, requests chan string) {
	t.Helper()
	ln := listenTest(t)
	_ = ln.SetDeadline(time.Time{})
	requests = make(chan string, 100)
	dial := s.Dial
	s.Dial = func(ctx context.Context, host string, port int) (net.Conn, error) {
		target := net.JoinHostPort(host, strconv.Itoa(port))
		requests <- target
		if dial != nil {
			return dial(ctx, host, port)
		}
		return new(net.Dialer).DialContext(ctx, "tcp", target)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				if web {
					_ = s.HTTP(ctx, c)
				} else {
					_ = s.SOCKS5(ctx, c)
				}
			}()
		}
	}()
	return ln.Addr().String(), requests
}

// What is sent and received through a proxy is what the peer has, a late answer
// included. The proxy resolves the name.
func TestThroughProxy(t *testing.T) {
	t.Parallel()
	socks, _ := proxyTest(t, false, new(proxy.Server))
	web, _ := proxyTest(t, true, new(proxy.Server))
	closed, _ := proxyTest(t, false, &proxy.Server{User: "me", Password: "a:b"})
	closedWeb, _ := proxyTest(t, true, &proxy.Server{User: "me", Password: "a:b"})
	for _, test := range []struct {
		options []string
		env     string
	}{
		{[]string{"-x", socks}, ""},
		{[]string{"-X5", "-x" + socks}, ""},
		{[]string{"-n", "-x", socks}, ""}, // the proxy resolves it
		{[]string{"-X", "connect", "-x", web}, ""},
		{[]string{"--proxy", web}, ""},
		{[]string{"--proxy", socks, "--proxy-type", "socks5"}, ""},
		{[]string{"--proxy", "socks5h://me:a%3Ab@" + closed}, ""},
		{[]string{"--proxy", "http://" + closedWeb, "--proxy-auth", "me:a:b"}, ""},
		{[]string{"-x", closed}, "NCAT_PROXY_AUTH=me:a:b"},
		{[]string{"-x", closed, "-P", "me"}, "NC_PROXY_AUTH=me:a:b"},
		{[]string{"-x", socks, "--proxy-dns", "local"}, ""},
	} {
		ln := listenTest(t)
		p := startPurr(t, opts{stdin: strings.NewReader("question"), env: []string{test.env}}, append(append([]string{"-N"}, test.options...), "localhost", portOf(t, ln.Addr()))...)
		c := acceptTest(t, ln)
		if got := testkit.ReadAll(t, c); got != "question" {
			t.Errorf("%q: the peer got %q", test.options, got)
		}
		writeAll(t, c, "late answer")
		_ = c.Close()
		p.ends(0)
		p.printed("late answer")
		p.quiet()
	}
}

// The certificate of an HTTPS proxy is verified although the purr is confined
// by then, and may open no file.
func TestTunnelThroughHTTPSProxy(t *testing.T) {
	t.Parallel()
	needsLandlock(t)
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	roots := testkit.TempFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	ln := tls.NewListener(listenTest(t), server.TLS)
	go func() {
		if c, err := ln.Accept(); err == nil {
			s := proxy.Server{Dial: func(ctx context.Context, host string, port int) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			}}
			_ = s.HTTP(t.Context(), c)
		}
	}()
	p := startPurr(t, opts{env: []string{"SSL_CERT_FILE=" + roots}}, "-v", "-n", "-l", "-L", freeTarget(t), "--proxy", "https://"+ln.Addr().String(), "127.0.0.1", "0")
	waitLine(p, "purr: confined: no file; ")
	if got := askTunnel(t, "tcp", p.addr(), "question"); !strings.Contains(got, "question") {
		t.Errorf("got %q", got)
	}
	p.ends(0)
}

// Each no of a proxy has its status and one line, without a password. Nothing
// is dialled, and the peer gets no byte.
func TestProxyRefusals(t *testing.T) {
	t.Parallel()
	socks, _ := proxyTest(t, false, new(proxy.Server))
	web, _ := proxyTest(t, true, new(proxy.Server))
	closed, _ := proxyTest(t, false, &proxy.Server{User: "me", Password: "secret"})
	closedWeb, _ := proxyTest(t, true, &proxy.Server{User: "me", Password: "secret"})
	forbidden, _ := proxyTest(t, true, &proxy.Server{Dial: func(context.Context, string, int) (net.Conn, error) { return nil, proxy.ErrNotAllowed }})
	port, none := closedPorts(t, 2)[0], closedPorts(t, 2)[1]
	silent := listenTest(t)
	clear := listenTest(t)
	go func() {
		for {
			c, err := clear.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "SSH-2.0-x\r\n")
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	for _, test := range []struct {
		options []string
		status  int
		words   string
	}{
		{[]string{"-x", "127.0.0.1:" + none}, 1, "purr: connect to the proxy 127.0.0.1 port " + none + " (tcp) failed: Connection refused"},
		{[]string{"-x", "no..such"}, 1, `getaddrinfo for host "no..such"`},
		{[]string{"-x", socks}, 1, "connect to 127.0.0.1 port " + port + " (tcp) through " + socks + " failed: the proxy cannot connect: Connection refused"},
		{[]string{"--proxy", web}, 1, "the proxy cannot connect: 504 Gateway Timeout"},
		{[]string{"--proxy", forbidden}, 4, "the proxy does not allow it: 403 Forbidden"},
		{[]string{"-x", clear.Addr().String()}, 6, `it does not speak SOCKS5, and answered "SSH-2.0-x\r\n"`},
		{[]string{"--proxy", clear.Addr().String()}, 6, `it does not speak HTTP, and answered "SSH-2.0-x\r\n"`},
		{[]string{"-x", closed}, 7, "the proxy wants a user and password; say --proxy-auth USER:PASS, or -P USER"},
		{[]string{"-x", closed, "--proxy-auth", "me:secret2"}, 7, "the proxy does not accept the user and password"},
		{[]string{"--proxy", "http://me:secret2@" + closedWeb}, 7, "the proxy does not accept the user and password: 407"},
		{[]string{"-w", "0.2", "-x", silent.Addr().String()}, 1, "no answer from the proxy: nothing within 200ms"},
		{[]string{"-n", "--proxy-dns", "local", "-x", socks, "no..such"}, 2, "option -n looks no names up"},
		{[]string{"--proxy-dns", "local", "-x", socks, "no..such"}, 1, `getaddrinfo for host "no..such"`},
		{[]string{"--proxy-dns", "none", "-x", socks, "no..such"}, 1, `names are not resolved`},
	} {
		host := []string{"127.0.0.1", port}
		if strings.HasPrefix(test.options[len(test.options)-1], "no..such") && len(test.options) > 2 {
			host = host[1:]
		}
		p := startPurr(t, opts{stdin: strings.NewReader("payload")}, append(test.options, host...)...)
		p.ends(test.status)
		p.printed("")
		p.complains(test.words)
		if said := p.said(); strings.Contains(said, "secret") || strings.Count(said, "\n") != 1 {
			t.Errorf("%q: said %q", test.options, said)
		}
	}
}

// Nothing of the payload is sent before the proxy has agreed.
func TestProxyGetsNoPayload(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	p := startPurr(t, opts{stdin: strings.NewReader("payload")}, "-x", ln.Addr().String(), "target", "80")
	c := acceptTest(t, ln)
	testkit.ReadN(t, c, 3)
	writeAll(t, c, "\x05\x00")
	testkit.ReadN(t, c, 4+1+len("target")+2)
	writeAll(t, c, "\x05\x02")
	if rest := testkit.ReadAll(t, c); rest != "" {
		t.Errorf("the proxy got %q", rest)
	}
	p.ends(4)
}

// -z asks through the proxy: status 0 for an open port, and nc's line.
func TestCheckThroughProxy(t *testing.T) {
	t.Parallel()
	socks, requests := proxyTest(t, false, new(proxy.Server))
	ln := listenTest(t)
	open, closed := portOf(t, ln.Addr()), closedPorts(t, 1)[0]
	p := startPurr(t, opts{}, "-zv", "-x", socks, "localhost", open)
	p.ends(0)
	if said := p.said(); !strings.HasPrefix(said, "Connection to localhost "+open+" port [tcp/") || !strings.HasSuffix(said, "] succeeded!\n") {
		t.Errorf("said %q", said)
	}
	if got := <-requests; got != "localhost:"+open {
		t.Errorf("the proxy was asked for %s", got)
	}
	p = startPurr(t, opts{}, "-z", "-x", socks, "localhost", closed)
	p.ends(1)
	p.quiet()
	p = startPurr(t, opts{}, "-zv", "-x", socks, "localhost", closed)
	p.ends(1)
	p.complains("the proxy cannot connect: Connection refused")
	startPurr(t, opts{}, "-z", "-x", socks, "localhost", closed+","+open).ends(0)
	startPurr(t, opts{}, "-z", "--all", "-x", socks, "localhost", closed+","+open).ends(1)
}

// --wait-for waits for what is behind the proxy.
func TestWaitThroughProxy(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	tries := 0
	socks, _ := proxyTest(t, false, &proxy.Server{Dial: func(ctx context.Context, host string, port int) (net.Conn, error) {
		if tries++; tries < 3 {
			return nil, syscall.ECONNREFUSED
		}
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}})
	p := startPurr(t, opts{}, "--wait-for", "30s", "-x", socks, "target", "80", "--", "echo", "there")
	p.ends(0)
	p.printed("there\n")
}

// A push works through a proxy, with a key: its further connections go through
// it, too.
func TestPushThroughProxy(t *testing.T) {
	t.Parallel()
	socks, requests := proxyTest(t, false, new(proxy.Server))
	dir, key := t.TempDir(), keyed(tlsconn.NewKey())
	content := testkit.Noise(8 << 20)
	files := []string{named(t, "a", content), named(t, "b", content), named(t, "c", content), named(t, "d", content)}
	receiver := startPurr(t, opts{dir: dir, env: key}, "--pull", "-l", "127.0.0.1", "0")
	port := receiver.port()
	p := startPurr(t, opts{env: key}, append([]string{"--push", "-x", socks, "localhost", port}, files...)...)
	p.ends(0)
	receiver.ends(0)
	for _, file := range files {
		if got := testkit.ReadFile(t, filepath.Join(dir, filepath.Base(file))); got != content {
			t.Error("stored:", testkit.Brief(got))
		}
	}
	if len(requests) < 2 {
		t.Errorf("%d connections", len(requests))
	}
	for range len(requests) {
		if got := <-requests; got != "localhost:"+port {
			t.Errorf("the proxy was asked for %s", got)
		}
	}
}

// A raw file has the number of its own bytes acknowledged, without those to the
// proxy.
func TestSendFileThroughProxy(t *testing.T) {
	t.Parallel()
	socks, _ := proxyTest(t, false, new(proxy.Server))
	ln := listenTest(t)
	p := startPurr(t, opts{}, "--send-file", testkit.TempFile(t, testkit.Noise(100_000)), "-x", socks, "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	if got := testkit.ReadAll(t, c); len(got) != 100_000 {
		t.Errorf("%d bytes", len(got))
	}
	_ = c.Close()
	p.ends(0)
	p.complains("sent 100000 bytes")
}

// Wrong command lines open nothing, and say what to do instead.
func TestProxyCommandLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--proxy foo://h:1 x 80":               `option --proxy: scheme "foo": say socks4, socks4a, socks5, socks5h, http or https`,
		"--proxy ::1:1080 x 80":                `option --proxy: an IPv6 address stands in brackets: say "[::1]:1080"`,
		"--proxy h -u x 80":                    "options --proxy and -u exclude each other: a proxy carries streams",
		"-x h -U path":                         "options -x and -U exclude each other",
		"-x h -l 80":                           "options -x and -l exclude each other",
		"-F --proxy HTTPS://h x 80":            "options -F and an https proxy exclude each other: the program behind stdout does not have the state of the encryption",
		"-F --proxy-type https --proxy h x 80": "options -F and an https proxy exclude each other",
		"-x h -X 6 x 80":                       `option -X: "6": say 4, 5 or connect`,
		"-X 5 x 80":                            "option -X needs a proxy: say -x HOST[:PORT]",
		"-z --json -x h x 80":                  "options -z -x and --json, --banner or --parallel exclude each other",
		"--proxy-auth me:secret x 80":          "option --proxy-auth needs a proxy",
	} {
		_, err := newConfig(strings.Fields(line))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// -F needs a Unix socket at stdout, and nothing is opened without.
func TestPassNeedsASocket(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	p := startPurr(t, opts{}, "-F", "127.0.0.1", portOf(t, ln.Addr()))
	p.ends(2)
	p.complains("option -F: stdout is no Unix socket: it is for ssh's ProxyUseFdpass")
	_ = ln.SetDeadline(time.Now())
	if _, err := ln.Accept(); err == nil {
		t.Error("it has connected")
	}
	for _, line := range []string{"-F -l 80", "-F -z h 80", "-F -u h 80", "-F --echo h 80", "-F -L x:1 h 80"} {
		if _, err := newConfig(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), "option -F goes with HOST PORT") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// ssh runs through purr and a proxy, as through nc.
func TestSSHThroughProxy(t *testing.T) {
	t.Parallel()
	for program, pkg := range map[string]string{"/usr/sbin/sshd": "openssh-server", "ssh": "openssh-client", "microsocks": "microsocks"} {
		testkit.Program(t, program, pkg)
	}
	if !testkit.InNamespaces(t) {
		return
	}
	dir := t.TempDir()
	for _, f := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, f)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	testkit.WriteFile(t, "/run/sshd/x", "")
	conf := testkit.TempFile(t, fmt.Sprintf("ListenAddress 127.0.0.1:2222\nHostKey %s/host\nAuthorizedKeysFile %s/user.pub\nPermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\n", dir, dir))
	for addr, argv := range map[string][]string{
		"127.0.0.1:2222": {"/usr/sbin/sshd", "-D", "-e", "-f", conf},
		"127.0.0.1:1080": {"microsocks", "-i", "127.0.0.1", "-p", "1080"},
	} {
		start(t, opts{}, argv[0], argv[1:]...)
		testkit.Eventually(t, addr, func() bool {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
	}
	for _, proxyOptions := range [][]string{
		{"ProxyCommand=purr -X 5 -x 127.0.0.1:1080 %h %p"},
		{"ProxyCommand=purr -F -x 127.0.0.1:1080 %h %p", "ProxyUseFdpass=yes"},
		{"ProxyCommand=purr -F %h %p", "ProxyUseFdpass=yes"},
	} {
		args := []string{"-F", "none", "-i", filepath.Join(dir, "user"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-p", "2222"}
		for _, o := range proxyOptions {
			args = append(args, "-o", o)
		}
		p := start(t, opts{env: []string{"PATH=" + filepath.Dir(purrPath(t)) + ":" + os.Getenv("PATH")}}, "ssh", append(args, "root@localhost", "head -c 1000000 /dev/zero | wc -c")...)
		p.ends(0)
		p.printed("1000000\n")
	}
}
