package main

import (
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"purr/internal/testkit"
)

// purr is a proxy, for purr, curl and other netcats; a late answer arrives, and
// without the password nothing is dialled.
func TestProxyServer(t *testing.T) {
	t.Parallel()
	testkit.Program(t, "curl", "curl")
	testkit.Program(t, "nc.openbsd", "netcat-openbsd")
	target := strings.Split(freeTarget(t), ":")
	web := listenTest(t)
	go func() {
		for {
			c, err := web.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\npage")
			_ = c.Close()
		}
	}()
	url := "http://" + web.Addr().String() + "/"
	for _, kind := range []string{"http", "socks5"} {
		for _, password := range []string{"", "me:a:b"} {
			args := []string{"-l", "--proxy-type", kind}
			if password != "" {
				args = append(args, "--proxy-auth", password)
			}
			p := startPurr(t, opts{}, append(args, "127.0.0.1", "0")...)
			addr := p.addr()
			at, user := kind+"://"+addr, ""
			if password != "" {
				user = "me:a%3Ab@"
			}
			for range 2 { // -k is implied
				client := startPurr(t, opts{stdin: strings.NewReader("x")}, append([]string{"-N", "--proxy", kind + "://" + user + addr}, target...)...)
				client.ends(0)
				client.printed("late answer to x")
			}
			curl := start(t, opts{}, "curl", "-sS", "--max-time", "20", "--noproxy", "", "-x", strings.Replace(at, "socks5:", "socks5h:", 1), "-U", password, url)
			curl.ends(0)
			curl.printed("page")
			if password != "" {
				client := startPurr(t, opts{}, append([]string{"--proxy", at}, target...)...)
				client.ends(7)
				client = startPurr(t, opts{}, append([]string{"--proxy", at, "--proxy-auth", "me:x"}, target...)...)
				client.ends(7)
				p.waitErr(regexp.MustCompile("purr: 127.0.0.1 port [0-9]+: wrong user or password\n"))
				continue
			}
			letter := map[string]string{"http": "connect", "socks5": "5"}[kind]
			nc := start(t, opts{stdin: strings.NewReader("x")}, "nc.openbsd", append([]string{"-N", "-X", letter, "-x", addr}, target...)...)
			nc.ends(0)
			nc.printed("late answer to x")
			closed := closedPorts(t, 1)[0]
			client := startPurr(t, opts{}, "--proxy", at, "127.0.0.1", closed)
			client.ends(1)
			p.waitErr(regexp.MustCompile("purr: 127.0.0.1 port [0-9]+: 127.0.0.1:" + closed + ": Connection refused\n"))
			client = startPurr(t, opts{}, append([]string{"--proxy", at}, strings.Split(addr, ":")...)...)
			client.ends(4)
			p.signal(syscall.SIGTERM)
			p.ends(128 + int(syscall.SIGTERM))
			p.printed("")
		}
	}
}

// Every host that reaches a proxy without a password can use it: one line of
// warning.
func TestProxyServerWarns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args  []string
		warns bool
	}{
		{[]string{"0"}, true},
		{[]string{"127.0.0.1", "0"}, false},
		{[]string{"--proxy-auth", "me:pw", "0"}, false},
		{[]string{"--allow", "127.0.0.0/8", "0"}, false},
		{[]string{"--deny", "10.0.0.0/8", "0"}, true},
	} {
		p := startPurr(t, opts{}, append([]string{"-l", "--proxy-type", "socks5"}, test.args...)...)
		addr := net.JoinHostPort("127.0.0.1", p.port())
		c := dialTest(t, "tcp", addr)
		writeAll(t, c, "\x05\x01\x00")
		testkit.ReadN(t, c, 2) // by now it has printed what it prints
		if said := p.err.String(); strings.Contains(said, "a proxy without a password") != test.warns {
			t.Errorf("%q: said %q", test.args, said)
		}
	}
}

func TestProxyServerCommandLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"-l --proxy-type socks4 80":              "option --proxy-type: as a server purr speaks http and socks5",
		"-l --proxy-type http --proxy h:1 80":    "options --proxy-type and --proxy exclude each other: a proxy connects to the targets itself",
		"-l --proxy-type http -L db:80 80":       "options --proxy-type and -L exclude each other",
		"-l --proxy-type http --echo 80":         "options --proxy-type and --echo exclude each other",
		"-l --proxy-type http -u 80":             "options --proxy-type and -u exclude each other",
		"-l --proxy-type http --proxy-auth a 80": "option --proxy-auth: there is no password",
		"--proxy-type http h 80":                 "option --proxy-type needs a proxy",
	} {
		_, err := newConfig(strings.Fields(line))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, and not %s", line, err, want)
		}
	}
}
