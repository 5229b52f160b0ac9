package web

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"purr/internal/offer"
	"purr/internal/push"
	"purr/internal/store"
	"purr/internal/testkit"
)

// dialPurr begins a transfer as a purr does that dials.
func dialPurr(t testing.TB, r *running, as push.Role, o push.Options) (*push.Conn, error) {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	return push.Dial(t.Context(), conn, as, o)
}

// A purr pushes to a receiver, over several connections.
func TestPurrPushes(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Streams: &push.Streams{}}, store.Options{})
	from := t.TempDir()
	large := testkit.Noise(8 << 20)
	for name, content := range map[string]string{"d/small": "content", "d/large": large, "d/second": large} {
		testkit.WriteFile(t, filepath.Join(from, filepath.FromSlash(name)), content)
	}
	set, err := offer.Open([]string{filepath.Join(from, "d")}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	c, err := dialPurr(t, r, push.Sender, push.Options{Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", r.addr)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sum, err := c.Send(t.Context(), set)
	if err != nil || sum.Files != 3 || sum.Worst != push.OK {
		t.Errorf("%+v, %v", sum, err)
	}
	_ = c.Close()
	r.served()
	for name, content := range map[string]string{"d/small": "content", "d/large": large, "d/second": large} {
		testkit.HasContent(t, r.path(name), content)
	}
	lines := r.String()
	if !strings.Contains(lines, "transfer: 3 files, 16777223 bytes, worst 0, <nil>") || !strings.Contains(lines, "joined") {
		t.Errorf("events:\n%s", lines)
	}
	if ends := strings.Count(lines, "closed "); ends != 1+strings.Count(lines, "joined") {
		t.Errorf("%d connections were closed:\n%s", ends, lines)
	}
}

// A purr pulls from an offer; a file that it does not store is the server's
// failure, too.
func TestPurrPulls(t *testing.T) {
	t.Parallel()
	for worst, there := range map[push.Kind]string{push.OK: "", push.Refused: "old"} {
		r := offering(t, Options{}, map[string]string{"f": "content", "g": "more"})
		dir := t.TempDir()
		if there != "" {
			testkit.WriteFile(t, filepath.Join(dir, "g"), there)
		}
		s, err := store.Open(dir, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := dialPurr(t, r, push.Receiver, push.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if sum, err := c.Receive(t.Context(), s); err != nil || sum.Worst != worst {
			t.Errorf("%+v, %v", sum, err)
		}
		_ = c.Close()
		_ = s.Close()
		if worst == push.OK {
			r.served()
		} else {
			checkFiles(t, r.wait(), worst, false)
		}
		testkit.HasContent(t, filepath.Join(dir, "f"), "content")
	}
}

// A purr that goes in the middle is the failure of a server without Keep.
func TestPurrGone(t *testing.T) {
	t.Parallel()
	r := offering(t, Options{}, map[string]string{"f": testkit.Noise(20 << 20)})
	c := r.dial()
	testkit.WriteString(t, c, hello("receiver", push.Protocol))
	testkit.ReadN(t, c, 150)
	testkit.Reset(t, c)
	err := r.wait()
	var e *push.Error
	if !errors.As(err, &e) || e.Kind != push.Cut {
		t.Errorf("Serve: %v", err)
	}
}

// hello is how a purr begins, in a version.
func hello(role, protocol string) string {
	return request("POST", "/", "", "Purr: "+role, "Connection: Upgrade", "Upgrade: "+protocol, "Want-Repr-Digest: sha-256=10")
}

// A purr in the same role, or of another version, is answered, and is the
// failure of a server without Keep.
func TestPurrRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		request string
		code    int
		kind    push.Kind
	}{
		"same role":     {hello("receiver", push.Protocol), http.StatusConflict, push.SameRole},
		"other version": {hello("sender", "purr-files/0"), http.StatusUpgradeRequired, push.OldVersion},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := receiver(t, Options{}, store.Options{})
			r.answers(test.request, test.code, "\n")
			err := r.wait()
			var e *push.Error
			if !errors.As(err, &e) || e.Kind != test.kind {
				t.Errorf("Serve: %v", err)
			}
		})
	}
	t.Run("HTTP/2", func(t *testing.T) {
		t.Parallel()
		r := receiver(t, Options{}, store.Options{})
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.addr+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Purr", "sender")
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusUpgradeRequired || len(body) == 0 {
			t.Errorf("%s %q", resp.Status, body)
		}
		transport.CloseIdleConnections()
		var e *push.Error
		if err := r.wait(); !errors.As(err, &e) || e.Kind != push.OldVersion {
			t.Errorf("Serve: %v", err)
		}
	})
}

// While a client is served, a purr is refused, and the other way round.
func TestPurrBusy(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{}, store.Options{})
	c := r.dial()
	testkit.WriteString(t, c, hello("sender", push.Protocol))
	testkit.ReadN(t, c, len("HTTP/1.1 101 "))
	r.answers(request("PUT", "/f", "x"), http.StatusServiceUnavailable, busy)
	r.answers(hello("sender", push.Protocol), http.StatusServiceUnavailable, busy)
	r.stop(errStopped)
	if err := r.wait(); err != errStopped {
		t.Errorf("Serve: %v", err)
	}
	if lines := r.String(); !strings.Contains(lines, "transfer: 0 files, 0 bytes, worst 0, "+errStopped.Error()) {
		t.Errorf("events:\n%s", lines)
	}
}
