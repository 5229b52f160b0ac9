package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"purr/internal/push"
	"purr/internal/store"
	"purr/internal/testkit"
)

// askFrom is ask from another address of this machine.
func (r *running) askFrom(host, ask string) (*http.Response, string) {
	r.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	c, err := d.DialContext(r.t.Context(), "tcp", r.addr)
	if err != nil {
		testkit.NotHere(r.t, "a second address: "+err.Error()) // some systems have one address only
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	testkit.WriteString(r.t, c, ask)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

func get(path, ranges string) string { return request("GET", path, "", "Range: bytes="+ranges) }

// A server without Keep ends when one client has had every byte of a file, in
// however many requests.
func TestParts(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(100_000)
	r := offering(t, Options{}, map[string]string{"f": content, "tiny": "abc"})
	for _, ask := range []string{
		get("/tiny", "0-0,2-2"), get("/f", "0-49999"), get("/f", "60000-69999,80000-89999"), get("/f", "90000-99999"), get("/f", "-500"),
		get("/f", "50000-59999"), get("/f", "69999-79998"),
	} {
		r.answers(ask, http.StatusPartialContent, "")
		r.goesOn()
	}
	r.askFrom("127.0.0.2", get("/f", "79999-79999"))
	r.askFrom("127.0.0.2", get("/tiny", "1-1"))
	time.Sleep(20 * time.Millisecond)
	r.goesOn()
	r.answers(get("/f", "79999-79999"), http.StatusPartialContent, "")
	r.served()
}

// begin asks for a part of f, and reads the beginning of the answer.
func (r *running) begin(ask string) net.Conn {
	r.t.Helper()
	c := r.dial()
	_ = c.SetReadBuffer(64 << 10)
	testkit.WriteString(r.t, c, ask)
	testkit.ReadN(r.t, c, 1000)
	return c
}

// A part up to the end does not end a server while another one is under way.
func TestPartsBeside(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(20 << 20)
	r := offering(t, Options{Silence: 3 * time.Second}, map[string]string{"f": content})
	slow := r.begin(get("/f", "0-19999999"))
	if _, body := r.ask(get("/f", "20000000-")); body != content[20_000_000:] {
		t.Errorf("%d bytes", len(body))
	}
	r.goesOn()
	if n, err := io.Copy(io.Discard, slow); err != nil || n < 19_999_000 { // to the end: what stays in the sockets may count as not accepted
		t.Errorf("%d bytes: %v", n, err)
	}
	r.served()
}

// A part that was broken off and not continued keeps the server up.
func TestPartsBrokenOff(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(20 << 20)
	r := offering(t, Options{}, map[string]string{"f": content})
	_ = r.begin(get("/f", "0-19999999")).Close()
	testkit.Eventually(t, "the end of the first", func() bool { return strings.Contains(r.String(), "downloaded f: ") })
	r.ask(get("/f", "20000000-"))
	r.goesOn()
	r.ask(get("/f", "500-19999999")) // after the 500 bytes that it has
	r.served()
}

// A server that has served waits for the downloads of others, which it takes no
// more of.
func TestDownloadBeside(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(20 << 20)
	r := offering(t, Options{Silence: 200 * time.Millisecond}, map[string]string{"f": content, "quick": "content"})
	slow := r.begin(request("GET", "/f", ""))
	r.answers(request("GET", "/quick", ""), http.StatusOK, "content")
	r.waitFor(t, "downloaded quick: 7, <nil>")
	r.answers(request("GET", "/quick", ""), http.StatusServiceUnavailable, "has served")
	for range 6 { // longer than Silence
		if _, err := io.CopyN(io.Discard, slow, 1<<20); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.goesOn()
	if n, err := io.Copy(io.Discard, slow); err != nil || n < 14<<20-1000 {
		t.Errorf("%d more bytes: %v", n, err)
	}
	r.served()
	if !strings.Contains(r.String(), fmt.Sprintf("downloaded f: %d, <nil>", 20<<20)) {
		t.Errorf("events:\n%s", r)
	}
}

// The several files of a page are one visit: between them no other client's
// upload is accepted, and none ends the server.
func TestVisit(t *testing.T) {
	t.Parallel()
	for name, visit := range map[string]string{"by name": "Purr-Visit: v1", "by address": "X: y"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := receiver(t, Options{}, store.Options{})
			r.answers(request("PUT", "/a", "1", visit, "Purr-More: ?1"), http.StatusCreated, "")
			if name == "by name" {
				r.answers(request("PUT", "/evil", "x"), http.StatusServiceUnavailable, busy)
				r.answers(request("PUT", "/evil", "x", "Purr-Visit: v2"), http.StatusServiceUnavailable, busy)
			}
			if resp, _ := r.askFrom("127.0.0.2", request("PUT", "/evil", "x")); resp.StatusCode != http.StatusServiceUnavailable {
				t.Error(resp.Status)
			}
			r.goesOn()
			r.answers(request("PUT", "/b", "2", visit, "Purr-More: ?1"), http.StatusCreated, "")
			r.goesOn()
			r.answers(request("PUT", "/c", "3", visit), http.StatusCreated, "")
			r.served()
			testkit.Absent(t, r.path("evil"))
		})
	}
}

// A visit that is not continued does not keep others out for ever.
func TestVisitGone(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Silence: 50 * time.Millisecond}, store.Options{})
	r.answers(request("PUT", "/a", "1", "Purr-Visit: v1", "Purr-More: ?1"), http.StatusCreated, "")
	testkit.Eventually(t, "another client is served", func() bool {
		resp, _ := r.ask(request("PUT", "/b", "2"))
		return resp.StatusCode == http.StatusCreated
	})
	r.served()
}

// A form that ends in the head of a part is not whole, though the request is.
func TestFormCutInHead(t *testing.T) {
	t.Parallel()
	whole := form("a", "first", "b", "second")
	head, body, _ := strings.Cut(whole, "\r\n\r\n")
	head = head[:strings.LastIndex(head, "Content-Length")] + "Content-Type: multipart/form-data; boundary=X\r\n"
	for _, end := range []string{"first\r\n--X", "first\r\n--X\r\n", "first\r\n--X\r\nContent-", "filename=\"b\"", "filename=\"b\"\r\n", "filename=\"b\"\r\n\r\nsec"} {
		r := receiver(t, Options{}, store.Options{})
		part := body[:strings.Index(body, end)+len(end)]
		resp, page := r.ask(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(part), part))
		if resp.StatusCode < 400 {
			t.Errorf("%q: %s %s", end, resp.Status, testkit.Brief(page))
		}
		if e, ok := asFilesError(r.wait()); !ok || e.Worst == push.OK {
			t.Errorf("%q: Serve: %v", end, r.wait())
		}
		testkit.HasContent(t, r.path("a"), "first")
	}
	r := receiver(t, Options{}, store.Options{}) // without the line's end
	part := strings.TrimSuffix(body, "\r\n")
	r.answers(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(part), part), http.StatusCreated, "2 of 2")
	r.served()
}
