package web

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"purr/internal/push"
	"purr/internal/store"
	"purr/internal/testkit"
)

// A budget is not exceeded, and no address gets more than its share.
func TestBudget(t *testing.T) {
	t.Parallel()
	b := budget{most: 100}
	b.give("a", 0) // of a connection that was never charged
	for i, step := range []struct {
		host string
		n    int64
		want bool
	}{
		{"a", 25, true}, {"a", 1, false}, {"b", 26, false}, {"b", 20, true}, {"c", 25, true}, {"d", 25, true},
		{"e", 6, false}, {"e", 5, true}, {"f", 1, false},
	} {
		if got := b.take(step.host, step.n); got != step.want {
			t.Errorf("step %d: %t", i, got)
		}
	}
	b.give("a", 25)
	if !b.take("f", 25) || b.take("a", 1) {
		t.Error("what was given back is not given out again")
	}
	if b := (budget{most: 2}); !b.take("a", 1) || b.take("a", 1) {
		t.Error("a small budget")
	}
}

// A form has any number of files, of which those are listed that fit into the
// memory of a list and of the client.
func TestFormResults(t *testing.T) {
	t.Parallel()
	s := NewOffer(nil, Options{})
	c := pipeClient(t, s)
	long := pageResult{name: strings.Repeat("n", 10_000), refusal: strings.Repeat("r", 10_000)}
	for _, most := range []int64{listMemory, 100_000} {
		s.memory = &budget{most: shares * most}
		results := formResults{c: c}
		for range 1000 {
			results.add(long)
		}
		results.add(pageResult{name: "short"})
		if rows := int64(len(results.rows)); rows != most/20_200+1 || results.files != 1001 || results.stored != 1 {
			t.Errorf("%d rows, %d of %d files stored", rows, results.stored, results.files)
		}
		if s.memory.used != results.memory || s.memory.used > most {
			t.Errorf("%d bytes are held, of %d", s.memory.used, most)
		}
		results.free()
		if s.memory.used != 0 {
			t.Errorf("%d bytes are held after the answer", s.memory.used)
		}
	}
}

// The least rate holds for each period of waiting, and not before its end.
func TestPacer(t *testing.T) {
	t.Parallel()
	type step struct {
		n      int
		waited time.Duration
		want   bool
	}
	for name, steps := range map[string][]step{
		"fast":              {{1 << 20, time.Millisecond, true}, {1, 59 * time.Second, true}, {1, time.Second, true}},
		"drips":             {{1, 15 * time.Second, true}, {1, 15 * time.Second, true}, {1, 15 * time.Second, true}, {1, 15 * time.Second, false}},
		"just enough":       {{6000, 60 * time.Second, true}, {6000, 60 * time.Second, true}, {5999, 60 * time.Second, false}},
		"fast, then drips":  {{1 << 30, 60 * time.Second, true}, {100, 60 * time.Second, false}},
		"held up by us":     {{1, 0, true}, {1, 0, true}, {1, 0, true}},
		"a pause, then all": {{0, 25 * time.Second, true}, {1 << 20, 35 * time.Second, true}},
	} {
		p := pacer{grace: 60 * time.Second}
		for i, s := range steps {
			if got := p.add(s.n, s.waited); got != s.want {
				t.Errorf("%s, step %d: %t", name, i, got)
			}
		}
	}
}

// An upload that drips is cut; a form that does lets go of the server.
func TestDrips(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"PUT":  "PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
		"form": "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=X\r\nContent-Length: 100000\r\n\r\n--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := receiver(t, Options{Silence: 200 * time.Millisecond}, store.Options{})
			c := r.dial()
			testkit.WriteString(t, c, head)
			go func() {
				for {
					if _, err := c.Write([]byte("x")); err != nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			}()
			answer, err := io.ReadAll(c)
			if errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(string(answer), errTooSlow.Error()) {
				t.Errorf("%q, %v", answer, err)
			}
			checkFiles(t, r.wait(), push.Cut, false)
			if !strings.Contains(r.String(), errTooSlow.Error()) {
				t.Errorf("events:\n%s", r)
			}
		})
	}
}

// bounded is a receiver with a budget of its own.
func bounded(t testing.TB, most int64, uploads int64) *running {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := startServer(t, Options{Keep: true}, dir, func(o Options) *Server {
		server := NewReceiver(s, o)
		server.memory = &budget{most: most}
		server.handler.(*uploadHandler).files.most = uploads
		return server
	})
	t.Cleanup(func() {
		r.stop(errStopped)
		r.wait()
		_ = s.Close()
	})
	return r
}

// Beyond the share of an address a connection gets 503 at once, and others are
// served; what a connection has occupied is free once it is closed.
func TestConnectionsBounded(t *testing.T) {
	t.Parallel()
	const room = 64 << 10 // for a small head
	r := bounded(t, shares*(3*connMemory+room), maxUploads)
	var open []net.Conn
	for range 3 {
		c := r.dial()
		testkit.WriteString(t, c, request("GET", "/", ""))
		testkit.ReadN(t, c, 100)
		open = append(open, c)
	}
	for len(open) < 6 { // also what a head needs for a moment
		c := r.dial()
		testkit.WriteString(t, c, request("GET", "/", ""))
		testkit.ReadN(t, c, 10)
		open = append(open, c)
	}
	r.answers(request("GET", "/", ""), http.StatusServiceUnavailable, full)
	if resp, _ := r.askFrom("127.0.0.2", request("GET", "/", "")); resp.StatusCode != http.StatusOK {
		t.Errorf("another address: %s", resp.Status)
	}
	for _, c := range open {
		_ = c.Close()
	}
	testkit.Eventually(t, "the address is served again", func() bool {
		resp, _ := r.ask(request("GET", "/", ""))
		return resp.StatusCode == http.StatusOK
	})
}

// Heads that are not finished, and connections of HTTP/2, count for what they
// can occupy.
func TestHeadsBounded(t *testing.T) {
	t.Parallel()
	r := bounded(t, shares*(connMemory+headFactor*4000), maxUploads)
	r.answers(request("GET", "/", "", "X: "+strings.Repeat("x", 2000)), http.StatusOK, "")
	c := r.dial()
	testkit.WriteString(t, c, request("GET", "/", "", "X: "+strings.Repeat("x", 6000)))
	if b, _ := io.ReadAll(c); strings.Contains(string(b), " 200 ") {
		t.Errorf("%q", b)
	}
	c = r.dial()
	testkit.WriteString(t, c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if b, _ := io.ReadAll(c); !strings.HasPrefix(string(b), "HTTP/1.1 503 ") {
		t.Errorf("%q", b)
	}
	testkit.Eventually(t, "everything is given back", func() bool {
		resp, _ := r.ask(request("GET", "/", ""))
		return resp.StatusCode == http.StatusOK
	})
}

// Beyond the slots of an address an upload gets 503 at once.
func TestUploadsBounded(t *testing.T) {
	t.Parallel()
	r := bounded(t, maxMemory, 2*shares)
	var open []net.Conn
	for i := range 2 {
		c := r.dial()
		testkit.WriteString(t, c, fmt.Sprintf("PUT /slow%d HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", i))
		testkit.ReadN(t, c, len("HTTP/1.1 100 Continue\r\n\r\n"))
		open = append(open, c)
	}
	for _, ask := range []string{request("PUT", "/f", "x"), form("f", "x")} {
		if resp := r.answers(ask, http.StatusServiceUnavailable, full); resp.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if resp, _ := r.askFrom("127.0.0.2", request("PUT", "/other", "x")); resp.StatusCode != http.StatusCreated {
		t.Errorf("another address: %s", resp.Status)
	}
	for _, c := range open {
		testkit.WriteString(t, c, "body")
	}
	testkit.Eventually(t, "the address is served again", func() bool {
		resp, _ := r.ask(request("PUT", "/f", "x"))
		return resp.StatusCode == http.StatusCreated
	})
}
