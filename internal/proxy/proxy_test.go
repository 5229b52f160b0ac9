package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"purr/internal/sock"
	"purr/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.AtOnce(8)
	m.Run()
}

// fakeProxy serves each connection with talk, and closes it afterwards.
func fakeProxy(t testing.TB, talk func(c *net.TCPConn, number int)) (dial func(context.Context) (net.Conn, error)) {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = ln.Close(); <-done })
	go func() {
		defer close(done)
		for number := 1; ; number++ {
			c, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(testkit.Patience))
			talk(c, number)
			_ = c.Close()
		}
	}()
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}
}

// expect reads exactly the request that is wanted.
func expect(t testing.TB, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Errorf("the request is %q (%v), and not %q", b[:n], err, want)
	}
}

// dribble sends s in one segment or, if slow, byte by byte.
func dribble(c net.Conn, s string, slow bool) {
	if !slow {
		_, _ = io.WriteString(c, s)
		return
	}
	for i := range len(s) {
		_, _ = c.Write([]byte{s[i]})
	}
}

// A step is a request that is expected, and its answer.
type step struct{ request, answer string }

const (
	greeting = "\x05\x01\x00"
	greeted  = "\x05\x00"
	toName   = "\x05\x01\x00\x03\x06target\x00\x50"
	granted5 = "\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34"
	connect  = "CONNECT target:80 HTTP/1.1\r\nHost: target:80\r\n\r\n"
)

var long255 = strings.Repeat("p:", 127) + "p"

// granting are the conversations that end with a yes.
var granting = map[string]struct {
	config Config
	host   string
	steps  []step
}{
	"SOCKS5, name": {Config{}, "target", []step{{greeting, greeted}, {toName, granted5}}},
	"SOCKS5, IPv4": {Config{}, "192.0.2.7", []step{{greeting, greeted}, {"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50", granted5}}},
	"SOCKS5, IPv4 as inet_aton takes it": {Config{}, "127.1", []step{{greeting, greeted},
		{"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", granted5}}},
	"SOCKS5, IPv6": {Config{}, "2001:db8::1", []step{{greeting, greeted},
		{"\x05\x01\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x00\x50", granted5}}},
	"SOCKS5, bound to a name":        {Config{}, "target", []step{{greeting, greeted}, {toName, "\x05\x00\x00\x03\x09some.i2p.\x12\x34"}}},
	"SOCKS5, bound to an empty name": {Config{}, "target", []step{{greeting, greeted}, {toName, "\x05\x00\x00\x03\x00\x12\x34"}}},
	"SOCKS5, bound to IPv6": {Config{}, "target", []step{{greeting, greeted},
		{toName, "\x05\x00\x00\x04" + strings.Repeat("\x05", 16) + "\x12\x34"}}},
	"SOCKS5, password of 255 bytes with colons": {Config{User: "me", Password: long255, HasPassword: true}, "target", []step{
		{"\x05\x02\x00\x02", "\x05\x02"}, {"\x01\x02me\xff" + long255, "\x01\x00"}, {toName, granted5}}},
	"SOCKS5, password not wanted": {Config{User: "me", Password: "x", HasPassword: true}, "target", []step{
		{"\x05\x02\x00\x02", "\x05\x00"}, {toName, granted5}}},
	"SOCKS4":  {Config{Protocol: SOCKS4, User: "me"}, "192.0.2.7", []step{{"\x04\x01\x00\x50\xc0\x00\x02\x07me\x00", "\x00\x5aabcdef"}}},
	"SOCKS4a": {Config{Protocol: SOCKS4}, "target", []step{{"\x04\x01\x00\x50\x00\x00\x00\x01\x00target\x00", "\x00\x5aabcdef"}}},
	"SOCKS4, answered with version 4": {Config{Protocol: SOCKS4}, "target", []step{
		{"\x04\x01\x00\x50\x00\x00\x00\x01\x00target\x00", "\x04\x5aabcdef"}}},
	"HTTP/1.1":      {Config{Protocol: HTTP}, "target", []step{{connect, "HTTP/1.1 200 Connection established\r\n\r\n"}}},
	"HTTP/1.0":      {Config{Protocol: HTTP}, "target", []step{{connect, "HTTP/1.0 200\r\nVia: x\r\n\r\n"}}},
	"HTTP, bare LF": {Config{Protocol: HTTP}, "target", []step{{connect, "HTTP/1.0 200 OK\nVia: x\n\n"}}},
	"HTTP, after 103": {Config{Protocol: HTTP}, "target", []step{{connect,
		"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"}}},
	"HTTP, IPv6": {Config{Protocol: HTTP}, "::1", []step{
		{"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"}}},
	"HTTP, Basic on the same connection": {Config{Protocol: HTTP, User: "me", Password: "a:b", HasPassword: true}, "target", []step{
		{connect, "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 5\r\n\r\nsorry"},
		{"CONNECT target:80 HTTP/1.1\r\nHost: target:80\r\nProxy-Authorization: Basic " +
			base64.StdEncoding.EncodeToString([]byte("me:a:b")) + "\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"}}},
}

// Every answer is read exactly, in whatever pieces it arrives: what follows is
// payload. The result is the bare socket, without a deadline.
func TestAnswersAreReadExactly(t *testing.T) {
	t.Parallel()
	for name, test := range granting {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, slow %v", name, slow), func(t *testing.T) {
				t.Parallel()
				dial := fakeProxy(t, func(c *net.TCPConn, number int) {
					for i, s := range test.steps {
						expect(t, c, s.request)
						if i == len(test.steps)-1 {
							s.answer += "payload"
						}
						dribble(c, s.answer, slow)
					}
					expect(t, c, "ours")
					if number > 1 {
						t.Error("a second connection")
					}
				})
				d := &Dialer{Config: test.config, Dial: dial, Timeout: testkit.Patience}
				c, err := d.Connect(t.Context(), test.host, 80)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, bare := c.(*net.TCPConn); !bare {
					t.Errorf("the connection is a %T", c)
				}
				testkit.WriteString(t, c, "ours")
				if got := testkit.ReadAll(t, c); got != "payload" {
					t.Errorf("read %q", got)
				}
			})
		}
	}
}

// Every refusal has its kind, and no payload is sent.
func TestRefusals(t *testing.T) {
	t.Parallel()
	http407 := "HTTP/1.1 407 Who are you?\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
	user := Config{User: "me", Password: "x", HasPassword: true}
	userHTTP := Config{Protocol: HTTP, User: "me", Password: "x", HasPassword: true}
	offered, basic := "\x05\x02\x00\x02", "CONNECT target:80 HTTP/1.1\r\nHost: target:80\r\nProxy-Authorization: Basic bWU6eA==\r\n\r\n"
	to4 := "\x04\x01\x00\x50\x00\x00\x00\x01\x00target\x00"
	for name, test := range map[string]struct {
		config Config
		steps  []step
		kind   error
		text   string
	}{
		"SOCKS5 general":         {Config{}, []step{{greeting, greeted}, {toName, "\x05\x01"}}, ErrUnreachable, "General failure"},
		"SOCKS5 rules":           {Config{}, []step{{greeting, greeted}, {toName, "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"}}, ErrNotAllowed, "rules"},
		"SOCKS5 refused":         {Config{}, []step{{greeting, greeted}, {toName, "\x05\x05\x00\x01"}}, ErrUnreachable, "Connection refused"},
		"SOCKS5 reply 9":         {Config{}, []step{{greeting, greeted}, {toName, "\x05\x09"}}, ErrUnreachable, "reply 9"},
		"SOCKS5 password":        {Config{}, []step{{greeting, "\x05\xff"}}, ErrPasswordWanted, ""},
		"SOCKS5 password wrong":  {user, []step{{offered, "\x05\x02"}, {"\x01\x02me\x01x", "\x01\x01"}}, ErrPasswordWrong, ""},
		"SOCKS5 password closed": {user, []step{{offered, "\x05\x02"}, {"\x01\x02me\x01x", ""}}, ErrPasswordWrong, ""},
		"SOCKS5 no method":       {user, []step{{offered, "\x05\xff"}}, ErrPasswordWrong, ""},
		"SOCKS5 other method":    {Config{}, []step{{greeting, "\x05\x01"}}, ErrNotProxy, "method 1"},
		"SOCKS5 unasked method":  {Config{}, []step{{greeting, "\x05\x02"}}, ErrNotProxy, "method 2"},
		"SOCKS5 is SSH":          {Config{}, []step{{greeting, "SSH-2.0-x\r\n\x1b[2J"}}, ErrNotProxy, `"SSH-2.0-x\r\n\x1b[2J"`},
		"SOCKS5 address type":    {Config{}, []step{{greeting, greeted}, {toName, "\x05\x00\x00\x02xxxxxxx"}}, ErrNotProxy, "type 2"},
		"SOCKS5 closed":          {Config{}, []step{{greeting, ""}}, ErrNoAnswer, "closed"},
		"SOCKS5 cut":             {Config{}, []step{{greeting, greeted}, {toName, granted5[:9]}}, ErrNoAnswer, "closed"},
		"SOCKS4 rejected":        {Config{Protocol: SOCKS4}, []step{{to4, "\x00\x5babcdef"}}, ErrUnreachable, ""},
		"SOCKS4 identd":          {Config{Protocol: SOCKS4}, []step{{to4, "\x00\x5cabcdef"}}, ErrNotAllowed, ""},
		"SOCKS4 is HTTP":         {Config{Protocol: SOCKS4}, []step{{to4, "HTTP/1.1 400 Bad\r\n\r\n"}}, ErrNotProxy, "HTTP/1.1 400"},
		"SOCKS4 other code":      {Config{Protocol: SOCKS4}, []step{{to4, "\x00\x00abcdef"}}, ErrNotProxy, ""},
		"HTTP 403":               {Config{Protocol: HTTP}, []step{{connect, "HTTP/1.1 403 Forb\x1bidden\r\n\r\n"}}, ErrNotAllowed, `403 Forb\x1bidden`},
		"HTTP 502":               {Config{Protocol: HTTP}, []step{{connect, "HTTP/1.0 502 Bad Gateway\r\n\r\n"}}, ErrUnreachable, "502"},
		"HTTP 504":               {Config{Protocol: HTTP}, []step{{connect, "HTTP/1.0 504 Late\r\n\r\n"}}, ErrUnreachable, "504"},
		"HTTP 500":               {Config{Protocol: HTTP}, []step{{connect, "HTTP/1.0 500 Unable to connect\r\n\r\n"}}, ErrUnreachable, "500"},
		"HTTP 405":               {Config{Protocol: HTTP}, []step{{connect, "HTTP/1.1 405 Not allowed\r\n\r\n"}}, ErrNotProxy, "405"},
		"HTTP 302":               {Config{Protocol: HTTP}, []step{{connect, "HTTP/1.1 302 Found\r\n\r\n"}}, ErrNotProxy, "302"},
		"HTTP 407":               {Config{Protocol: HTTP}, []step{{connect, http407}}, ErrPasswordWanted, "407 Who are you?"},
		"HTTP 407 again":         {userHTTP, []step{{connect, http407}, {basic, http407}}, ErrPasswordWrong, "407"},
		"HTTP 401":               {userHTTP, []step{{connect, http407}, {basic, "HTTP/1.0 401 Unauthorized\r\n\r\n"}}, ErrPasswordWrong, "401"},
		"HTTP NTLM only": {userHTTP, []step{{connect, "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"}},
			ErrPasswordWrong, "neither Basic nor"},
		"HTTP is SSH":   {Config{Protocol: HTTP}, []step{{connect, "SSH-2.0-x\r\n"}}, ErrNotProxy, `"SSH-2.0-x\r\n"`},
		"HTTP nonsense": {Config{Protocol: HTTP}, []step{{connect, "HTTP/1.1 x\r\n\r\n"}}, ErrNotProxy, ""},
		"HTTP endless":  {Config{Protocol: HTTP}, []step{{connect, "HTTP/1.1 200 " + strings.Repeat("x", maxHead)}}, ErrNotProxy, "longer than"},
		"HTTP closed":   {Config{Protocol: HTTP}, []step{{connect, ""}}, ErrNoAnswer, "closed"},
		"HTTP cut":      {Config{Protocol: HTTP}, []step{{connect, "HTTP/1.1 200 OK\r\n"}}, ErrNoAnswer, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dial := fakeProxy(t, func(c *net.TCPConn, _ int) {
				for _, s := range test.steps {
					expect(t, c, s.request)
					_, _ = io.WriteString(c, s.answer)
				}
				_ = c.CloseWrite()
				if rest, _ := io.ReadAll(c); len(rest) > 0 {
					t.Errorf("the proxy got %q, too", rest)
				}
			})
			d := &Dialer{Config: test.config, Dial: dial, Timeout: testkit.Patience}
			c, err := d.Connect(t.Context(), "target", 80)
			failed, ok := errors.AsType[*Error](err)
			if c != nil || !ok || failed.Kind != test.kind || !strings.Contains(failed.Error(), test.text) {
				t.Errorf("%v, %v, and not %v with %q", c, err, test.kind, test.text)
			}
			if strings.ContainsAny(err.Error(), "\x1b\r\n") {
				t.Errorf("the peer's bytes are in %q", err)
			}
		})
	}
}

// A silent or reset connection is ErrNoAnswer, with its cause.
func TestSilence(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	defer close(gone)
	for _, p := range []Protocol{SOCKS5, SOCKS4, HTTP, HTTPS} {
		d := &Dialer{Config: Config{Protocol: p, Host: "127.0.0.1"}, Timeout: 50 * time.Millisecond,
			Dial: fakeProxy(t, func(c *net.TCPConn, _ int) { _, _ = io.Copy(io.Discard, c) })}
		if _, err := d.Connect(t.Context(), "target", 80); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, silent: %v", p, err)
		}
		d.Timeout = testkit.Patience
		d.Dial = fakeProxy(t, func(c *net.TCPConn, _ int) { _, _ = c.Read(make([]byte, 1)); _ = c.SetLinger(0) })
		if _, err := d.Connect(t.Context(), "target", 80); !errors.Is(err, ErrNoAnswer) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, reset: %v", p, err)
		}
	}
}

// The end of the context ends the conversation, with its cause.
func TestContext(t *testing.T) {
	t.Parallel()
	stopped := errors.New("stopped")
	ctx, stop := context.WithCancelCause(t.Context())
	d := &Dialer{Dial: fakeProxy(t, func(c *net.TCPConn, _ int) {
		expect(t, c, greeting)
		stop(stopped)
		_, _ = io.Copy(io.Discard, c)
	})}
	if c, err := d.Connect(ctx, "target", 80); c != nil || err != stopped {
		t.Errorf("%v, %v", c, err)
	}
}

// An error of Dial is not changed: the words for it are the caller's.
func TestDialError(t *testing.T) {
	t.Parallel()
	failed := errors.New("no route")
	d := &Dialer{Dial: func(context.Context) (net.Conn, error) { return nil, failed }}
	if _, err := d.Connect(t.Context(), "target", 80); err != failed {
		t.Error(err)
	}
}

// After a 407 that ends its connection, the request is repeated once on a new
// one; with Digest, if there is a choice.
func TestNewConnectionAfter407(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"HTTP/1.0":            "HTTP/1.0 407 No\r\nContent-Length: 0\r\n",
		"close":               "HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n",
		"Proxy-Connection":    "HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Connection: Close\r\n",
		"no length":           "HTTP/1.1 407 No\r\n",
		"chunks":              "HTTP/1.1 407 No\r\nTransfer-Encoding: chunked\r\n",
		"closed all the same": "HTTP/1.1 407 No\r\nContent-Length: 0\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var connections atomic.Int32
			d := &Dialer{Config: Config{Protocol: HTTP, User: "me", Password: "pw", HasPassword: true}, Timeout: testkit.Patience,
				Dial: fakeProxy(t, func(c *net.TCPConn, number int) {
					connections.Store(int32(number))
					request, err := http.ReadRequest(bufio.NewReader(c))
					if err != nil {
						t.Error(err)
						return
					}
					credentials := request.Header.Get("Proxy-Authorization")
					switch {
					case number == 1 && credentials == "":
						_, _ = io.WriteString(c, answer+"Proxy-Authenticate: Basic realm=\"a, Digest x=1\", Digest realm=\"r\", nonce=\"n\", qop=\"auth-int, auth\", algorithm=MD5\r\n\r\n")
					case number == 2 && strings.HasPrefix(credentials, "Digest "):
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\npayload")
					default:
						t.Errorf("connection %d with %q", number, credentials)
					}
				})}
			c, err := d.Connect(t.Context(), "target", 80)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := testkit.ReadAll(t, c); got != "payload" || connections.Load() != 2 {
				t.Errorf("read %q after %d connections", got, connections.Load())
			}
		})
	}
}

// The user is asked for the password once, and only if the proxy wants it.
func TestAskPassword(t *testing.T) {
	t.Parallel()
	for _, p := range []Protocol{SOCKS5, HTTP} {
		asked := 0
		d := &Dialer{Config: Config{Protocol: p, User: "me"}, Timeout: testkit.Patience,
			AskPassword: func(context.Context) (string, error) { asked++; return "pw", nil },
			Dial: fakeProxy(t, func(c *net.TCPConn, _ int) {
				if p == HTTP {
					request, err := http.ReadRequest(bufio.NewReader(c))
					if err == nil && request.Header.Get("Proxy-Authorization") == "Basic bWU6cHc=" {
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
					} else {
						_, _ = io.WriteString(c, "HTTP/1.0 407 No\r\nProxy-Authenticate: Basic realm=x\r\n\r\n")
					}
					return
				}
				expect(t, c, "\x05\x02\x00\x02")
				_, _ = io.WriteString(c, "\x05\x02")
				if b := make([]byte, 7); readsAll(c, b) {
					_, _ = io.WriteString(c, "\x01\x00")
					expect(t, c, toName)
					_, _ = io.WriteString(c, granted5)
				}
			})}
		for range 2 {
			c, err := d.Connect(t.Context(), "target", 80)
			if err != nil {
				t.Fatalf("%v: %v", p, err)
			}
			_ = c.Close()
		}
		if asked != 1 {
			t.Errorf("%v: asked %d times", p, asked)
		}
		none := errors.New("no terminal")
		d = &Dialer{Config: d.Config, Dial: d.Dial, AskPassword: func(context.Context) (string, error) { return "", none }}
		if _, err := d.Connect(t.Context(), "target", 80); err != none {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func readsAll(r io.Reader, b []byte) bool {
	_, err := io.ReadFull(r, b)
	return err == nil
}

// The end that resolves a name is the one that --proxy-dns names.
func TestDNS(t *testing.T) {
	t.Parallel()
	two := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}
	unknown := errors.New("unknown host")
	for _, test := range []struct {
		protocol Protocol
		dns      DNS
		host     string
		addrs    []netip.Addr
		want     string // the hosts that the proxy is asked for
	}{
		{SOCKS5, Remote, "target", two, "target"},
		{SOCKS5, Local, "target", two, "2001:db8::1 192.0.2.1"},
		{SOCKS4, Local, "target", two, "192.0.2.1"},
		{SOCKS5, Local, "target", nil, ""},
		{SOCKS5, Both, "target", two, "2001:db8::1 192.0.2.1"},
		{SOCKS5, Both, "target", nil, "target"},
		{SOCKS5, None, "target", two, ""},
		{SOCKS5, None, "127.1", two, "127.0.0.1"},
		{SOCKS5, None, "::ffff:10.0.0.1", two, "10.0.0.1"},
		{HTTP, None, "fe80::1%eth0", two, "fe80::1"},
		{SOCKS4, Remote, "::1", two, ""},
		{SOCKS5, Remote, "two words", two, ""},
		{SOCKS5, Remote, "x\r\nx", two, ""},
		{SOCKS5, Remote, strings.Repeat("x", 256), two, ""},
		{SOCKS5, Remote, "", two, ""},
	} {
		d := &Dialer{Config: Config{Protocol: test.protocol, DNS: test.dns},
			Resolve: func(context.Context, string) ([]netip.Addr, error) {
				if test.dns == Remote || test.dns == None {
					t.Errorf("%q was resolved here", test.host)
				}
				if test.addrs == nil {
					return nil, unknown
				}
				return test.addrs, nil
			}}
		hosts, err := d.hosts(t.Context(), test.host)
		if bad := d.check(test.host); bad != nil {
			hosts, err = nil, bad
		}
		if got := strings.Join(hosts, " "); got != test.want {
			t.Errorf("%v, %v, %.20q: %s (%v), and not %s", test.protocol, test.dns, test.host, got, err, test.want)
		}
	}
}

// Of several addresses, the next is tried if the proxy does not reach one.
func TestNextAddress(t *testing.T) {
	t.Parallel()
	d := &Dialer{Config: Config{DNS: Local}, Timeout: testkit.Patience,
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
		},
		Dial: fakeProxy(t, func(c *net.TCPConn, number int) {
			expect(t, c, greeting)
			_, _ = io.WriteString(c, greeted)
			expect(t, c, "\x05\x01\x00\x01\xc0\x00\x02"+string(rune(number))+"\x00\x50")
			if number == 1 {
				_, _ = io.WriteString(c, "\x05\x05")
			} else {
				_, _ = io.WriteString(c, granted5)
			}
		})}
	c, err := d.Connect(t.Context(), "target", 80)
	if err != nil {
		t.Fatal(err)
	}
	if name := sock.PeerName(sock.RemoteAddr(c)); name != "target port 80" {
		t.Errorf("the peer is %s", name)
	}
	_ = c.Close()
}

// An HTTPS proxy is asked in TLS, and its certificate is checked.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil || r.Method != http.MethodConnect || r.RequestURI != "target:80" {
			t.Errorf("%v: %s %s", err, r.Method, r.RequestURI)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\npayload")
		_ = c.Close()
	}))
	proxy.Config.ErrorLog = log.New(io.Discard, "", 0)
	proxy.StartTLS()
	defer proxy.Close()
	d := &Dialer{Config: Config{Protocol: HTTPS, Host: "127.0.0.1"}, Timeout: testkit.Patience,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", proxy.Listener.Addr().String())
		}}
	if _, err := d.Connect(t.Context(), "target", 80); !errors.Is(err, ErrUntrusted) {
		t.Errorf("with the system's roots: %v", err)
	}
	d.TLS = proxy.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	d.TLS.ServerName = "127.0.0.1"
	c, err := d.Connect(t.Context(), "target", 80)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, encrypted := c.(*tls.Conn); !encrypted {
		t.Errorf("the connection is a %T", c)
	}
	if name := sock.PeerName(sock.RemoteAddr(c)); name != "target port 80" {
		t.Errorf("the peer is %s", name)
	}
	if got := testkit.ReadAll(t, c); got != "payload" {
		t.Errorf("read %q", got)
	}
	d.Dial = fakeProxy(t, func(c *net.TCPConn, _ int) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad\r\n\r\n") })
	if _, err := d.Connect(t.Context(), "target", 80); !errors.Is(err, ErrNotProxy) {
		t.Errorf("in clear text: %v", err)
	}
}

// Whatever the proxy answers, an answer that succeeds has been read exactly.
func FuzzAnswers(f *testing.F) {
	for _, test := range granting {
		var all string
		for _, s := range test.steps {
			all += s.answer
		}
		f.Add(uint8(test.config.Protocol), test.config.User != "", all)
	}
	f.Fuzz(func(t *testing.T, protocol uint8, user bool, answer string) {
		config := Config{Protocol: Protocol(protocol % 3)}
		if user {
			config.User, config.Password, config.HasPassword = "me", "pw", true
		}
		script := &scriptedConn{answer: strings.NewReader(answer)}
		dials := 0
		d := &Dialer{Config: config, Dial: func(context.Context) (net.Conn, error) {
			if dials++; dials > 2 {
				t.Fatal("a third connection")
			}
			return script, nil
		}}
		c, err := d.Connect(t.Context(), "target", 80)
		if err != nil {
			if !script.closed || c != nil {
				t.Error("an open connection beside", err)
			}
			if text := err.Error(); strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("unfit for a terminal: %q", text)
			}
			return
		}
		used := answer[:len(answer)-script.answer.Len()]
		if config.Protocol == HTTP && !strings.HasSuffix(used, "\n") || config.Protocol == SOCKS4 && len(used) != 8 {
			t.Errorf("%v has read %q", config.Protocol, used)
		}
	})
}

// A scriptedConn answers with prepared bytes.
type scriptedConn struct {
	net.Conn
	answer *strings.Reader
	closed bool
}

func (c *scriptedConn) Read(b []byte) (int, error)  { return c.answer.Read(b) }
func (c *scriptedConn) Write(b []byte) (int, error) { return len(b), nil }
func (c *scriptedConn) SetDeadline(time.Time) error { return nil }
func (c *scriptedConn) Close() error                { c.closed = true; return nil }
