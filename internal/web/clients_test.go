package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"purr/internal/push"
	"purr/internal/store"
	"purr/internal/testkit"
)

// runProgram runs a program in a directory, and returns its output.
func runProgram(t testing.TB, dir, program string, args ...string) (output string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testkit.Program(t, program, program), args...)
	cmd.Dir = dir
	cmd.WaitDelay = testkit.Patience
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// curl uploads in each of its ways, over both versions of HTTP.
func TestCurlUploads(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(5_000_000)
	from := t.TempDir()
	testkit.WriteFile(t, filepath.Join(from, "f"), content)
	for name, test := range map[string]struct {
		args   []string
		path   string
		code   string
		stored string
	}{
		"-T":             {[]string{"-T", "f"}, "/", "201", "f"},
		"-T, deeper":     {[]string{"-T", "f"}, "/a/b/", "201", "a/b/f"},
		"HTTP/2":         {[]string{"--http2-prior-knowledge", "-T", "f"}, "/", "201", "f"},
		"-F":             {[]string{"-F", "file=@f"}, "/", "201", "f"},
		"exists":         {[]string{"-T", "f"}, "/there", "412", ""},
		"HTTP/2, exists": {[]string{"--http2-prior-knowledge", "-T", "f"}, "/there", "412", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := receiver(t, Options{}, store.Options{})
			testkit.WriteFile(t, r.path("there"), "old")
			args := append([]string{"-sS", "-o", filepath.Join(t.TempDir(), "answer"), "-w", "%{http_code}"}, test.args...)
			code, err := runProgram(t, from, "curl", append(args, "http://"+r.addr+test.path)...)
			if code != test.code || err != nil {
				t.Errorf("%s, %v; want %s", code, err, test.code)
			}
			if test.stored == "" {
				checkFiles(t, r.wait(), push.Refused, false)
				testkit.HasContent(t, r.path("there"), "old")
			} else {
				r.served()
				testkit.HasContent(t, r.path(test.stored), content)
			}
		})
	}
}

// curl and wget download: whole, from the middle, over both versions of HTTP.
func TestClientDownloads(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(5_000_000)
	for name, test := range map[string]struct {
		begun int // bytes of the file that are there already
		args  []string
	}{
		"curl":         {0, []string{"curl", "-sS", "-OJ"}},
		"curl, HTTP/2": {0, []string{"curl", "-sS", "--http2-prior-knowledge", "-O"}},
		"curl -C -":    {1_000_000, []string{"curl", "-sS", "-C", "-", "-O"}},
		"wget":         {0, []string{"wget", "-q"}},
		"wget -c":      {1_000_000, []string{"wget", "-q", "-c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			into := t.TempDir()
			if test.begun > 0 {
				testkit.WriteFile(t, filepath.Join(into, "f"), content[:test.begun])
			}
			r := offering(t, Options{}, map[string]string{"d/f": content})
			if said, err := runProgram(t, into, test.args[0], append(test.args[1:], "http://"+r.addr+"/d/f")...); err != nil {
				t.Errorf("%v: %s", err, said)
			}
			r.served()
			testkit.HasContent(t, filepath.Join(into, "f"), content)
			if !strings.Contains(r.String(), "downloaded d/f: ") {
				t.Errorf("events:\n%s", r)
			}
		})
	}
}

// A client of HTTP/2 that resets its stream has cancelled the upload; nothing
// is kept, and the connection is in order.
func TestHTTP2Cancelled(t *testing.T) {
	t.Parallel()
	r := receiver(t, Options{Keep: true}, store.Options{})
	from := t.TempDir()
	testkit.WriteFile(t, filepath.Join(from, "f"), testkit.Noise(20<<20))
	// On a busy machine the time may be over before the upload has begun: then
	// there is nothing to report, and curl starts once more.
	reported := func() bool { return strings.Contains(r.String(), "failed f ") }
	for tries := 0; tries < 8 && !reported(); tries++ {
		cmd := exec.CommandContext(t.Context(), testkit.Program(t, "curl", "curl"), "-sS", "--http2-prior-knowledge", "--limit-rate", "4M", "--max-time", "1", "-T", "f", "http://"+r.addr+"/f")
		cmd.Dir, cmd.WaitDelay = from, testkit.Patience
		if cmd.Run() == nil {
			t.Error("curl has uploaded everything")
		}
		for range 100 {
			if reported() {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if !reported() {
		t.Errorf("the end is not reported:\n%s", r)
	}
	if _, err := os.Stat(r.path("f")); err == nil {
		t.Error("stored")
	}
}
