package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/testkit"
)

// conn is the interface of both kinds of stream sockets.
type streamConn interface {
	net.Conn
	CloseWrite() error
}

// Each pair of descriptors has the copier that was measured to be the fastest
// for it, and every byte passes.
func TestCopiers(t *testing.T) {
	content := strings.ReplaceAll(testkit.Noise(3<<20+4321), "\xff", "\xfe") // nothing for -t to find
	for _, test := range []struct {
		args            string
		network         string
		stdin, stdout   string
		sends, receives string
	}{
		{"h 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"h 80", "tcp", "fifo", "fifo", "splice", "splice"},
		{"h 80", "tcp", "file", "file", "buffer", "buffer"},
		{"h 80", "tcp", "file", "append", "buffer", "buffer"},
		{"h 80", "tcp", "pipe", "null", "splice", "discard"},
		{"--send-only h 80", "tcp", "pipe", "pipe", "splice", "discard"},
		{"-l 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"-w 20 h 80", "tcp", "pipe", "file", "splice", "buffer"}, // a time limit costs nothing
		{"-W 1000000 h 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"-vv h 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"-U path", "unix", "pipe", "pipe", "splice", "splice"},
		{"-U path", "unix", "file", "file", "buffer", "buffer"},
		{"-U path", "unix", "pipe", "null", "splice", "buffer"},
		{"--send-file FILE h 80", "tcp", "none", "pipe", "buffer", "splice"},
		{"-lk 80", "tcp", "pipe", "pipe", "buffer", "splice"}, // stdin is shared
		// A limit and a bar work in slices.
		{"--rate 1G h 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"--rate 20M --progress h 80", "tcp", "pipe", "file", "splice", "buffer"},
		{"--rate 1G -U path", "unix", "pipe", "pipe", "splice", "splice"},
		{"--progress h 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"--progress h 80", "tcp", "pipe", "null", "splice", "discard"},
		{"--progress -l 80", "tcp", "file", "file", "buffer", "buffer"},
		// Options that must see the bytes take a buffer.
		{"--upper h 80", "tcp", "pipe", "pipe", "buffer", "buffer"},
		{"-C h 80", "tcp", "pipe", "pipe", "buffer", "splice"},
		{"-t h 80", "tcp", "pipe", "pipe", "splice", "buffer"},
	} {
		t.Run(strings.Join([]string{test.args, test.network, test.stdin, test.stdout}, " "), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "in")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			var stdin, stdout *os.File
			feed := func() {}
			printed := func() string { return "" }
			open := func(name string, flags int) *os.File {
				f, err := os.OpenFile(name, flags, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = f.Close() })
				return f
			}
			fifo := func(name string) (r, w *os.File) {
				name = filepath.Join(dir, name)
				if err := syscall.Mkfifo(name, 0o600); err != nil {
					t.Fatal(err)
				}
				both := open(name, os.O_RDWR)
				r, w = open(name, os.O_RDONLY), open(name, os.O_WRONLY)
				_ = both.Close()
				return r, w
			}
			switch test.stdin {
			case "pipe", "fifo":
				var w *os.File
				if test.stdin == "pipe" {
					stdin, w = testkit.StdioPipe(t)
				} else {
					stdin, w = fifo("stdin")
				}
				feed = func() { _, _ = io.WriteString(w, content); _ = w.Close() }
			case "file":
				stdin = open(path, os.O_RDONLY)
			}
			got := make(chan string, 1)
			switch test.stdout {
			case "pipe", "fifo":
				var r *os.File
				if test.stdout == "pipe" {
					r, stdout = testkit.StdioPipe(t)
				} else {
					r, stdout = fifo("stdout")
				}
				go func() {
					b, _ := io.ReadAll(r)
					got <- string(b)
				}()
				printed = func() string { _ = stdout.Close(); return <-got }
			case "file", "append":
				flags := os.O_WRONLY | os.O_CREATE
				if test.stdout == "append" {
					flags |= os.O_APPEND
				}
				name := filepath.Join(dir, "out")
				stdout = open(name, flags)
				printed = func() string { b, _ := os.ReadFile(name); return string(b) }
			}
			var kinds []string
			copier.TestHook = func(name string) { kinds = append(kinds, name) }
			defer func() { copier.TestHook = nil }()

			p, ctx := testRun(t, stdin, stdout, words(strings.ReplaceAll(test.args, "FILE", path))...)
			var ours net.Conn
			var theirs streamConn
			if test.network == "tcp" {
				ours, theirs = testkit.TcpPair(t)
			} else {
				ours, theirs = testkit.UnixPair(t)
			}
			go feed()
			if test.stdin == "pipe" || test.stdin == "fifo" {
				in := fdio.New(stdin, nil)
				testkit.Eventually(t, "stdin has something", in.Ready)
			}
			result := converses(p, ctx, ours)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = io.WriteString(theirs, content)
				_ = theirs.CloseWrite()
			}()
			b, err := io.ReadAll(theirs)
			if err != nil {
				t.Error(err)
			}
			want := content
			switch {
			case strings.Contains(test.args, "--upper"):
				want = string(upperASCII([]byte(content)))
			case strings.Contains(test.args, "-C"):
				want = plainCRLF(content)
			}
			if string(b) != want {
				t.Errorf("%d of %d bytes were sent, or others", len(b), len(want))
			}
			<-sent
			_ = theirs.Close()
			if err := ends(t, result); err != nil && !strings.Contains(test.args, "--send-only") {
				t.Error(err)
			}
			// The one out is made once the first bytes have been looked at.
			wantKinds := []string{test.sends, test.receives}
			slices.Sort(wantKinds)
			if slices.Sort(kinds); !slices.Equal(kinds, wantKinds) {
				t.Errorf("the copiers out and in are %q, want %q", kinds, wantKinds)
			}
			out := printed()
			switch {
			case test.stdout == "null" || strings.Contains(test.args, "--send-only"):
				want = ""
			case strings.Contains(test.args, "--upper"):
			default:
				want = content
			}
			if out != want {
				t.Errorf("%d of %d bytes were printed, or others", len(out), len(want))
			}
		})
	}
}
