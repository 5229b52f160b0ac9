package web

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"purr/internal/digest"
	"purr/internal/push"
	"purr/internal/store"
	"purr/internal/testkit"
)

func TestPut(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{}, store.Options{})
	resp := r.answers(request("PUT", "/a/b", "content", "X-OC-Mtime: 1000000000.5", "Purr-Mode: 0640", "Repr-Digest: "+field("content")), http.StatusCreated, "")
	if resp.Header.Get(headerDigest) != field("content") || resp.Header.Get(headerMtime) != "accepted" {
		t.Errorf("fields %v", resp.Header)
	}
	r.served()
	testkit.HasContent(t, r.path("a/b"), "content")
	info, err := os.Stat(r.path("a/b"))
	if err != nil || !info.ModTime().Equal(time.Unix(1e9, 5e8)) || info.Mode().Perm()&0o400 == 0 {
		t.Errorf("%v, %v", info, err)
	}
	r.waitFor(t, fmt.Sprintf("stored a/b as a/b: 7, identical false, %.4x", testkit.SHA256("content")))
}

// Each request that cannot be served has its status code and a line of text.
func TestUploadRefused(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{MaxSize: 1000})
	testkit.WriteFile(t, r.path("there"), "old")
	for _, test := range []struct {
		request string
		code    int
		text    string
	}{
		{request("PUT", "/there", "new"), 412, "exists"},
		{request("PUT", "/../x", "evil"), 400, "unsafe name: "},
		{request("PUT", "/a%00b", "evil"), 400, "unsafe name: "},
		{request("PUT", "/.ssh/x", "evil"), 403, "hidden name"},
		{request("PUT", "/large", strings.Repeat("x", 1001)), 413, "over the limit of 1000 bytes"},
		{request("PUT", "/there/f", "x"), 409, ""},
		{request("PUT", "/f", "x", "Repr-Digest: "+field("other")), 422, "digest"},
		{request("PUT", "/f", "x", "Repr-Digest: sha-256=:AAAA:"), 400, ""},
		{request("PUT", "/f", "x", "Purr-Mode: rwx"), 400, "malformed mode"},
		{request("PUT", "/f", "x", "X-OC-Mtime: yesterday"), 400, "malformed modification time"},
		{request("PUT", "/f", "x", "Content-Range: bytes 4-4/8"), 400, "a part of a file is not a file"},
		{request("PUT", "/f", "x", "Upload-Complete: ?0"), 400, "a part of a file is not a file"},
		{request("PUT", "/f", "x", "Upload-Length: -1"), 400, "malformed Upload-"},
		{request("PATCH", "/f", "x", "Content-Type: application/partial-upload", "Upload-Offset: -1"), 400, "malformed Upload-"},
		{request("PATCH", "/f", "x", "Content-Type: application/partial-upload", "Upload-Offset: 9223372036854775807"), 400, "malformed Upload-"},
		{request("PATCH", "/f", "x", "Content-Type: application/partial-upload", "Upload-Offset: 7"), 409, ""},
		{request("PATCH", "/f", "x", "Upload-Offset: 0"), 405, "PUT stores a file"},
		{request("PUT", "/", "x"), 400, "name the file"},
		{request("POST", "/", "x"), 400, "POST takes the form"},
		{request("POST", "/f", "x"), 405, "PUT stores a file"},
		{request("DELETE", "/there", ""), 405, ""},
		{request("GET", "/there", ""), 403, "nothing can be fetched"},
		{request("HEAD", "/there", ""), 404, ""}, // no more than the next
		{request("HEAD", "/none", ""), 404, ""},
		{request("HEAD", "/.hidden", ""), 403, ""},
	} {
		resp, body := r.ask(test.request)
		head := strings.HasPrefix(test.request, "HEAD")
		if resp.StatusCode != test.code || !strings.Contains(body, test.text) || !head && strings.Count(body, "\n") != 1 {
			t.Errorf("%q: %s %q, want %d and one line with %q", test.request, resp.Status, body, test.code, test.text)
		}
	}
	if found, err := os.ReadDir(r.dir); err != nil || len(found) != 1 {
		t.Errorf("in the directory: %v, %v", found, err)
	}
	testkit.HasContent(t, r.path("there"), "old")
	r.waitFor(t, fmt.Sprintf("failed there (%d): exists, kept 0 of -1", push.Refused))
	r.goesOn()
}

// A file that is there already is not sent again, and one whose name is taken
// gets another with Rename.
func TestPutAgain(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{Rename: true})
	for want, content := range map[int]string{http.StatusNoContent: "same", http.StatusCreated: "other"} {
		testkit.WriteFile(t, r.path("a b"), "same")
		resp := r.answers(request("PUT", "/a%20b", content, "Repr-Digest: "+field(content)), want, "")
		if location := resp.Header.Get("Location"); (location == "/a%20b.1") != (want == http.StatusCreated) {
			t.Errorf("Location %q", location)
		}
	}
	testkit.HasContent(t, r.path("a b.1"), "other")
}

// A cut upload is continued behind what has come, if the digest of the whole
// proves that it is the same file.
func TestResume(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{})
	content := testkit.Noise(3_000_000)
	c := r.dial()
	testkit.WriteString(t, c, fmt.Sprintf("PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n%s", content[:2_000_000]))
	_ = c.Close()
	r.waitFor(t, fmt.Sprintf("failed f (%d): the other end closed the connection, kept 2000000 of 3000000", push.Cut))
	r.waitFor(t, fmt.Sprint("closed ", Broken))
	resp := r.answers(request("HEAD", "/f", ""), http.StatusNoContent, "")
	if h := resp.Header; h.Get(headerOffset) != "2000000" || h.Get(headerWhole) != "?0" || h.Get(headerDigest) != field(content[:2_000_000]) {
		t.Errorf("fields %v", resp.Header)
	}
	rest := []string{"Content-Type: application/partial-upload", "Upload-Offset: 2000000"}
	// Without a digest nothing is stored, and nothing is lost.
	r.answers(request("PATCH", "/f", "evil", rest...), http.StatusBadRequest, "Repr-Digest of the whole")
	r.answers("PATCH /f HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"+strings.Join(rest, "\r\n")+"\r\n\r\n4\r\nevil\r\n0\r\n\r\n", http.StatusBadRequest, "Repr-Digest of the whole")
	testkit.Absent(t, r.path("f"))
	if resp := r.answers(request("HEAD", "/f", ""), http.StatusNoContent, ""); resp.Header.Get(headerDigest) != field(content[:2_000_000]+"evil") {
		t.Errorf("fields %v", resp.Header)
	}
	r.answers(request("PATCH", "/f", content[2_000_000:], append(rest, "Repr-Digest: "+field(content))...), http.StatusCreated, "")
	r.waitFor(t, "resuming f 2000000 3000000")
	testkit.HasContent(t, r.path("f"), content)
}

// With Force a cut upload is continued although there is a file to replace.
func TestResumeForce(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{Force: true})
	content := testkit.Noise(3_000_000)
	testkit.WriteFile(t, r.path("f"), "old")
	c := r.dial()
	testkit.WriteString(t, c, fmt.Sprintf("PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n%s", content[:2_000_000]))
	_ = c.Close()
	r.waitFor(t, fmt.Sprintf("failed f (%d): the other end closed the connection, kept 2000000 of 3000000", push.Cut))
	if resp := r.answers(request("HEAD", "/f", ""), http.StatusNoContent, ""); resp.Header.Get(headerOffset) != "2000000" {
		t.Errorf("fields %v", resp.Header)
	}
	r.answers(request("PATCH", "/f", content[2_000_000:], "Content-Type: application/partial-upload", "Upload-Offset: 2000000", "Repr-Digest: "+field(content)), http.StatusCreated, "")
	testkit.HasContent(t, r.path("f"), content)
}

// A digest may follow the body in a trailer.
func TestDigestTrailer(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{})
	for _, test := range []struct {
		content, field string
		code           int
	}{
		{"content", field("content"), http.StatusCreated},
		{"damaged", field("content"), http.StatusUnprocessableEntity},
		{"twofold", field("twofold") + ", " + field("content"), http.StatusBadRequest},
		{"garbled", "sha-256=:AAAA:", http.StatusBadRequest},
	} {
		r.answers("PUT /"+test.content+" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: Repr-Digest\r\n\r\n7\r\n"+test.content+
			"\r\n0\r\nRepr-Digest: "+test.field+"\r\n\r\n", test.code, "")
		if test.code != http.StatusCreated {
			testkit.Absent(t, r.path(test.content))
		}
	}
	testkit.HasContent(t, r.path("content"), "content")
}

// An upload that stalls is cut, and the client learns why.
func TestSilentUpload(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Silence: 200 * time.Millisecond}, store.Options{})
	r.answers("PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nfew", http.StatusRequestTimeout, "nothing heard for 200ms")
	err := r.wait()
	checkFiles(t, err, push.Cut, false)
	r.waitFor(t, fmt.Sprintf("failed f (%d): nothing heard for 200ms, kept 0 of 100", push.Cut))
}

// checkFiles checks the failure that Serve returns.
func checkFiles(t testing.TB, err error, worst push.Kind, download bool) {
	t.Helper()
	e, ok := asFilesError(err)
	if !ok || e.Worst != worst || e.Download != download {
		t.Errorf("Serve: %v (%+v), want kind %d", err, e, worst)
	}
}

// A server without Keep goes on while a client has more to send, and returns
// the failure of an upload before the last.
func TestMore(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{}, store.Options{})
	testkit.WriteFile(t, r.path("f"), "old")
	r.answers(request("PUT", "/f", "x", "Purr-More: ?1"), http.StatusPreconditionFailed, "exists")
	r.goesOn()
	r.answers(request("PUT", "/g", "x"), http.StatusCreated, "")
	checkFiles(t, r.wait(), push.Refused, false)
}

func TestForm(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{}, store.Options{})
	testkit.WriteFile(t, r.path("there"), "old")
	r.answers(form("", ""), http.StatusBadRequest, "no file was chosen")
	r.goesOn()
	r.answers(form("a b.txt", "hello", "there", "new", "../up", "evil"), http.StatusConflict, "2 of 3 files stored")
	checkFiles(t, r.wait(), push.Refused, false)
	testkit.HasContent(t, r.path("a b.txt"), "hello")
	testkit.HasContent(t, r.path("there"), "old")
	testkit.HasContent(t, r.path("up"), "evil") // browsers send the last component; so it is all that is taken
}

// A form that ends in the middle stores the files before it.
func TestFormCut(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Silence: 200 * time.Millisecond}, store.Options{})
	c := r.dial()
	testkit.WriteString(t, c, strings.TrimSuffix(strings.Replace(form("a", "first"), "Content-Length: ", "Content-Length: 9", 1), "--\r\n"))
	checkFiles(t, r.wait(), push.Cut, false)
	testkit.HasContent(t, r.path("a"), "first")
	r.waitFor(t, "form cut")
}

// The digest in the answer is that of the stored file.
func TestStoredDigest(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{})
	content := testkit.Noise(1 << 20)
	resp := r.answers(request("PUT", "/f", content), http.StatusCreated, "")
	sum, err := digest.Parse(resp.Header.Values(headerDigest))
	if err != nil || string(sum) != string(testkit.SHA256(testkit.ReadFile(t, r.path("f")))) {
		t.Errorf("%x, %v", sum, err)
	}
}

// A request can demand that its name is free, or taken, also with Force.
func TestPreconditions(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{Force: true})
	testkit.WriteFile(t, r.path("there"), "old")
	for _, test := range []struct {
		name, field string
		code        int
	}{
		{"there", "If-None-Match: *", 412}, {"free", "If-None-Match: *", 201}, {"free", "If-None-Match: *", 412},
		{"there", `If-Match: "tag"`, 412}, {"none", "If-Match: *", 412}, {"there", `If-None-Match: "tag"`, 201}, {"there", "If-Match: *", 201},
	} {
		r.answers(request("PUT", "/"+test.name, test.field, test.field), test.code, "")
	}
	testkit.HasContent(t, r.path("there"), "If-Match: *")
	testkit.Absent(t, r.path("none"))
	r = receiver(t, Options{Keep: true}, store.Options{Rename: true})
	r.answers(request("PUT", "/f", "x", "If-None-Match: *"), 201, "")
	r.answers(request("PUT", "/f", "x", "If-None-Match: *"), 412, "exists")
}

// An upload without a length is no empty file; a chunked one, and one of length
// 0, are files.
func TestLengthRequired(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{})
	const head = " HTTP/1.1\r\nHost: localhost\r\n"
	r.answers("PUT /f"+head+"\r\n", http.StatusLengthRequired, "Content-Length")
	r.answers("PATCH /f"+head+"Content-Type: application/partial-upload\r\nUpload-Offset: 0\r\n\r\n", http.StatusLengthRequired, "Content-Length")
	r.answers("PUT /f HTTP/1.0\r\n\r\n", http.StatusLengthRequired, "Content-Length")
	testkit.Absent(t, r.path("f"))
	r.answers("PUT /chunked"+head+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", http.StatusCreated, "")
	r.answers(request("PUT", "/empty", ""), http.StatusCreated, "")
	r.goesOn()
}

// A digest in capitals counts, and a quote in a form's file name is itself.
func TestOddSpellings(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{})
	r.answers(request("PUT", "/f", "x", "Repr-Digest: SHA-256"+field("other")[7:]), http.StatusUnprocessableEntity, "digest")
	if os.PathSeparator == '\\' { // Windows has no such names
		return
	}
	r.answers(form("a%22b 50%25", "quoted"), http.StatusCreated, "1 of 1")
	testkit.HasContent(t, r.path(`a"b 50%25`), "quoted")
}
