//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"purr/internal/digest"
	"purr/internal/sys"
	"purr/internal/testkit"
)

// Peers that are hostile, or send messages that no purr sends.

// startPull starts a receiver that listens, and returns it with its directory.
func startPull(t testing.TB, args ...string) (p *process, addr, into string) {
	t.Helper()
	into = t.TempDir()
	p = startPurr(t, opts{}, append(append([]string{"--pull", "-v", "-l"}, args...), "127.0.0.1", "0", into)...)
	return p, p.addr(), into
}

// startPush starts a sender that listens, in a directory with the given files.
func startPush(t testing.TB, dir string, args ...string) (p *process, addr string) {
	t.Helper()
	p = startPurr(t, opts{dir: dir}, append([]string{"--push", "-v", "-l", "127.0.0.1", "0"}, args...)...)
	return p, p.addr()
}

// ask sends a request as it stands, and returns the answer with its body.
func ask(t testing.TB, addr, request string) (*http.Response, string) {
	t.Helper()
	c := dialTest(t, "tcp", addr)
	defer c.Close()
	writeAll(t, c, request)
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: strings.Fields(request)[0]})
	if err != nil {
		t.Fatalf("%s: %v", testkit.Brief(request), err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s: %v", testkit.Brief(request), err)
	}
	return resp, string(body)
}

// putRequest is a PUT of a few bytes to a path that is taken as it stands.
func putRequest(path string) string {
	return "PUT " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nevil"
}

func TestPutHostileNames(t *testing.T) {
	t.Parallel()
	p, addr, into := startPull(t, "-k")
	for path, name := range map[string]string{
		"/../x":                                "../x",
		"/%2e%2e/x":                            "../x",
		"/a/../../x":                           "a/../../x",
		"/..":                                  "..",
		"//tmp/x":                              "/tmp/x",
		"/%2ftmp%2fx":                          "/tmp/x",
		"/a//b":                                "a//b",
		"/a/./b":                               "a/./b",
		"/a/":                                  "a/",
		"/.":                                   ".",
		"/a%1b[1A%0dharmless":                  "a\x1b[1A\rharmless",
		"/a%00b":                               "a\x00b",
		"/a%7fb":                               "a\x7fb",
		"/a%c2%9bb":                            "a\u009bb",
		"/a%e2%80%aetxt.exe":                   "a\u202etxt.exe",
		"/.purr-part-0123456789":               ".purr-part-0123456789",
		"/.PURR-part-x":                        ".PURR-part-x",
		"/a/.purr-part-x/b":                    "a/.purr-part-x/b",
		"/.ssh/authorized_keys":                ".ssh/authorized_keys",
		"/a/.bashrc":                           "a/.bashrc",
		"/" + strings.Repeat("n", 256):         strings.Repeat("n", 256),
		"/" + strings.Repeat("a/", 2500) + "x": strings.Repeat("a/", 2500) + "x",
		"/" + strings.Repeat("a/", 128) + "x":  strings.Repeat("a/", 128) + "x",
	} {
		resp, body := ask(t, addr, putRequest(path))
		code, why := http.StatusBadRequest, `unsafe name: .+`
		if name == ".ssh/authorized_keys" || name == "a/.bashrc" {
			code, why = http.StatusForbidden, "hidden name: a component that begins with a dot needs a key at both ends"
		}
		if resp.StatusCode != code || !regexp.MustCompile("^"+why+"\n$").MatchString(body) {
			t.Errorf("PUT %s: %s %q, want %d %s", testkit.Brief(path), resp.Status, body, code, why)
		}
		p.waitErr(regexp.MustCompile(regexp.QuoteMeta(fmt.Sprintf("purr: %q refused: ", name)) + why + "\n"))
	}
	if said := p.err.String(); strings.ContainsAny(said, "\x1b\r\x00\x7f\u009b\u202e") {
		t.Errorf("raw control characters on stderr: %q", said)
	}
	if found, _ := os.ReadDir(into); len(found) != 0 {
		t.Errorf("left in the directory: %v", found)
	}
	// An odd but harmless upload is stored.
	for path, name := range map[string]string{
		"/a%20b%25%3f%23&+":            "a b%?#&+",
		"/-rf":                         "-rf",
		"/%e4%bd%a0/%f0%9f%90%88":      "你/🐈",
		"/bad%ff%fename":               "bad\xff\xfename",
		"/a..b":                        "a..b",
		"/back%5cslash":                `back\slash`,
		"/" + strings.Repeat("n", 255): strings.Repeat("n", 255),
	} {
		if resp, body := ask(t, addr, putRequest(path)); resp.StatusCode != http.StatusCreated {
			t.Errorf("PUT %s: %s %q", testkit.Brief(path), resp.Status, body)
		}
		hasContent(t, filepath.Join(into, name), "evil")
	}
}

// A listener refuses some requests.
func TestPullRefusesRequests(t *testing.T) {
	t.Parallel()
	p, addr, into := startPull(t, "-k")
	_, port, _ := strings.Cut(addr, ":")
	head := "PUT /f HTTP/1.1\r\nContent-Length: 4\r\n"
	for request, want := range map[string]int{
		head + "Host: evil.example\r\n\r\nevil":                                                                                                  http.StatusMisdirectedRequest,
		head + "Host: evil.example:" + port + "\r\n\r\nevil":                                                                                     http.StatusMisdirectedRequest,
		head + "Host: localhost.evil.example\r\n\r\nevil":                                                                                        http.StatusMisdirectedRequest,
		head + "Host: localhost\r\nOrigin: http://evil.example\r\n\r\nevil":                                                                      http.StatusForbidden,
		head + "Host: localhost\r\nOrigin: null\r\n\r\nevil":                                                                                     http.StatusForbidden,
		head + "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\nevil":                                                                       http.StatusForbidden,
		head + "Host: localhost\r\nSec-Fetch-Site: same-site\r\n\r\nevil":                                                                        http.StatusForbidden,
		head + "Host: localhost\r\nContent-Range: bytes 4-7/8\r\n\r\nevil":                                                                       http.StatusBadRequest,
		head + "Host: localhost\r\nRepr-Digest: sha-256=:AAAA:\r\n\r\nevil":                                                                      http.StatusBadRequest,
		head + "Host: localhost\r\nRepr-Digest: " + digest.Field(testkit.SHA256("other")) + "\r\n\r\nevil":                                       http.StatusUnprocessableEntity,
		head + "Host: localhost\r\nPurr-Mode: rwx\r\n\r\nevil":                                                                                   http.StatusBadRequest,
		head + "Host: localhost\r\nX-OC-Mtime: yesterday\r\n\r\nevil":                                                                            http.StatusBadRequest,
		"GET /f HTTP/1.1\r\nHost: localhost\r\n\r\n":                                                                                             http.StatusForbidden,
		"DELETE /f HTTP/1.1\r\nHost: localhost\r\n\r\n":                                                                                          http.StatusMethodNotAllowed,
		"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nevil":                                                                     http.StatusBadRequest,
		"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nevil":                                                                    http.StatusBadRequest,
		"PATCH /f HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/partial-upload\r\nUpload-Offset: -1\r\nContent-Length: 4\r\n\r\nevil": http.StatusBadRequest,
		"PATCH /f HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/partial-upload\r\nUpload-Offset: 7\r\nContent-Length: 4\r\n\r\nevil":  http.StatusConflict,
		"POST / HTTP/1.1\r\nHost: localhost\r\nPurr: sender\r\nContent-Type: application/x-ndjson\r\nContent-Length: 0\r\n\r\n":                  http.StatusBadRequest,
	} {
		if resp, body := ask(t, addr, request); resp.StatusCode != want || strings.Count(body, "\n") != 1 {
			t.Errorf("%q: %s %q, want %d and one line", request, resp.Status, body, want)
		}
	}
	if found, _ := os.ReadDir(into); len(found) != 0 {
		t.Errorf("left in the directory: %v", found)
	}
	for i, host := range []string{"localhost:" + port, "127.0.0.1:" + port, "127.0.0.1", "[::1]:" + port, "192.0.2.1", "LOCALHOST", machineName()} {
		request := fmt.Sprintf("PUT /ok%d HTTP/1.1\r\nHost: %s\r\nContent-Length: 4\r\n\r\ngood", i, host)
		if resp, body := ask(t, addr, request); resp.StatusCode != http.StatusCreated {
			t.Errorf("Host %s: %s %q", host, resp.Status, body)
		}
	}
	p.runs()
}

// For any request, a sender sends only offered files.
func TestPushOffersNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"secret": "secret", "one/file": "offered", "one/.hidden": "beside", "tree/in": "offered", "tree.tar": "secret"} {
		testkit.WriteFile(t, filepath.Join(dir, name), content)
	}
	for link, target := range map[string]string{"tree/out": "../secret", "tree/abs": "/etc/passwd", "tree/up": "..", "tree/within": "in"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	p, addr := startPush(t, dir, "-k", "tree", "one/file")
	for _, path := range []string{
		"/secret", "/../secret", "/tree/../secret", "/tree/%2e%2e/secret", "//etc/passwd", "/%2fetc%2fpasswd",
		"/tree/out", "/tree/abs", "/tree/up/secret", "/tree/within", "/.hidden", "/one/.hidden", "/one/file", "/one.tar", "/tree",
		"/tree/up.tar", "/..tar", "/...tar", "/.tar", "/tree/../one.tar", "/file.tar", "/file/x", "/tree/in/x", "/tree%00", "/" + strings.Repeat("a/", 2500),
	} {
		resp, body := ask(t, addr, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if resp.StatusCode < 400 || strings.Contains(body, "secret") && !strings.Contains(path, "secret") || strings.Contains(body, "root:") {
			t.Errorf("GET %s: %s %s", testkit.Brief(path), resp.Status, testkit.Brief(body))
		}
	}
	for path, want := range map[string]string{"/file": "offered", "/tree/in": "offered"} {
		if resp, body := ask(t, addr, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); resp.StatusCode != http.StatusOK || body != want {
			t.Errorf("GET %s: %s %q", path, resp.Status, body)
		}
	}
	resp, body := ask(t, addr, "GET /tree.tar HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp.StatusCode != http.StatusOK || bytes.Contains([]byte(body), []byte("root:")) || !strings.Contains(body, "offered") {
		t.Errorf("GET /tree.tar: %s %s", resp.Status, testkit.Brief(body))
	}
	p.runs()
}

// A form without a file stores nothing, and so is not what a listener without
// -k is there for.
func TestPullEmptyForm(t *testing.T) {
	t.Parallel()
	p, addr, _ := startPull(t)
	form := "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\"\r\n\r\n\r\n--X--\r\n"
	request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=X\r\nContent-Length: %d\r\n\r\n%s", len(form), form)
	if resp, body := ask(t, addr, request); resp.StatusCode != http.StatusBadRequest || body != "no file was chosen\n" {
		t.Errorf("%s %q", resp.Status, body)
	}
	if resp, body := ask(t, addr, putRequest("/f")); resp.StatusCode != http.StatusCreated {
		t.Errorf("%s %q", resp.Status, body)
	}
	p.ends(0)
}

// What went wrong before the end, or beside it, counts at a listener without
// -k.
func TestPushWorstCounts(t *testing.T) {
	t.Parallel()
	t.Run("an upload before the last", func(t *testing.T) {
		t.Parallel()
		p, addr, into := startPull(t)
		testkit.WriteFile(t, filepath.Join(into, "f"), "old")
		more := strings.Replace(putRequest("/f"), "\r\n\r\n", "\r\nPurr-More: ?1\r\n\r\n", 1)
		if resp, body := ask(t, addr, more); resp.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("%s %q", resp.Status, body)
		}
		if resp, body := ask(t, addr, putRequest("/g")); resp.StatusCode != http.StatusCreated {
			t.Errorf("%s %q", resp.Status, body)
		}
		p.ends(4)
	})
	t.Run("a download beside another", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		testkit.WriteFile(t, filepath.Join(dir, "small"), "content")
		testkit.WriteFile(t, filepath.Join(dir, "large"), eightMB())
		p, addr := startPush(t, dir, "small", "large")
		c := dialTest(t, "tcp", addr)
		writeAll(t, c, "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
		testkit.ReadN(t, c, 100)
		if resp, _ := ask(t, addr, "GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"); resp.StatusCode != http.StatusOK {
			t.Error(resp.Status)
		}
		p.waitErr(regexp.MustCompile(`small: 7 bytes sent to`))
		testkit.Reset(t, c)
		p.ends(1)
	})
}

// The rest of one file behind the beginning of another is not stored, nor is a
// part of one that more is to follow.
func TestPullMixesNothing(t *testing.T) {
	t.Parallel()
	p, addr, into := startPull(t, "-k")
	c := dialTest(t, "tcp", addr)
	writeAll(t, c, fmt.Sprintf("PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n%s", testkit.Noise(2_000_000)))
	_ = c.Close()
	p.waitErr(regexp.MustCompile(`2000000 of 3000000 bytes kept`))
	rest := "PATCH /f HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/partial-upload\r\nUpload-Offset: 2000000\r\nContent-Length: 4\r\n"
	for request, want := range map[string]string{
		rest + "Upload-Complete: ?0\r\n\r\nevil":                                                     "send the whole file again",
		"PUT /g HTTP/1.1\r\nHost: localhost\r\nUpload-Complete: ?0\r\nContent-Length: 4\r\n\r\nevil": "send the whole file again",
	} {
		if resp, body := ask(t, addr, request); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%q: %s %q", request, resp.Status, body)
		}
	}
	if resp, body := ask(t, addr, rest+"\r\nevil"); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "Repr-Digest of the whole") {
		t.Errorf("%s %q", resp.Status, body)
	}
	(&transfer{t: t, into: into}).leaves("part") // of f, for an upload that has its digest
}

// If a file changes during its download, the download ends early.
func TestDownloadChangedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "large")
	testkit.WriteFile(t, path, eightMB())
	p, addr := startPush(t, dir, "large")
	c := dialTest(t, "tcp", addr)
	if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	writeAll(t, c, "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
	testkit.ReadN(t, c, 100)
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // not truncated: that would be another change
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(eightMB()[1:]+"x"), 0); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(c)
	if len(rest) >= 8_000_000 {
		t.Errorf("%d bytes came", len(rest))
	}
	p.ends(4)
	said(p, `^purr: large: not sent to 127\.0\.0\.1 port \d+: changed while being read \(8000000 bytes, now 8000000\)$`)
}

// A netcat that only reads receives a message that names the protocol, and its
// connection is reset, so that the end is not taken for that of a file. It ends
// no listener: a browser connects in advance, too.
func TestSilentNetcat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	testkit.WriteFile(t, filepath.Join(dir, "f"), "content")
	p, addr := startPush(t, dir, "--hello-timeout", "2", "f")
	_, port, _ := net.SplitHostPort(addr)
	c := dialTest(t, "tcp", addr)
	d := startPurr(t, opts{dir: dir}, "--recv-file", "got", "127.0.0.1", port)
	d.ends(1)
	testkit.Absent(t, filepath.Join(dir, "got"))
	if got, err := readAllOf(c); !sys.IsReset(err) || !strings.HasSuffix(got, "purr -l PORT --send-file FILE\n") {
		t.Errorf("%q, %v", got, err)
	}
	into := t.TempDir()
	startPurr(t, opts{}, "--pull", "127.0.0.1", port, into).ends(0)
	hasContent(t, filepath.Join(into, "f"), "content")
	p.ends(0)
}

// Behind -l -p PORT the numbers of a host are an address, and not a directory
// or a file to push.
func TestPushListenAddress(t *testing.T) {
	t.Parallel()
	into := t.TempDir()
	p := startPurr(t, opts{dir: into}, "--pull", "-v", "-l", "-p", "0", "127.0.0.1")
	p.waitErr(regexp.MustCompile(`Listening on \S+ \d+\n`))
	_, port, _ := net.SplitHostPort(p.addr())
	file := testkit.TempFile(t, "content")
	startPurr(t, opts{}, "--push", "127.0.0.1", port, file).ends(0)
	p.ends(0)
	hasContent(t, filepath.Join(into, filepath.Base(file)), "content")
}

// A client that stalls in the middle of its upload gets the reason for the end.
func TestPullSilentUpload(t *testing.T) {
	t.Parallel()
	p, addr, into := startPull(t, "--idle-timeout", "1")
	resp, body := ask(t, addr, "PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nfew")
	if resp.StatusCode != http.StatusRequestTimeout || body != "nothing heard for 1s; nothing of it is kept here: send the whole file again\n" {
		t.Errorf("%s %q", resp.Status, body)
	}
	p.ends(3)
	said(p, `^purr: "f": transfer cut: nothing heard for 1s; nothing stored$`)
	x := &transfer{t: t, into: into}
	x.leaves()
}
