package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"purr/internal/digest"
	"purr/internal/offer"
	"purr/internal/push"
	"purr/internal/store"
	"purr/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.AtOnce(4) // some wait for a silence of 150 ms
	m.Run()
}

// A recorder keeps the events of a server as lines.
type recorder struct {
	noEvents
	mu    sync.Mutex
	lines []string
}

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// waitFor waits for a line.
func (r *recorder) waitFor(t testing.TB, line string) {
	t.Helper()
	for deadline := time.Now().Add(testkit.Patience); !strings.Contains("\n"+r.String()+"\n", "\n"+line+"\n"); {
		if time.Now().After(deadline) {
			t.Fatalf("no event %q, but:\n%s", line, r)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (r *recorder) Resuming(path string, at, size int64) { r.add("resuming %s %d %d", path, at, size) }
func (r *recorder) Stored(e push.FileEvent) {
	r.add("stored %s as %s: %d, identical %t, %.4x", e.Path, e.As, e.Size, e.Identical, e.Digest)
}
func (r *recorder) Failed(e push.FileEvent) {
	r.add("failed %s (%d): %s, kept %d of %d", e.Path, e.Kind, e.Reason, e.Kept, e.Size)
}
func (r *recorder) FormCut(string, error)       { r.add("form cut") }
func (r *recorder) Downloaded(d Download)       { r.add("downloaded %s: %d, %v", d.Path, d.Size, d.Err) }
func (r *recorder) Joined(net.Conn)             { r.add("joined") }
func (r *recorder) Silent(string)               { r.add("silent") }
func (r *recorder) ClientFailed(err error)      { r.add("client failed: %v", errors.Unwrap(err)) }
func (r *recorder) Closed(_ net.Conn, e Ending) { r.add("closed %d", e) }
func (r *recorder) Transfer(string) Transfer    { return recordedTransfer{r} }

type recordedTransfer struct{ *recorder }

func (recordedTransfer) Expected(int64) {}
func (recordedTransfer) Begun(string)   {}
func (recordedTransfer) Single(error)   {}
func (r recordedTransfer) End(sum push.Summary, err error) error {
	r.add("transfer: %d files, %d bytes, worst %d, %v", sum.Files, sum.Bytes, sum.Worst, err)
	return noTransfer{}.End(sum, err)
}

// A running is a server that runs in the test's process.
type running struct {
	*recorder
	t    testing.TB
	addr string
	dir  string // of the store, or of the offer
	stop context.CancelCauseFunc
	done chan error // holds the result of Serve
}

func startServer(t testing.TB, o Options, dir string, serve func(o Options) *Server) *running {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{recorder: &recorder{}, t: t, addr: ln.Addr().String(), dir: dir, done: make(chan error, 1)}
	o.Events = r.recorder
	ctx, stop := context.WithCancelCause(context.Background())
	r.stop = stop
	server := serve(o)
	if server.memory == clientBudget { // which tests in parallel would share
		server.memory = &budget{most: maxMemory}
	}
	go func() { r.done <- server.Serve(ctx, ln) }()
	return r
}

var errStopped = errors.New("stopped by the test")

// receiver starts a server that stores files in a new directory.
func receiver(t testing.TB, o Options, so store.Options) *running {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(dir, so)
	if err != nil {
		t.Fatal(err)
	}
	r := startServer(t, o, dir, func(o Options) *Server { return NewReceiver(s, o) })
	t.Cleanup(func() {
		r.stop(errStopped)
		r.wait()
		_ = s.Close()
	})
	return r
}

// offering starts a server that offers files, by path and content, and
// directories by their first component.
func offering(t testing.TB, o Options, files map[string]string) *running {
	t.Helper()
	dir := t.TempDir()
	top := map[string]bool{}
	for name, content := range files {
		testkit.WriteFile(t, filepath.Join(dir, filepath.FromSlash(name)), content)
		first, _, _ := strings.Cut(name, "/")
		top[filepath.Join(dir, first)] = true
	}
	var paths []string
	for path := range top {
		paths = append(paths, path)
	}
	set, err := offer.Open(paths, false)
	if err != nil {
		t.Fatal(err)
	}
	r := startServer(t, o, dir, func(o Options) *Server { return NewOffer(set, o) })
	t.Cleanup(func() {
		r.stop(errStopped)
		r.wait()
		set.Close()
	})
	return r
}

// wait returns the result of Serve.
func (r *running) wait() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		return err
	case <-time.After(testkit.Patience):
		r.t.Fatal("Serve does not return")
		return nil
	}
}

// served checks that Serve returns nil.
func (r *running) served() {
	r.t.Helper()
	if err := r.wait(); err != nil {
		r.t.Errorf("Serve: %v", err)
	}
}

// goesOn checks that the server still serves.
func (r *running) goesOn() {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		r.t.Errorf("Serve has returned: %v", err)
	default:
	}
}

func (r *running) dial() *net.TCPConn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	r.t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// ask sends a request as it stands, and returns the answer with its body, and
// with its trailer read.
func (r *running) ask(request string) (*http.Response, string) {
	r.t.Helper()
	c := r.dial()
	defer c.Close()
	testkit.WriteString(r.t, c, request)
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: strings.Fields(request)[0]})
	if err != nil {
		r.t.Fatalf("%s: %v", testkit.Brief(request), err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Errorf("%s: %v", testkit.Brief(request), err)
	}
	return resp, string(body)
}

// answers checks the status code of a request, and that the body contains text.
func (r *running) answers(request string, code int, text string) *http.Response {
	r.t.Helper()
	resp, body := r.ask(request)
	if resp.StatusCode != code || !strings.Contains(body, text) {
		r.t.Errorf("%s: %s %s, want %d %q", testkit.Brief(request), resp.Status, testkit.Brief(body), code, text)
	}
	return resp
}

// request is a request with a body and fields.
func request(method, path, body string, fields ...string) string {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path)
	if body != "" || method == "PUT" || method == "PATCH" {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	for _, f := range fields {
		head += f + "\r\n"
	}
	return head + "\r\n" + body
}

func (r *running) path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

func field(content string) string { return digest.Field(testkit.SHA256(content)) }

// A Host field that is no name of this machine, and a page of another site, are
// rejected; what a browser sends from our own page is not.
func TestHostAndOrigin(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true, Hosts: []string{"Box.Example"}}, store.Options{})
	port := r.addr[strings.LastIndexByte(r.addr, ':'):]
	for host, code := range map[string]int{
		"localhost": 200, "LOCALHOST.": 200, "127.0.0.1" + port: 200, "[::1]" + port: 200, "192.0.2.1": 200, machineName(): 200,
		"box.example" + port: 200, "evil.example": 421, "localhost.evil.example": 421, "evil.example" + port: 421, "[evil": 421,
	} {
		r.answers("GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n", code, "")
	}
	for origin, code := range map[string]int{
		"Origin: http://evil.example": 403, "Origin: null": 403, "Sec-Fetch-Site: cross-site": 403, "Sec-Fetch-Site: same-site": 403,
		"Origin: http://localhost": 201, "Sec-Fetch-Site: same-origin": 201,
	} {
		r.answers(request("PUT", fmt.Sprintf("/%x", origin), "x", origin), code, "")
	}
}

// A page of another site cannot make a browser fetch a file, which would end
// the server; a link can be followed.
func TestForeignPage(t *testing.T) {
	t.Parallel()
	r := offering(t, Options{Keep: true}, map[string]string{"f": "content"})
	const other = "Referer: http://evil.example/page"
	for fields, code := range map[string]int{
		"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image":                 403,
		"Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty":                     403,
		"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe":               403,
		"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n" + other: 200,
		"Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors":                                         200,
		"Sec-Fetch-Site: none":                     200,
		other:                                      403,
		"Referer: http://localhost:1/":             403, // another port is another site
		other + "\r\nAccept: text/html":            403, // a page can ask for that
		other + "\r\nUpgrade-Insecure-Requests: 1": 200,
		"Referer: http://LOCALHOST/":               200,
		"Referer: about:blank":                     200,
		"X: curl":                                  200,
		"Sec-Fetch-Site: same-origin\r\nReferer: http://x": 200,
	} {
		for _, method := range []string{"GET", "HEAD"} {
			resp := r.answers(request(method, "/f", "", fields), code, "")
			if resp.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
				t.Errorf("fields %v", resp.Header)
			}
		}
	}
}

// On a Unix socket no name is another site's.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("unix", filepath.Join(testkit.SocketDir(t), "s"))
	if err != nil {
		testkit.NotHere(t, "Unix sockets: "+err.Error())
	}
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	done := make(chan error, 1)
	go func() { done <- NewReceiver(s, Options{}).Serve(t.Context(), ln) }()
	c, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	testkit.WriteString(t, c, "PUT /f HTTP/1.1\r\nHost: whatever\r\nContent-Length: 1\r\n\r\nx")
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != http.StatusCreated {
		t.Errorf("%v, %v", resp, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A client that speaks no HTTP gets an answer that netcat shows, and then a
// reset.
func TestRejected(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		says string
		want error
	}{
		"text":  {"hello world, this is no request\n", ErrNotHTTP},
		"short": {"X", ErrNotHTTP},
		"TLS":   {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaa", ErrTLS},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := receiver(t, Options{}, store.Options{})
			c := r.dial()
			testkit.WriteString(t, c, test.says)
			_ = c.CloseWrite()
			answer, _ := io.ReadAll(c)
			if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.HasSuffix(string(answer), "purr -l PORT --recv-file FILE\n") {
				t.Errorf("the answer is %q", answer)
			}
			err := r.wait()
			var e *ClientError
			if !errors.As(err, &e) || !errors.Is(err, test.want) || e.Client != "127.0.0.1 port "+portOf(c) {
				t.Errorf("Serve: %v", err)
			}
			r.waitFor(t, fmt.Sprint("closed ", Broken))
		})
	}
}

func portOf(c net.Conn) string {
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}

// A client that sends nothing is let go, and is no reason to stop; it does not
// see the end of a file.
func TestSilentClient(t *testing.T) {
	t.Parallel()
	r := offering(t, Options{HelloTimeout: 100 * time.Millisecond}, map[string]string{"f": "content"})
	c := r.dial()
	answer, err := io.ReadAll(c)
	if err == nil || !strings.HasSuffix(string(answer), "purr -l PORT --send-file FILE\n") {
		t.Errorf("%q, %v", answer, err)
	}
	r.waitFor(t, "silent")
	r.answers(request("GET", "/f", ""), 200, "content")
	r.served()
}

// The context ends everything: an upload under way is kept for a resume.
func TestServeStopped(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{}, store.Options{})
	c := r.dial()
	content := testkit.Noise(3 << 20)
	testkit.WriteString(t, c, fmt.Sprintf("PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", 4<<20, content))
	testkit.Eventually(t, "everything is stored", func() bool {
		found, _ := filepath.Glob(r.path(".purr-part-*"))
		if len(found) == 0 {
			return false
		}
		info, err := os.Stat(found[0])
		return err == nil && info.Size() >= 3<<20
	})
	r.stop(errStopped)
	if err := r.wait(); err != errStopped {
		t.Errorf("Serve: %v", err)
	}
	r.waitFor(t, fmt.Sprint("closed ", Interrupted))
	if lines := r.String(); !strings.Contains(lines, "failed f (1): interrupted, kept 3") {
		t.Errorf("events:\n%s", lines)
	}
}

// Prepare may replace a connection, close it, or end a server without Keep.
func TestPrepare(t *testing.T) {
	t.Parallel()
	var n int
	errKey := errors.New("wrong key")
	var mu sync.Mutex
	prepare := func(_ context.Context, c net.Conn) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		switch n++; n {
		case 1:
			_ = c.Close()
			return nil, nil
		case 2:
			return &prefixed{Conn: c, Reader: io.MultiReader(strings.NewReader("GET /x"), c)}, nil
		}
		_ = c.Close()
		return nil, errKey
	}
	r := receiver(t, Options{Prepare: prepare}, store.Options{})
	if b, err := io.ReadAll(r.dial()); len(b) > 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	r.goesOn()
	r.answers(" HTTP/1.1\r\nHost: localhost\r\n\r\n", http.StatusForbidden, "this end receives")
	r.dial()
	if err := r.wait(); !errors.Is(err, errKey) {
		t.Errorf("Serve: %v", err)
	}
}

// A prefixed connection is one that Prepare has wrapped.
type prefixed struct {
	net.Conn
	io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) { return p.Reader.Read(b) }
func (p *prefixed) NetConn() net.Conn          { return p.Conn }

// The cause of a connection's end is reported.
func TestEndings(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{})
	r.answers(request("GET", "/", ""), http.StatusOK, "")
	r.waitFor(t, fmt.Sprint("closed ", ClosedThere))
	c := r.dial()
	testkit.WriteString(t, c, request("GET", "/", "", "Connection: close"))
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
	r.waitFor(t, fmt.Sprint("closed ", ClosedHere))
	c = r.dial()
	testkit.WriteString(t, c, "PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
	testkit.Reset(t, c)
	r.waitFor(t, fmt.Sprint("closed ", Broken))
}

// No more connections are open than MaxConns, and the next is served once one
// has gone.
func TestMaxConns(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true, MaxConns: 1}, store.Options{})
	first := r.dial()
	testkit.WriteString(t, first, request("GET", "/", ""))
	if _, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	second := r.dial()
	testkit.WriteString(t, second, request("GET", "/", ""))
	_ = second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := second.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the second client is served: %d, %v", n, err)
	}
	_ = first.Close()
	_ = second.SetReadDeadline(time.Now().Add(testkit.Patience))
	if resp, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", resp, err)
	}
}

// While a client uploads, a server without Keep serves no other.
func TestBusy(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{}, store.Options{})
	c := r.dial()
	testkit.WriteString(t, c, "PUT /slow HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	testkit.ReadN(t, c, len("HTTP/1.1 100 Continue\r\n\r\n"))
	r.answers(request("PUT", "/f", "x"), http.StatusServiceUnavailable, busy)
	r.answers(form("x", "x"), http.StatusServiceUnavailable, busy)
	// A request that is no upload is answered, and does not count.
	r.answers(request("GET", "/", ""), http.StatusOK, "Send files to")
	stranger := r.dial()
	testkit.WriteString(t, stranger, "no request\n")
	r.waitFor(t, "client failed: "+ErrNotHTTP.Error())
	testkit.WriteString(t, c, "body")
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != http.StatusCreated {
		t.Errorf("%v, %v", resp, err)
	}
	r.served()
	testkit.Absent(t, r.path("f"))
}

// form is the request of a page's form with files, by name and content.
func form(files ...string) string {
	var b bytes.Buffer
	for i := 0; i < len(files); i += 2 {
		fmt.Fprintf(&b, "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=%q\r\n\r\n%s\r\n", files[i], files[i+1])
	}
	b.WriteString("--X--\r\n")
	return request("POST", "/", b.String(), "Content-Type: multipart/form-data; boundary=X")
}
