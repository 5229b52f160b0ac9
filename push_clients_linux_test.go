package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"purr/internal/relpath"
	"purr/internal/testkit"
)

// Clients that are no purr: curl and wget.

// An upload by curl, in each of its ways: curl's output, the status of purr,
// and the stored files.
func TestCurlUploads(t *testing.T) {
	t.Parallel()
	curl := testkit.Program(t, "curl", "curl")
	for name, test := range map[string]struct {
		args   []string // the URL of the receiver stands behind them
		path   string   // behind the URL
		code   string
		status int
		stored string // the name; "" for nothing
	}{
		"-T":             {[]string{"-T", "f"}, "/", "201", 0, "f"},
		"-T, a name":     {[]string{"-T", "f"}, "/other", "201", 0, "other"},
		"-T, deeper":     {[]string{"-T", "f"}, "/a/b/", "201", 0, "a/b/f"},
		"-T - of pipe":   {[]string{"-T", "-"}, "/f", "201", 0, "f"},
		"HTTP/2":         {[]string{"--http2-prior-knowledge", "-T", "f"}, "/", "201", 0, "f"},
		"slowly":         {[]string{"--limit-rate", "3M", "-T", "f"}, "/", "201", 0, "f"},
		"-F":             {[]string{"-F", "file=@f"}, "/", "201", 0, "f"},
		"exists":         {[]string{"-T", "f"}, "/there", "412", 4, ""},
		"HTTP/2, exists": {[]string{"--http2-prior-knowledge", "-T", "f"}, "/there", "412", 4, ""},
		"no name":        {[]string{"-T", "-"}, "/", "400", 0, ""},
		"--data-binary":  {[]string{"--data-binary", "@f"}, "/", "400", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slack := testkit.Patience
			if test.code == "412" { // a client of HTTP/2 has a second to read it
				slack = time.Second / 2
			}
			testkit.Fairly(t, slack, func(t testing.TB) {
				content := testkit.Noise(5_000_000)
				dir := t.TempDir()
				testkit.WriteFile(t, filepath.Join(dir, "f"), content)
				p, addr, into := startPull(t)
				testkit.WriteFile(t, filepath.Join(into, "there"), "old")
				args := append([]string{"-sS", "-o", "answer", "-w", "%{http_code}"}, test.args...)
				c := start(t, opts{dir: dir, stdin: strings.NewReader(content)}, curl, append(args, "http://"+addr+test.path)...)
				c.ends(0)
				c.printed(test.code)
				answer, _ := os.ReadFile(filepath.Join(dir, "answer"))
				switch {
				case test.code == "400": // no upload yet: the next one may be right
					if !strings.Contains(string(answer), "PUT /NAME") {
						t.Errorf("the answer is %s", testkit.Brief(string(answer)))
					}
					p.runs()
					return
				case test.stored == "":
					if string(answer) != "exists\n" {
						t.Errorf("the answer is %s", testkit.Brief(string(answer)))
					}
				default:
					hasContent(t, filepath.Join(into, test.stored), content)
				}
				p.ends(test.status)
				p.printed("")
				hasContent(t, filepath.Join(into, "there"), "old")
			})
		})
	}
}

var sentTo = pattern(`(?m)^purr: d\S*: \d+ bytes sent to \S+ port \d+, not confirmed`)

// Downloads by curl and wget: whole, from the middle, as a tar archive.
func TestDownloads(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(5_000_000)
	for name, test := range map[string]struct {
		begun int // bytes of the file that are there already
		argv  string
		file  string
	}{
		"curl -OJ":           {0, `exec curl -sS -OJ "http://$1/d/f"`, "f"},
		"curl, HTTP/2":       {0, `exec curl -sS --http2-prior-knowledge -O "http://$1/d/f"`, "f"},
		"curl -C -":          {1_000_000, `exec curl -sS -C - -O "http://$1/d/f"`, "f"},
		"curl, slowly":       {0, `exec curl -sS --limit-rate 3M -O "http://$1/d/f"`, "f"},
		"wget":               {0, `exec wget -q "http://$1/d/f"`, "f"},
		"wget -c":            {1_000_000, `exec wget -q -c "http://$1/d/f"`, "f"},
		"curl, tar":          {0, `set -e; curl -sSf "http://$1/d.tar" | { tar x; cat >/dev/null; }`, "d/f"},
		"curl, If-Range":     {0, `tag=$(curl -sSfI "http://$1/d/f" | sed -n 's/\r$//; s/^E[Tt]ag: //p'); exec curl -sSf -H "If-Range: $tag" -r 0- -O "http://$1/d/f"`, "f"},
		"curl, old If-Range": {0, `exec curl -sSf -H 'If-Range: "old"' -r 100- -O "http://$1/d/f"`, "f"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testkit.Program(t, strings.FieldsFunc(name, func(r rune) bool { return r == ' ' || r == ',' })[0], "curl wget")
			from, into := t.TempDir(), t.TempDir()
			testkit.WriteFile(t, filepath.Join(from, "d", "f"), content)
			if test.begun > 0 {
				testkit.WriteFile(t, filepath.Join(into, "f"), content[:test.begun])
			}
			p, addr := startPush(t, from, "-k", "d")
			c := shell(t, opts{dir: into}, test.argv, addr)
			c.ends(0)
			hasContent(t, filepath.Join(into, test.file), content)
			p.waitErr(sentTo())
			p.runs()
		})
	}
}

// curl -OJ stores a file under its own name, for any form of the URL.
func TestDownloadNames(t *testing.T) {
	t.Parallel()
	from, into := t.TempDir(), t.TempDir()
	names := []string{"a b", "ümläut é.txt", "semi;colon", "it's", "#1", "plain"}
	for _, name := range names {
		testkit.WriteFile(t, filepath.Join(from, name), "content of "+name)
	}
	p, addr := startPush(t, from, append([]string{"-k"}, names...)...)
	for _, name := range names {
		start(t, opts{dir: into}, testkit.Program(t, "curl", "curl"), "-sS", "-OJ", "http://"+addr+"/"+relpath.Escape(name)).ends(0)
		hasContent(t, filepath.Join(into, name), "content of "+name)
	}
	p.runs()
}

// vast makes a file of which a client cannot have all soon: curl exceeds its
// limit at first, and sockets hold megabytes.
func vast(t testing.TB, path string) {
	t.Helper()
	testkit.WriteFile(t, path, "")
	if err := os.Truncate(path, 1<<30); err != nil {
		t.Fatal(err)
	}
}

// A client that is killed in the middle ends a receiver with a status of its
// own; a sender reports it and goes on.
func TestClientKilled(t *testing.T) {
	t.Parallel()
	curl := testkit.Program(t, "curl", "curl")
	t.Run("upload", func(t *testing.T) {
		t.Parallel()
		p, addr, into := startPull(t)
		x := &transfer{t: t, into: into}
		c := start(t, opts{}, curl, "-sS", "--limit-rate", "4M", "-T", testkit.TempFile(t, testkit.Noise(30_000_000)), "http://"+addr+"/f")
		x.arrives(1 << 20)
		c.kill()
		p.ends(3)
		said(p, `^purr: "f": transfer cut: the other end closed the connection; \d+ of 30000000 bytes kept in `)
		x.leaves("part")
	})
	t.Run("download", func(t *testing.T) {
		t.Parallel()
		from, into := t.TempDir(), t.TempDir()
		vast(t, filepath.Join(from, "f"))
		p, addr := startPush(t, from, "f")
		c := start(t, opts{dir: into}, curl, "-sS", "--limit-rate", "4M", "-O", "http://"+addr+"/f")
		testkit.Eventually(t, "something of f", func() bool {
			info, err := os.Stat(filepath.Join(into, "f"))
			return err == nil && info.Size() > 0
		})
		c.kill()
		p.waitErr(regexp.MustCompile(`(?m)^purr: f: not sent to `))
		p.runs() // the client may come back
	})
}

// If a file becomes shorter during a download, it does not look whole to the
// client, for any framing of its length.
func TestDownloadShrinks(t *testing.T) {
	t.Parallel()
	curl := testkit.Program(t, "curl", "curl")
	for _, flag := range []string{"--http1.1", "--http2-prior-knowledge"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			from, into := t.TempDir(), t.TempDir()
			vast(t, filepath.Join(from, "f"))
			p, addr := startPush(t, from, "f")
			c := start(t, opts{dir: into}, curl, "-sS", flag, "--limit-rate", "8M", "-O", "http://"+addr+"/f")
			testkit.Eventually(t, "something of f", func() bool {
				info, err := os.Stat(filepath.Join(into, "f"))
				return err == nil && info.Size() > 0
			})
			if err := os.Truncate(filepath.Join(from, "f"), 1<<20); err != nil {
				t.Fatal(err)
			}
			if s := c.status(); s == 0 {
				t.Errorf("curl took it for whole%s", c.heard())
			}
			if s := p.status(); s == 0 {
				t.Errorf("status 0%s", p.heard())
			}
			said(p, `^purr: f: not sent to `)
		})
	}
}

// Clients that connect and send nothing, or send very slowly, do not delay
// other clients, and are disconnected.
func TestPullSlowClients(t *testing.T) {
	t.Parallel()
	p, addr, into := startPull(t, "-k", "--hello-timeout", "2", "--idle-timeout", "2")
	for i := range 60 {
		c := dialTest(t, "tcp", addr)
		switch i % 3 {
		case 1:
			writeAll(t, c, "PUT /slow HTTP/1.1\r\nHost: loc")
		case 2:
			writeAll(t, c, fmt.Sprintf("PUT /slow%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nbody", i))
		}
	}
	if resp, body := ask(t, addr, putRequest("/quick")); resp.StatusCode != 201 {
		t.Errorf("%s %q", resp.Status, body)
	}
	hasContent(t, filepath.Join(into, "quick"), "evil")
	x := &transfer{t: t, into: into}
	testkit.Eventually(t, "few descriptors and no partial file", func() bool {
		found, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
		return err == nil && len(found) < 20 && len(x.partials()) == 0
	})
	x.leaves("quick")
}
