package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/icholy/digest"

	"purr/internal/sys"
	"purr/internal/testkit"
)

// A running is a Server with a listener. results has the error of each client.
type running struct {
	*Server
	addr    string
	results chan error
}

// dialPlain is a Server's Dial without rules.
func dialPlain(ctx context.Context, host string, port int) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
}

// run serves SOCKS5 or HTTP until the test is over.
func run(t testing.TB, p Protocol, s *Server) *running {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{s, ln.Addr().String(), make(chan error, 100)}
	s.Addr = ln.Addr()
	if s.Dial == nil {
		s.Dial = dialPlain
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() { stop(); _ = ln.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				if p == HTTP {
					r.results <- s.HTTP(ctx, c)
				} else {
					r.results <- s.SOCKS5(ctx, c)
				}
			}()
		}
	}()
	return r
}

// dial connects to the proxy. The end of the test closes the connection.
func (r *running) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return c
}

// dialer returns our own client of the server.
func (r *running) dialer(p Protocol, user, password string) *Dialer {
	return &Dialer{Config: Config{Protocol: p, User: user, Password: password, HasPassword: user != ""}, Timeout: testkit.Patience,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", r.addr)
		}}
}

// lateTarget is a server that answers "late" only after the client's FIN, and
// when it is released.
func lateTarget(t testing.TB, release <-chan struct{}) (host string, port int) {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				question, _ := io.ReadAll(c)
				<-release
				_, _ = io.WriteString(c, "late answer to "+string(question))
			}()
		}
	}()
	return "127.0.0.1", ln.Addr().(*net.TCPAddr).Port
}

// freePort is a port without a listener.
func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// Half-closes pass, and an answer that comes later arrives. With a password,
// too; without it the proxy refuses.
func TestTunnels(t *testing.T) {
	t.Parallel()
	for _, p := range []Protocol{SOCKS5, HTTP} {
		for _, user := range []string{"", "me"} {
			s := &Server{User: user}
			if user != "" {
				s.Password = "a:b\"c\\"
			}
			r := run(t, p, s)
			release := make(chan struct{})
			host, port := lateTarget(t, release)
			c, err := r.dialer(p, user, s.Password).Connect(t.Context(), host, port)
			if err != nil {
				t.Fatalf("%v: %v", p, err)
			}
			testkit.WriteString(t, c, "question")
			_ = c.(*net.TCPConn).CloseWrite()
			time.AfterFunc(50*time.Millisecond, func() { close(release) })
			if got := testkit.ReadAll(t, c); got != "late answer to question" {
				t.Errorf("%v: %q", p, got)
			}
			_ = c.Close()
			if user == "" {
				continue
			}
			if _, err := r.dialer(p, "", "").Connect(t.Context(), host, port); !errors.Is(err, ErrPasswordWanted) {
				t.Errorf("%v without password: %v", p, err)
			}
			for _, wrong := range [][2]string{{"me", "x"}, {"you", s.Password}, {"me", ""}} {
				if _, err := r.dialer(p, wrong[0], wrong[1]).Connect(t.Context(), host, port); !errors.Is(err, ErrPasswordWrong) {
					t.Errorf("%v with %q: %v", p, wrong, err)
				}
			}
		}
	}
}

// What cannot be reached has the protocol's answer, and the Server's caller has
// the reason.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	for _, p := range []Protocol{SOCKS5, HTTP} {
		for _, test := range []struct {
			name string
			dial error // of the Server
			kind error
			text string // of the client's error
			why  string // of the Server's
		}{
			{"refused", nil, ErrUnreachable, map[Protocol]string{SOCKS5: "Connection refused", HTTP: "504"}[p], "Connection refused"},
			{"rules", fmt.Errorf("denied: %w", ErrNotAllowed), ErrNotAllowed, "", "the proxy does not allow it"},
			{"network", syscall.ENETUNREACH, ErrUnreachable, map[Protocol]string{SOCKS5: "Network is unreachable", HTTP: "504"}[p], "unreachable"},
			{"words", errors.New("getaddrinfo for a host: not known"), ErrUnreachable, "", ": getaddrinfo for"},
			{"name", &net.DNSError{Err: "no such\x1bhost", IsNotFound: true}, ErrUnreachable, map[Protocol]string{SOCKS5: "No route", HTTP: "504"}[p], `such\x1bhost`},
		} {
			s := new(Server)
			if test.dial != nil {
				s.Dial = func(context.Context, string, int) (net.Conn, error) { return nil, test.dial }
			}
			r := run(t, p, s)
			_, err := r.dialer(p, "", "").Connect(t.Context(), "127.0.0.1", freePort(t))
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, %s: the client has %v", p, test.name, err)
			}
			why := <-r.results
			if refused, ok := errors.AsType[*Refusal](why); !ok || !strings.HasPrefix(refused.Target, "127.0.0.1:") || !strings.Contains(why.Error(), test.why) {
				t.Errorf("%v, %s: the server has %v", p, test.name, why)
			}
		}
		// A target that is the proxy would be asked for ever.
		r := run(t, p, new(Server))
		host, port, _ := splitTarget(r.addr)
		if _, err := r.dialer(p, "", "").Connect(t.Context(), host, port); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%v, to itself: %v", p, err)
		}
	}
}

// A target that does not answer is given up in time.
func TestTargetTimeout(t *testing.T) {
	t.Parallel()
	s := &Server{Timeout: 50 * time.Millisecond, Dial: func(ctx context.Context, _ string, _ int) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	r := run(t, HTTP, s)
	if _, err := r.dialer(HTTP, "", "").Connect(t.Context(), "x", 1); err == nil || !strings.Contains(err.Error(), "504") {
		t.Error(err)
	}
	if err := <-r.results; err == nil || err.Error() != "x:1: no answer within 50ms" {
		t.Error(err)
	}
}

// exchangeWith sends text and returns everything that comes back until the end.
func exchangeWith(t testing.TB, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	testkit.WriteString(t, c, text)
	return testkit.ReadAll(t, c)
}

// What is not CONNECT over SOCKS5 has its reply; what is no SOCKS5 has none.
func TestSOCKS5Refusals(t *testing.T) {
	t.Parallel()
	r := run(t, SOCKS5, &Server{Timeout: 500 * time.Millisecond, Dial: func(context.Context, string, int) (net.Conn, error) {
		t.Error("a target was dialled")
		return nil, io.EOF
	}})
	const zero = "\x00\x01\x00\x00\x00\x00\x00\x00"
	for request, want := range map[string]string{
		greeting + "\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50": greeted + "\x05\x07" + zero, // BIND
		greeting + "\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50": greeted + "\x05\x07" + zero, // UDP
		greeting + "\x05\x01\x00\x02\x7f\x00\x00\x01\x00\x50": greeted + "\x05\x08" + zero,
		greeting + "\x05\x01\x00\x03\x00\x00\x50":             greeted + "\x05\x01" + zero, // no name
		greeting + "\x05\x01\x00\x03\x03x x\x00\x50":          greeted + "\x05\x01" + zero,
		greeting + "\x04": greeted,
		"\x05\x01\x02":    "\x05\xff", // a password, and none is known
		"\x05\x00":        "\x05\xff",
		"\x04\x01\x00\x50\x00\x00\x00\x01\x00x\x00": "",
		"GET / HTTP/1.0\r\n\r\n":                    "",
		"":                                          "",
		greeting + "\x05\x01\x00\x03\x10short":      greeted,
	} {
		c := r.dial(t)
		testkit.WriteString(t, c, request)
		got, err := io.ReadAll(c)
		if string(got) != want || err != nil && !sys.IsReset(err) {
			t.Errorf("%q: answered %q (%v), and not %q", request, got, err, want)
		}
		_ = c.Close()
		if err := <-r.results; err == nil {
			t.Errorf("%q is no error", request)
		}
	}
	c := r.dial(t)
	_ = c.Close()
	if err := <-r.results; err != nil {
		t.Error("a port scan:", err)
	}
}

// Each mistake has its status, nothing is dialled, and the connection ends.
func TestHTTPRefusals(t *testing.T) {
	t.Parallel()
	r := run(t, HTTP, &Server{Timeout: 500 * time.Millisecond, Dial: func(context.Context, string, int) (net.Conn, error) {
		t.Error("a target was dialled")
		return nil, io.EOF
	}})
	for request, want := range map[string]string{
		"CONNECT localhost HTTP/1.1\r\n\r\n":                                          "400",
		"CONNECT localhost:99999 HTTP/1.1\r\n\r\n":                                    "400",
		"CONNECT /x HTTP/1.1\r\n\r\n":                                                 "400",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n":                                           "400",
		"GET https://x/ HTTP/1.1\r\nHost: x\r\n\r\n":                                  "400",
		"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n":                                    "400",
		"GET nonsense\r\n\r\n":                                                        "400",
		"SSH-2.0-x\r\n\r\n":                                                           "400",
		"\x05\x01\x00":                                                                "400",
		"\x16\x03\x01\x00\x05hello":                                                   "400",
		"PUT http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n":              "405",
		"DELETE http://x/ HTTP/1.1\r\nHost: x\r\n\r\n":                                "405",
		"POST http://x/ HTTP/1.1\r\nHost: x\r\n\r\n":                                  "411",
		"GET http://x/ HTTP/1.1\r\nX: " + strings.Repeat("x", 3*maxHead) + "\r\n\r\n": "413",
		"GET http://x/ HTTP/1.1\r\n":                                                  "408",
	} {
		got := exchangeWith(t, r.addr, request)
		if !strings.HasPrefix(got, "HTTP/1.1 "+want+" ") || !strings.Contains(got, "\r\nConnection: close\r\n") {
			t.Errorf("%.60q: answered %.100q, and not %s", request, got, want)
		}
		if want == "405" && !strings.Contains(got, "\r\nAllow: CONNECT, GET, HEAD, POST\r\n") {
			t.Errorf("without Allow: %q", got)
		}
		if err := <-r.results; err == nil {
			t.Errorf("%.60q is no error", request)
		}
	}
	for _, nothing := range []string{"", "CONNECT"} { // a port scan, and a silent client
		c := r.dial(t)
		testkit.WriteString(t, c, nothing)
		_ = c.Close()
		if err := <-r.results; err != nil != (nothing != "") {
			t.Errorf("after %q: %v", nothing, err)
		}
	}
}

// webTarget is a web server behind the proxy. It answers with the request as it
// came.
func webTarget(t testing.TB) *httptest.Server {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/chunks":
			for i := range 3 {
				_, _ = fmt.Fprintf(w, "chunk %d;", i)
				w.(http.Flusher).Flush()
			}
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "short")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		default:
			_, _ = fmt.Fprintf(w, "%s %s host=%s body=%d ua=%v auth=%q via=%q keep=%q", r.Method, r.URL.Path, r.Host, len(body),
				r.Header["User-Agent"], r.Header.Get("Proxy-Authorization"), r.Header.Get("Via"), r.Header.Get("X-Hop"))
		}
	}))
	t.Cleanup(web.Close)
	return web
}

// Requests by absolute URI are passed on, many over one connection, without
// the headers of that connection.
func TestForward(t *testing.T) {
	t.Parallel()
	web := webTarget(t)
	host := strings.TrimPrefix(web.URL, "http://")
	r := run(t, HTTP, new(Server))
	c := r.dial(t)
	answers := bufio.NewReader(c)
	for _, test := range []struct{ method, request, want string }{
		{"GET", "GET http://" + host + "/a HTTP/1.1\r\nHost: other\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nProxy-Authorization: secret\r\n\r\n",
			"GET /a host=" + host + ` body=0 ua=[] auth="" via="1.1 purr" keep=""`},
		{"HEAD", "HEAD http://" + host + "/a HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		{"POST", "POST http://" + host + "/p HTTP/1.1\r\nHost: x\r\nUser-Agent: me\r\nContent-Length: 5\r\n\r\nhello",
			"POST /p host=" + host + ` body=5 ua=[me] auth="" via="1.1 purr" keep=""`},
		{"POST", "POST http://" + host + "/p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
			"POST /p host=" + host + ` body=3 ua=[] auth="" via="1.1 purr" keep=""`},
		{"GET", "GET http://" + host + "/chunks HTTP/1.1\r\nHost: x\r\n\r\n", "chunk 0;chunk 1;chunk 2;"},
		{"GET", "GET http://" + host + "/none HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		{"GET", "GET http://" + host + "/last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"GET /last host=" + host + ` body=0 ua=[] auth="" via="1.1 purr" keep=""`},
	} {
		testkit.WriteString(t, c, test.request)
		response, err := http.ReadResponse(answers, &http.Request{Method: test.method})
		if err != nil {
			t.Fatalf("%s: %v", test.request, err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || string(body) != test.want || response.StatusCode/100 != 2 {
			t.Errorf("%q: %s %q (%v), and not %q", test.request, response.Status, body, err, test.want)
		}
	}
	if rest := testkit.ReadAll(t, answers); rest != "" {
		t.Errorf("after the last answer: %q", rest)
	}
	if err := <-r.results; err != nil {
		t.Error(err)
	}
}

// A client of HTTP/1.0 gets an answer without chunks that ends with the
// connection, also if it has finished before.
func TestForwardOld(t *testing.T) {
	t.Parallel()
	web := webTarget(t)
	r := run(t, HTTP, new(Server))
	c := r.dial(t)
	testkit.WriteString(t, c, "GET "+web.URL+"/chunks HTTP/1.0\r\n\r\n")
	_ = c.(*net.TCPConn).CloseWrite()
	got := testkit.ReadAll(t, c)
	head, body, _ := strings.Cut(got, "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.0 200 OK\r\n") || strings.Contains(head, "chunked") || body != "chunk 0;chunk 1;chunk 2;" {
		t.Errorf("%q", got)
	}
}

// A late answer arrives at a client that has finished.
func TestForwardLate(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			_, _ = io.WriteString(w, "late")
		case <-r.Context().Done():
			t.Error("the request was dropped")
		}
	}))
	defer web.Close()
	r := run(t, HTTP, new(Server))
	c := r.dial(t)
	testkit.WriteString(t, c, "GET "+web.URL+"/ HTTP/1.1\r\nHost: x\r\n\r\n")
	_ = c.(*net.TCPConn).CloseWrite()
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	if got := testkit.ReadAll(t, c); !strings.HasSuffix(got, "\r\n\r\nlate") {
		t.Errorf("%q", got)
	}
}

// An answer that is cut is cut for the client, too.
func TestForwardCut(t *testing.T) {
	t.Parallel()
	web := webTarget(t)
	r := run(t, HTTP, new(Server))
	c := r.dial(t)
	testkit.WriteString(t, c, "GET "+web.URL+"/cut HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, err := io.ReadAll(c); !sys.IsReset(err) {
		t.Errorf("%q, %v", b, err)
	}
	if err := <-r.results; err == nil {
		t.Error("no error")
	}
}

// A body that is announced is asked for, and passed on.
func TestExpect(t *testing.T) {
	t.Parallel()
	web := webTarget(t)
	r := run(t, HTTP, new(Server))
	c := r.dial(t)
	testkit.WriteString(t, c, "POST "+web.URL+"/p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
	if got := testkit.ReadN(t, c, len("HTTP/1.1 100 Continue\r\n\r\n")); !strings.HasPrefix(got, "HTTP/1.1 100") {
		t.Fatalf("%q", got)
	}
	testkit.WriteString(t, c, "body")
	if got := testkit.ReadAll(t, c); !strings.Contains(got, "body=4") {
		t.Errorf("%q", got)
	}
}

// The payload that a client sends with its CONNECT reaches the target.
func TestEarlyPayload(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	close(release)
	host, port := lateTarget(t, release)
	for p, request := range map[Protocol]string{
		HTTP:   fmt.Sprintf("CONNECT %s:%d HTTP/1.1\r\n\r\n", host, port),
		SOCKS5: greeting + "\x05\x01\x00" + string(socksAddress(host, port)),
	} {
		r := run(t, p, new(Server))
		c := r.dial(t)
		early := testkit.Noise(3000)
		testkit.WriteString(t, c, request+early)
		_ = c.(*net.TCPConn).CloseWrite()
		if got := testkit.ReadAll(t, c); !strings.HasSuffix(got, "late answer to "+early) {
			t.Errorf("%v: %s", p, testkit.Brief(got))
		}
		_ = c.Close()
	}
}

// A password by Digest is for one request, and for a time.
func TestDigest(t *testing.T) {
	t.Parallel()
	s := &Server{User: "me", Password: "pw"}
	other := &Server{User: "me", Password: "pw"}
	request := &http.Request{Method: "CONNECT", RequestURI: "h:1", URL: &url.URL{Host: "h:1"}}
	make := func(nonce, algorithm, method, uri, password string) string {
		c, err := digest.Digest(&digest.Challenge{Realm: realm, Nonce: nonce, Algorithm: algorithm, QOP: []string{"auth"}},
			digest.Options{Method: method, URI: uri, Username: "me", Password: password})
		if err != nil {
			t.Fatal(err)
		}
		return c.String()
	}
	now := s.nonce(time.Now())
	for _, test := range []struct {
		text         string
		known, stale bool
	}{
		{make(now, "MD5", "CONNECT", "h:1", "pw"), true, false},
		{make(now, "", "CONNECT", "h:1", "pw"), true, false},
		{make(now, "SHA-256", "CONNECT", "h:1", "pw"), true, false},
		{make(now, "SHA-512", "CONNECT", "h:1", "pw"), false, false},
		{make(now, "MD5", "CONNECT", "h:2", "pw"), false, false},
		{make(now, "MD5", "GET", "h:1", "pw"), false, false},
		{make(now, "MD5", "CONNECT", "h:1", "no"), false, false},
		{make(other.nonce(time.Now()), "MD5", "CONNECT", "h:1", "pw"), false, false},
		{make(s.nonce(time.Now().Add(-2*nonceTime)), "MD5", "CONNECT", "h:1", "pw"), false, true},
		{make(s.nonce(time.Now().Add(-2*nonceTime)), "MD5", "CONNECT", "h:1", "no"), false, false},
		{make("", "MD5", "CONNECT", "h:1", "pw"), false, false},
		{"Digest x", false, false},
		{"Basic " + base64.StdEncoding.EncodeToString([]byte("me:pw")), true, false},
		{"basic " + base64.StdEncoding.EncodeToString([]byte("me:pw")), true, false},
		{"Basic " + base64.StdEncoding.EncodeToString([]byte("me:pw2")), false, false},
		{"Basic me:pw", false, false},
		{"", false, false},
	} {
		request.Header = http.Header{"Proxy-Authorization": {test.text}}
		if known, stale := s.isKnown(request); known != test.known || stale != test.stale {
			t.Errorf("%s: %v %v", test.text, known, stale)
		}
	}
}

// The end of the context ends every client, with a reset.
func TestServerContext(t *testing.T) {
	t.Parallel()
	stopped := errors.New("stopped")
	for _, p := range []Protocol{SOCKS5, HTTP} {
		s := &Server{Dial: dialPlain}
		ours, theirs := testkit.TcpPair(t)
		ctx, stop := context.WithCancelCause(t.Context())
		result := make(chan error, 1)
		go func() {
			if p == HTTP {
				result <- s.HTTP(ctx, ours)
			} else {
				result <- s.SOCKS5(ctx, ours)
			}
		}()
		stop(stopped)
		if err := <-result; err != stopped {
			t.Errorf("%v: %v", p, err)
		}
		if _, err := theirs.Read(make([]byte, 1)); !sys.IsReset(err) {
			t.Errorf("%v: the client has %v", p, err)
		}
	}
}

// A fuzzConn has the bytes of a client and takes what is sent.
type fuzzConn struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *fuzzConn) Read(b []byte) (int, error)      { return c.in.Read(b) }
func (c *fuzzConn) Write(b []byte) (int, error)     { return c.out.Write(b) }
func (c *fuzzConn) Close() error                    { return nil }
func (c *fuzzConn) SetDeadline(time.Time) error     { return nil }
func (c *fuzzConn) SetReadDeadline(time.Time) error { return nil }
func (c *fuzzConn) LocalAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c *fuzzConn) RemoteAddr() net.Addr            { return c.LocalAddr() }

// Whatever a client sends, targets are names that can be asked for, and behind
// a SOCKS request all bytes are the target's.
func FuzzServer(f *testing.F) {
	f.Add(false, "", greeting+toName+"payload")
	f.Add(false, "pw", "\x05\x01\x02\x01\x02me\x02pw"+toName)
	f.Add(true, "", "CONNECT target:80 HTTP/1.1\r\n\r\npayload")
	f.Add(true, "pw", "CONNECT target:80 HTTP/1.1\r\nProxy-Authorization: Basic bWU6cHc=\r\n\r\n")
	f.Add(true, "", "POST http://target/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET http://x/ HTTP/1.0\r\n\r\n")
	f.Fuzz(func(t *testing.T, web bool, password, text string) {
		s := &Server{Password: password}
		if password != "" {
			s.User = "me"
		}
		c := &fuzzConn{in: bytes.NewReader([]byte(text))}
		joined := false
		s.Dial = func(_ context.Context, host string, port int) (net.Conn, error) {
			if port < 0 || port > 65535 || !web && !isName(host) {
				t.Errorf("dialled %q:%d", host, port)
			}
			return &fuzzConn{in: bytes.NewReader([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))}, nil
		}
		s.Join = func(_ context.Context, client, target net.Conn) error {
			joined = true
			rest, _ := io.ReadAll(client)
			if early := target.(*fuzzConn).out.String(); !strings.HasSuffix(text, early+string(rest)) {
				t.Errorf("%q and %q are not the end of %q", early, rest, text)
			}
			return nil
		}
		var err error
		if web {
			err = s.HTTP(t.Context(), c)
		} else {
			err = s.SOCKS5(t.Context(), c)
		}
		if err != nil && joined {
			t.Error(err)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("unfit for a terminal: %q", err)
		}
	})
}
