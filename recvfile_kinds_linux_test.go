package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"purr/internal/copier"
	"purr/internal/filter"
	"purr/internal/testkit"
)

// Names, pipes and devices as --recv-file, and the copiers into them.

// Names of every kind, up to the longest possible.
func TestRecvFileNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"-rf", "new\nline", "\xff\xfe", "..dots", ".hidden", " ", strings.Repeat("x", 255), strings.Repeat("ü", 127)} {
		dir := t.TempDir()
		p := startPurr(t, opts{dir: dir}, "-l", "--recv-file="+name, "127.0.0.1", "0")
		c := dialTest(t, "tcp", p.addr())
		writeAll(t, c, "hello")
		_ = c.Close()
		p.ends(0)
		p.complains("received 5 bytes")
		holds(t, dir, name)
	}
}

// Pipes and devices are written directly.
func TestRecvFileDirect(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(quick)
	receive := func(path string) *process {
		p := startPurr(t, opts{}, "-l", "--recv-file", path, "127.0.0.1", "0")
		c := dialTest(t, "tcp", p.addr())
		_, _ = io.WriteString(c, content)
		_ = c.Close()
		return p
	}
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := testkit.Mkfifo(fifo); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", dir+"/null"); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		b, _ := os.ReadFile(fifo)
		got <- string(b)
	}()
	p := receive(fifo)
	p.ends(0)
	p.complains("received 300000 bytes, sha256 "+sumOf(content), "closed in order")
	if b := <-got; b != content {
		t.Errorf("%d bytes came out of the pipe, or others", len(b))
	}
	// Without a reader -w ends the wait, and the sender sees no success.
	p = startPurr(t, opts{}, "-l", "-w", "1", "--recv-file", fifo, "127.0.0.1", "0")
	sender := startPurr(t, opts{}, "--send-file", "go.mod", "127.0.0.1", p.port())
	p.ends(1)
	p.complains(fifo + ": idle for 1s and nobody reads it")
	sender.ends(1)
	receive(dir + "/null").ends(0)
	p = receive("/dev/full")
	p.ends(1)
	p.complains("write to /dev/full: no space left on device")
	holds(t, dir, "fifo", "null")
}

// Each way that a received file is hashed by, and nothing is left of it.
func TestRecvFileWays(t *testing.T) {
	content := testkit.Noise(3<<20 + 4321)
	for _, test := range []struct{ args, way string }{{"", "digest"}, {"--upper", "digest"}} {
		t.Run(test.args, func(t *testing.T) {
			testkit.NoLeaks(t)
			var took []string
			copier.TestHook = func(name string) { took = append(took, name) }
			defer func() { copier.TestHook = nil }()
			dir := t.TempDir()
			p, ctx := testRun(t, nil, nil, append(words(test.args), "--recv-file", dir+"/f", "h", "80")...)
			ours, theirs := testkit.TcpPair(t)
			result := converses(p, ctx, ours)
			writeAll(t, theirs, content)
			_ = theirs.CloseWrite()
			_, _ = io.Copy(io.Discard, theirs)
			if err := ends(t, result); err != nil {
				t.Error(err)
			}
			want := content
			if test.args != "" {
				b := []byte(content)
				filter.Upper(b)
				want = string(b)
			}
			hasContent(t, dir+"/f", want)
			if said := p.log.out.(*testkit.Output).String(); !strings.Contains(said, sumOf(want)) {
				t.Errorf("said %q", said)
			}
			if fmt.Sprint(took) != "["+test.way+"]" {
				t.Errorf("took %q, want %q", took, test.way)
			}
			p.stop(nil)
		})
	}
}
