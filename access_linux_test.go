package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// dialFrom connects to addr from another address of the loopback interface.
func dialFrom(t *testing.T, from, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: testkit.Patience}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return c
}

// A denied client is closed before a byte, also on a dual-stack socket, and
// does not use up the listener of one client or its --accept-timeout; the
// permitted one is served.
func TestDeniedClientsUseNothingUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	testkit.WriteFile(t, filepath.Join(dir, "list"), "# ours\n127.0.0.1 127.0.0.4 # two\n\n::1\n")
	for _, test := range []struct{ args, host string }{
		{"--allow 127.0.0.1", "127.0.0.1"},
		{"--allow 127.0.0.1", ""},
		{"--deny 127.0.0.2-3", ""},
		{"--deny 127.0.0.2/31 --allow 127.0.0.0/8", ""},
		{"--deny 192.0.2.1 --deny 127.0.0.3,127.0.0.2", ""},
		{"--allowfile list", ""},
		{"--allow 0.0.0.0/0,::/0 --denyfile list --deny 127.0.0.2,127.0.0.3", ""},
	} {
		t.Run(test.args+" "+test.host, func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{dir: dir}, words("-v -n -l --accept-timeout 60 "+test.args+" "+test.host+" 0")...)
			addr := net.JoinHostPort("127.0.0.1", p.port())
			denied := []string{"127.0.0.2", "127.0.0.3"}
			if strings.Contains(test.args, "denyfile") {
				denied = append(denied, "127.0.0.1", "127.0.0.4")
			}
			for _, from := range denied {
				if b, _ := io.ReadAll(dialFrom(t, from, addr)); len(b) > 0 {
					t.Errorf("%s was sent %q", from, b)
				}
				p.waitErr(regexp.MustCompile(`(?m)^purr: ` + regexp.QuoteMeta(from) + ` port \d+: denied by the access lists$`))
			}
			p.runs()
			from := "127.0.0.1"
			if strings.Contains(test.args, "denyfile") {
				from = "127.0.0.5"
			}
			c := dialFrom(t, from, addr)
			writeAll(t, c, "hello")
			_ = c.Close()
			p.ends(0)
			p.printed("hello")
			if n := strings.Count(p.err.String(), "Connection received on "); n != 1 {
				t.Errorf("%d clients were greeted:\n%s", n, p.err)
			}
		})
	}
}

// The lists hold for every listener: with -k, with a key before its handshake,
// and with --push before HTTP.
func TestAccessListsInEveryMode(t *testing.T) {
	t.Parallel()
	key := testkit.SecretFile(t, tlsconn.NewKey().String())
	for _, args := range []string{"-k", "-k --echo", "--key-file " + key, "--key-file " + key + " -k", "--push", "--pull -k"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			args := append(words("-l -v --deny 127.0.0.2 "+args), "127.0.0.1", "0")
			if strings.Contains(strings.Join(args, " "), "--push") {
				args = append(args, testkit.TempFile(t, "x"))
			}
			p := startPurr(t, opts{dir: dir}, args...)
			c := dialFrom(t, "127.0.0.2", p.addr())
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			if b, _ := io.ReadAll(c); len(b) > 0 {
				t.Errorf("it was sent %q", b)
			}
			p.waitErr(regexp.MustCompile(`denied`))
			ok := dialFrom(t, "127.0.0.1", p.addr())
			switch joined := strings.Join(args, " "); {
			case strings.Contains(joined, "--echo"):
				writeAll(t, ok, "hi")
				if got := testkit.ReadN(t, ok, 2); got != "hi" {
					t.Errorf("%q", got)
				}
			case strings.Contains(joined, "--push"), strings.Contains(joined, "--pull"):
				writeAll(t, ok, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
				testkit.ReadN(t, ok, 8)
			default:
				p.waitErr(regexp.MustCompile(`Connection received on `))
			}
			p.runs()
			p.signal(syscall.SIGTERM)
			p.ends(128 + int(syscall.SIGTERM))
			if strings.Contains(p.err.String(), "handshake with 127.0.0.2") {
				t.Errorf("a denied client was in a handshake:\n%s", p.err)
			}
		})
	}
}

// Denied datagrams are dropped: they are not printed, become no peer, and use
// up neither -W nor --accept-timeout. One line is for all of an address.
func TestDeniedDatagrams(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-W 1", "-W 1 -k", "-W 1 --echo", "-W 1 -k --echo"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{}, words("-u -l -v -n --accept-timeout 60 --allow 127.0.0.1 "+args+" 0")...)
			to, _ := net.ResolveUDPAddr("udp", net.JoinHostPort("127.0.0.1", p.port()))
			from := func(ip string) *net.UDPConn {
				c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)}, to)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				return c
			}
			denied := from("127.0.0.2")
			for range 3 {
				writeAll(t, denied, "no")
			}
			p.waitErr(regexp.MustCompile(`(?m)^purr: 127\.0\.0\.2 port \d+: denied by the access lists$`))
			p.runs()
			writeAll(t, from("127.0.0.1"), "yes")
			p.ends(0)
			p.printed("yes")
			if n := strings.Count(p.err.String(), "denied"); n != 1 || !strings.Contains(p.err.String(), "Connection received on 127.0.0.1 ") {
				t.Errorf("%d lines about denied datagrams:\n%s", n, p.err)
			}
		})
	}
}

// A bad entry, and lists where there is no client to ask about, open nothing.
func TestAccessUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	testkit.WriteFile(t, bad, "10.0.0.1\n10.0.0.300 # too much\n")
	for args, want := range map[string]string{
		"-l --allow 10.0.0.0/40 80":            `option --allow: "10.0.0.0/40" is no address, network or name`,
		"-l --deny 10.0.0.1,0x7f000001 80":     `option --deny: "0x7f000001" is no address, network or name`,
		"-l --allowfile " + bad + " 80":        `option --allowfile: ` + bad + `: line 2: "10.0.0.300" is no address, network or name`,
		"-l --denyfile " + dir + "/missing 80": `option --denyfile: open ` + dir + `/missing: no such file or directory`,
		"--allow 10.0.0.1 h 80":                "option --allow needs -l: a dialer chooses whom it calls",
		"--denyfile " + os.DevNull + " h 80":   "option --denyfile needs -l: a dialer chooses whom it calls",
		"-l -U --deny 10.0.0.1 path":           "options --deny and -U exclude each other: a Unix socket's clients have no addresses; the permissions of its file say who may connect",
		"-l -n --deny localhost 80":            "option -n looks no names up, and localhost is no IP address: leave -n out",
	} {
		_, err := newConfig(words(args))
		if _, usage := err.(usageError); !usage || err.Error() != want {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

// A name that does not resolve is status 1, and no socket is bound.
func TestAccessNames(t *testing.T) {
	t.Parallel()
	portFile := filepath.Join(t.TempDir(), "port")
	for _, mode := range []string{"-l", "-u -l"} {
		p := startPurr(t, opts{}, words(mode+" --port-file "+portFile+" --deny nosuch.invalid 0")...)
		p.ends(1)
		p.complains(`getaddrinfo for host "nosuch.invalid" port 0: `)
		testkit.Absent(t, portFile)
	}
	p := startPurr(t, opts{}, "-l", "-4", "--allow", "localhost", "0")
	_, _ = io.ReadAll(dialFrom(t, "127.0.0.2", net.JoinHostPort("127.0.0.1", p.port())))
	p.runs()
	_ = dialFrom(t, "127.0.0.1", net.JoinHostPort("127.0.0.1", p.port())).Close()
	p.ends(0)
}
