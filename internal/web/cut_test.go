package web

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"purr/internal/push"
	"purr/internal/store"
	"purr/internal/testkit"
)

// cutUpload sends the first bytes of a file of size bytes, ends the sending,
// and returns the line of the answer.
func (r *running) cutUpload(name, first string, size int) string {
	r.t.Helper()
	c := r.dial()
	testkit.WriteString(r.t, c, fmt.Sprintf("PUT /%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", name, r.addr, size, first))
	if err := c.CloseWrite(); err != nil {
		r.t.Fatal(err)
	}
	answer := testkit.ReadAll(r.t, c)
	if !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
		r.t.Errorf("answer %q", answer)
	}
	return strings.TrimSuffix(answer[strings.LastIndex(answer, "\r\n\r\n")+4:], "\n")
}

// The answer to an upload that is cut has the way to go on, by a command that
// does it, or that there is nothing to go on from.
func TestCutTold(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{})
	content := testkit.Noise(3_000_000)
	if line := r.cutUpload("small", content[:1000], 3_000_000); line != "the body did not come to its end; nothing of it is kept here: send the whole file again" {
		t.Errorf("%q", line)
	}
	line := r.cutUpload("dir/a%20b'$(id)", content[:2_000_000], 3_000_000)
	want := "the body did not come to its end; 2000000 bytes of it are kept here: send the whole file again, or only the rest: "
	command, found := strings.CutPrefix(line, want)
	if !found {
		t.Fatalf("%q", line)
	}
	from := t.TempDir()
	testkit.WriteFile(t, filepath.Join(from, "FILE"), content)
	testkit.Program(t, "curl", "curl")
	testkit.Program(t, "openssl", "openssl")
	if out, err := runProgram(t, from, "sh", "-c", command); err != nil {
		t.Errorf("%s: %s, %v", command, out, err)
	}
	testkit.HasContent(t, r.path("dir/a b'$(id)"), content)
}

// curl -C - sends a file whole and numbers its bytes all the same; with another
// offset the answer has what is here.
func TestCurlContinues(t *testing.T) {
	t.Parallel()
	testkit.Program(t, "curl", "curl")
	r := receiver(t, Options{Keep: true}, store.Options{})
	content := testkit.Noise(3_000_000)
	from := t.TempDir()
	testkit.WriteFile(t, filepath.Join(from, "f"), content)
	curl := func(offset string) string {
		out, err := runProgram(t, from, "curl", "-sS", "-w", "%{http_code}", "-C", offset, "-T", "f", "http://"+r.addr+"/")
		if err != nil {
			t.Errorf("curl -C %s: %v", offset, err)
		}
		return out
	}
	if out := curl("1000"); out != "a part of a file is not a file; nothing of it is kept here: send the whole file again\n400" {
		t.Errorf("%q", out)
	}
	r.cutUpload("f", content[:2_000_000], 3_000_000)
	if out := curl("1000"); !strings.Contains(out, "a part of a file is not a file; 2000000 bytes of it are kept here: send the whole file again, or only the rest: tail -c +2000001 ") {
		t.Errorf("%q", out)
	}
	r.waitFor(t, fmt.Sprintf("failed f (%d): a part of a file is not a file, kept 0 of -1", push.Refused))
	if _, err := os.Lstat(r.path("f")); err == nil {
		t.Error("a part is stored")
	}
	if out := curl("-"); out != "201" {
		t.Errorf("%q", out)
	}
	testkit.HasContent(t, r.path("f"), content)
	r.answers(request("PUT", "/g", "0123", "Content-Range: bytes 0-3/5"), http.StatusBadRequest, "a part of a file")
	r.answers(request("PUT", "/g", "0123", "Content-Range: bytes 0-3/*"), http.StatusBadRequest, "a part of a file")
	r.answers(request("PUT", "/g", "0123", "Content-Range: bytes 0-3/4"), http.StatusCreated, "")
}
