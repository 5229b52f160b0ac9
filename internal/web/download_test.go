package web

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"purr/internal/push"
	"purr/internal/testkit"
)

func asFilesError(err error) (e *FilesError, ok bool) { return e, errors.As(err, &e) }

func TestDownload(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(1_000_000)
	r := offering(t, Options{}, map[string]string{"d/f": content})
	resp, body := r.ask(request("GET", "/d/f", ""))
	if resp.StatusCode != 200 || body != content || resp.Header.Get("Content-Disposition") != attachment("f") || resp.ContentLength != 1_000_000 {
		t.Errorf("%s %v, %d bytes", resp.Status, resp.Header, len(body))
	}
	r.served()
	r.waitFor(t, "downloaded d/f: 1000000, <nil>")
}

// A range of a file is what was asked for, and only one up to its end ends the
// server.
func TestRanges(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(100_000)
	r := offering(t, Options{}, map[string]string{"f": content})
	tag := r.answers(request("HEAD", "/f", ""), 200, "").Header.Get("ETag")
	for _, test := range []struct {
		fields []string
		code   int
		want   string
	}{
		{[]string{"Range: bytes=10-19"}, 206, content[10:20]},
		{[]string{"Range: bytes=10-19", "If-Range: " + tag}, 206, content[10:20]},
		{[]string{"Range: bytes=100000-"}, 416, "invalid range"},
		{[]string{"If-None-Match: " + tag}, 304, ""},
		{[]string{"Range: Bytes=10-19"}, 206, content[10:20]},
	} {
		resp, body := r.ask(request("GET", "/f", "", test.fields...))
		if resp.StatusCode != test.code || !strings.HasPrefix(body, test.want) {
			t.Errorf("%q: %s %s", test.fields, resp.Status, testkit.Brief(body))
		}
		r.goesOn()
	}
	resp, body := r.ask(request("GET", "/f", "", "Range: bytes=99990-"))
	if resp.StatusCode != 206 || body != content[99990:] {
		t.Errorf("%s %s", resp.Status, testkit.Brief(body))
	}
	r.served()
	r.waitFor(t, "downloaded f: 10, <nil>")
}

// The digest of a file comes in a trailer, or without the file.
func TestWantDigest(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(1_000_000)
	r := offering(t, Options{Keep: true}, map[string]string{"f": content})
	resp, body := r.ask(request("GET", "/f", "", "Want-Repr-Digest: sha-256=10"))
	if resp.StatusCode != 200 || body != content || resp.Trailer.Get(headerDigest) != field(content) {
		t.Errorf("%s, %d bytes, trailer %v", resp.Status, len(body), resp.Trailer)
	}
	resp = r.answers(request("HEAD", "/f", "", "Want-Repr-Digest: sha-256=10"), 200, "")
	if resp.Header.Get(headerDigest) != field(content) || resp.ContentLength != 1_000_000 {
		t.Errorf("fields %v", resp.Header)
	}
}

func TestDownloadRefused(t *testing.T) {
	t.Parallel()
	r := offering(t, Options{}, map[string]string{"d/f": "offered"})
	for _, path := range []string{"/x", "/d", "/d/../d/f", "/d/f/", "//etc/passwd", "/%2fetc%2fpasswd", "/x.tar", "/d/f.tar", "/.tar", "/d%00"} {
		r.answers(request("GET", path, ""), http.StatusNotFound, "\n")
	}
	for _, method := range []string{"PUT", "POST", "DELETE", "PATCH"} {
		r.answers(request(method, "/d/f", ""), http.StatusMethodNotAllowed, "this end sends")
	}
	r.answers(request("GET", "/", ""), http.StatusOK, "Files from")
	r.goesOn()
}

func TestList(t *testing.T) {
	t.Parallel()
	r := offering(t, Options{}, map[string]string{"d/a b": "offered"})
	when := time.Unix(1e9, 5e8)
	for _, name := range []string{"d/a b", "d"} {
		if err := os.Chtimes(r.path(name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	_, body := r.ask(request("GET", "/", "", "Accept: application/json"))
	var entries []listEntry
	if err := json.Unmarshal([]byte(body), &entries); err != nil || len(entries) != 2 {
		t.Fatalf("%s: %v", body, err)
	}
	for i, want := range []listEntry{{Href: "d/a%20b", Size: 7}, {Href: "d", Type: "dir"}} {
		want.Mode, want.Mtime = entries[i].Mode, "1000000000.5"
		if entries[i] != want || len(want.Mode) != 4 {
			t.Errorf("%+v, want %+v", entries[i], want)
		}
	}
	r.goesOn()
}

// A directory comes as an archive with everything that it holds.
func TestTar(t *testing.T) {
	t.Parallel()
	r := offering(t, Options{}, map[string]string{"top/d/f": "content", "top/d/sub/g": "more"})
	linked := os.Symlink("f", r.path("top/d/l")) == nil // Windows wants a right for it
	_, body := r.ask(request("GET", "/top/d.tar", ""))
	r.served()
	got := map[string]string{}
	archive := tar.NewReader(strings.NewReader(body))
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(archive)
		got[h.Name] = fmt.Sprintf("%c%s%s", h.Typeflag, h.Linkname, content)
	}
	want := map[string]string{"d/f": "0content", "d/sub/g": "0more", "d/sub/": "5", "d/": "5"}
	if linked {
		want["d/l"] = "2f"
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	r.waitFor(t, fmt.Sprintf("downloaded top/d.tar: %d, <nil>", len(body)))
}

// A directory of which something cannot be read is no archive.
func TestTarIncomplete(t *testing.T) {
	t.Parallel()
	r := offering(t, Options{}, map[string]string{"d/f": "content"})
	if err := testkit.Mkfifo(r.path("d/pipe")); err != nil {
		testkit.NotHere(t, "a FIFO: "+err.Error())
	}
	r.answers(request("GET", "/d.tar", ""), http.StatusConflict, "d/pipe: neither a file, a directory nor a link: no archive without it")
	if !strings.Contains(r.String(), "downloaded d.tar: 0, d/pipe: neither") {
		t.Errorf("events:\n%s", r)
	}
	r.goesOn()
}

// If a download ends early, it is a failure, and does not look whole.
func TestDownloadCut(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(20 << 20)
	begin := func(t *testing.T) (*running, io.ReadCloser) {
		r := offering(t, Options{}, map[string]string{"f": content})
		c := r.dial()
		_ = c.SetReadBuffer(64 << 10)
		testkit.WriteString(t, c, request("GET", "/f", ""))
		testkit.ReadN(t, c, 1000)
		return r, c
	}
	t.Run("changed", func(t *testing.T) {
		t.Parallel()
		r, c := begin(t)
		f, err := os.OpenFile(r.path("f"), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("x"), 0); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
		if rest, _ := io.ReadAll(c); len(rest) >= len(content) {
			t.Errorf("%d bytes have come", len(rest))
		}
		checkFiles(t, r.wait(), push.Abandoned, true)
	})
	t.Run("shorter", func(t *testing.T) {
		t.Parallel()
		r, c := begin(t)
		if err := os.Truncate(r.path("f"), 1<<20); err != nil {
			t.Fatal(err)
		}
		if rest, _ := io.ReadAll(c); len(rest) >= len(content)-1000 {
			t.Errorf("%d bytes have come", len(rest))
		}
		if e, ok := asFilesError(r.wait()); !ok || !e.Download {
			t.Errorf("Serve: %v", r.wait())
		}
	})
	t.Run("client gone", func(t *testing.T) {
		t.Parallel()
		r, c := begin(t)
		_ = c.Close()
		testkit.Eventually(t, "the end of the download", func() bool { return strings.Contains(r.String(), "downloaded f: ") })
		r.goesOn() // it may come back
		if _, body := r.ask(request("GET", "/f", "", "Range: bytes=1000-")); body != content[1000:] {
			t.Errorf("%d bytes", len(body))
		}
		r.served()
	})
}

// A name goes into both forms of a field if both represent it exactly.
func TestAttachment(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"d/f": `attachment; filename="f"; filename*=UTF-8''f`, "ü b": `attachment; filename="ü b"; filename*=UTF-8''%C3%BC%20b`,
		`q"`: "attachment", "nl\n": "attachment", "bad\xff": "attachment", `b\`: "attachment", "50%41": "attachment",
	} {
		if got := attachment(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

// A range in another unit is ignored.
func TestOddRange(t *testing.T) {
	t.Parallel()
	r := offering(t, Options{}, map[string]string{"f": "content"})
	r.answers(request("GET", "/f", "", "Range: lines=0-5"), http.StatusOK, "content")
	r.served()
}

// A client of HTTP/1.0 needs no Host field.
func TestWithoutHost(t *testing.T) {
	t.Parallel()
	r := offering(t, Options{}, map[string]string{"f": "content"})
	r.answers("GET /f HTTP/1.1\r\nHost:\r\n\r\n", http.StatusMisdirectedRequest, "")
	c := r.dial()
	testkit.WriteString(t, c, "GET /f HTTP/1.0\n\n")
	_ = c.CloseWrite()
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200 ") || !strings.HasSuffix(string(answer), "\r\n\r\ncontent") {
		t.Errorf("%q, %v", answer, err)
	}
	r.served()
}
