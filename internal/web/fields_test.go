package web

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"purr/internal/offer"
	"purr/internal/store"
	"purr/internal/testkit"
)

func TestMtimeField(t *testing.T) {
	t.Parallel()
	for _, when := range []time.Time{time.Unix(0, 0), time.Unix(1, 1), time.Unix(1e9, 120_000_000), time.Unix(-5, 999_999_999), time.Unix(1<<40, 5)} {
		if got, err := parseMtime(formatMtime(when)); err != nil || !got.Equal(when) {
			t.Errorf("%v became %q, and then %v (%v)", when, formatMtime(when), got, err)
		}
	}
	for text, want := range map[string]time.Time{
		"-1.500": time.Unix(-2, 5e8), "-0.5": time.Unix(-1, 5e8), "-1": time.Unix(-1, 0), "0.5": time.Unix(0, 5e8), "-0.000000001": time.Unix(-1, 999_999_999),
	} {
		if got, err := parseMtime(text); err != nil || !got.Equal(want) {
			t.Errorf("%q was taken as %v, %v", text, got, err)
		}
	}
	if got := formatMtime(time.Unix(-1, 5e8)); got != "-0.5" {
		t.Error(got)
	}
	for _, text := range []string{"x", "1.x", ".5", "1.0123456789", "99999999999999999999", "1 2"} {
		if got, err := parseMtime(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

// A parsed field is within its range, and is the same after it was written and
// parsed again.
func FuzzFields(f *testing.F) {
	for _, text := range []string{"", "0644", "7777", "-1", "1.5", "1.", "9223372036854775808"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if mode, err := parseMode(text); err == nil && mode&^store.ModeGiven != mode.Perm() {
			t.Errorf("mode %q: %v", text, mode)
		}
		if n, err := parseOffset(text); err == nil && n < 0 {
			t.Errorf("offset %q: %d", text, n)
		}
		if when, err := parseMtime(text); err == nil && !when.IsZero() {
			if again, err := parseMtime(formatMtime(when)); err != nil || !again.Equal(when) {
				t.Errorf("time %q: %v, and then %v (%v)", text, when, again, err)
			}
		}
	})
}

// The first bytes of a client are a request, the incomplete beginning of one,
// or neither.
func FuzzHello(f *testing.F) {
	for _, text := range []string{"", "GET /", "PUT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-", "\x16\x03\x01", "GET x", "GE /"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !speaksHTTP(text) {
			return
		}
		if isMethod([]byte(text)) {
			t.Errorf("%q is a request, and needs more bytes to tell", text)
		}
		if method, _, _ := strings.Cut(text, " "); len(method) < 3 || strings.ToUpper(method) != method {
			t.Errorf("%q has no method", text)
		}
	})
}

// pipeClient returns a client on a connection that is not used.
func pipeClient(t testing.TB, s *Server) *client {
	conn, other := net.Pipe()
	t.Cleanup(func() { _, _ = conn.Close(), other.Close() })
	return newClient(s, conn, func() {})
}

// fuzzed reads a request as net/http does; nil if it is none, or too slow to
// read.
func fuzzed(raw []byte) *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil || r.ContentLength > 1<<20 {
		return nil
	}
	return r
}

// For any upload, the directory holds only whole files with permitted names,
// and a file answered with 201 exists.
func FuzzUpload(f *testing.F) {
	for _, raw := range []string{
		request("PUT", "/f", "content"), request("PUT", "/a/b", "x", "Purr-Mode: 7777", "X-OC-Mtime: 1.5", "Repr-Digest: "+field("x")),
		request("PUT", "/../x", "evil"), request("PUT", "/%2e%2e/x", "evil"), request("PUT", "//tmp/x", "evil"),
		request("PATCH", "/f", "x", "Content-Type: application/partial-upload", "Upload-Offset: 0", "Upload-Length: 5"),
		"PUT /f HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: Repr-Digest\r\n\r\n7\r\ncontent\r\n0\r\nRepr-Digest: " + field("content") + "\r\n\r\n",
		form("a", "x", "../b", "y", ".c", "z"), form("", ""), request("HEAD", "/f", ""), request("POST", "/", "--X", "Content-Type: multipart/form-data; boundary=X"),
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := fuzzed(raw)
		if r == nil {
			return
		}
		above := t.TempDir()
		dir := filepath.Join(above, "in")
		testkit.WriteFile(t, filepath.Join(dir, "there"), "old")
		st, err := store.Open(dir, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		s := NewReceiver(st, Options{})
		w := httptest.NewRecorder()
		s.handler.serve(w, r, pipeClient(t, s))
		name := strings.TrimPrefix(r.URL.Path, "/")
		if w.Code == http.StatusCreated && r.Method == http.MethodPut {
			if found, _ := filepath.Glob(filepath.Join(dir, "*")); len(found) != 2 {
				t.Errorf("%q: answered as stored, and %q is there", name, found)
			}
		}
		if found, _ := filepath.Glob(filepath.Join(above, "*")); len(found) != 1 {
			t.Errorf("%q: outside is %q", name, found)
		}
		if got := testkit.ReadFile(t, filepath.Join(dir, "there")); got != "old" {
			t.Errorf("%q: replaced by %q", name, got)
		}
	})
}

// For any request, an answer with content holds only offered files, and only
// one with the last byte of a file counts as a download.
func FuzzDownload(f *testing.F) {
	for _, raw := range []string{
		request("GET", "/d/f", ""), request("GET", "/d/../secret", ""), request("GET", "/d.tar", ""), request("GET", "/", "", "Accept: application/json"),
		request("GET", "/d/f", "", "Range: bytes=1-2"), request("GET", "/d/f", "", "Range: bytes=-1"), request("GET", "/d/f", "", "Range: bytes=0-0,2-"),
		request("GET", "/d/f", "", "Range: bytes=1-", `If-Range: "x"`), request("GET", "/d/f", "", "Want-Repr-Digest: sha-256=10"), request("HEAD", "/d/f", "", "Want-Repr-Digest: sha-256=1"),
	} {
		f.Add([]byte(raw))
	}
	dir := f.TempDir()
	testkit.WriteFile(f, filepath.Join(dir, "secret"), "SECRET")
	testkit.WriteFile(f, filepath.Join(dir, "d", "f"), "offered")
	set, err := offer.Open([]string{filepath.Join(dir, "d")}, false)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(set.Close)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := fuzzed(raw)
		if r == nil {
			return
		}
		events := &recorder{}
		s := NewOffer(set, Options{Events: events})
		w := httptest.NewRecorder()
		s.handler.serve(w, r, pipeClient(t, s))
		body := w.Body.String()
		if strings.Contains(body, "SECRET") {
			t.Errorf("%s: %s", r.URL, testkit.Brief(body))
		}
		if r.URL.Path == "/d/f" && w.Code == http.StatusOK && r.Method == http.MethodGet && body != "offered" {
			t.Errorf("%q: %q", raw, body)
		}
		if part := w.Result().Header.Get("Content-Range"); w.Code == http.StatusPartialContent && part != "" {
			var from, to int
			if _, err := fmt.Sscanf(part, "bytes %d-%d/7", &from, &to); err != nil || body != "offered"[from:to+1] {
				t.Errorf("%s: %q", part, body)
			}
		}
	})
}
