//go:build unix

package fdio

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"purr/internal/testkit"
)

// read returns what a new reader of in gets.
func read(t *testing.T, in *Input) (string, error) {
	t.Helper()
	i := newInterrupt(t)
	r, done, err := in.NewReader(context.Background(), i)
	if err != nil {
		return "", err
	}
	defer done()
	b, err := io.ReadAll(r)
	return string(b), err
}

// The file that had the name at the start is read, whatever gets the name
// later; nothing else is.
func TestInputReplaced(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	file := func(path, content string) { testkit.WriteFile(t, path, content) }
	fifo := func(path string) {
		must(testkit.Mkfifo(path))
		feed, err := os.OpenFile(path, os.O_RDWR, 0) // so that an open for reading does not wait
		must(err)
		t.Cleanup(func() { _ = feed.Close() })
	}
	for _, test := range []struct {
		name          string
		make, replace func(path string)
		want, failure string
	}{
		{"by a file", func(p string) { file(p, "old") }, func(p string) { file(p+"2", "secret"); must(os.Rename(p+"2", p)) }, "old", ""},
		{"by a link", func(p string) { file(p, "old") }, func(p string) {
			file(p+"2", "secret")
			must(os.Remove(p))
			must(os.Symlink(p+"2", p))
		}, "old", ""},
		{"by nothing", func(p string) { file(p, "old") }, func(p string) { must(os.Remove(p)) }, "old", ""},
		{"by more of it", func(p string) { file(p, "old") }, func(p string) { appendTo(t, p, " and more") }, "old and more", ""},
		{"a link, elsewhere", func(p string) { file(p+"1", "old"); must(os.Symlink(p+"1", p)) }, func(p string) {
			file(p+"2", "secret")
			must(os.Remove(p))
			must(os.Symlink(p+"2", p))
		}, "old", ""},
		{"a pipe by a link", fifo, func(p string) {
			file(p+"2", "secret")
			must(os.Remove(p))
			must(os.Symlink(p+"2", p))
		}, "", "was replaced by a symbolic link since the start"},
		{"a pipe by a file", fifo, func(p string) { must(os.Remove(p)); file(p, "secret") }, "", "was replaced by another file since the start"},
		{"a pipe by a pipe", fifo, func(p string) { must(os.Rename(p, p+"1")); fifo(p) }, "", "was replaced by another file since the start"},
		{"a link to a pipe, elsewhere", func(p string) { fifo(p + "1"); must(os.Symlink(p+"1", p)) }, func(p string) {
			file(p+"2", "secret")
			must(os.Remove(p))
			must(os.Symlink(p+"2", p))
		}, "", "was replaced by another file since the start"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := t.TempDir() + "/f"
			test.make(path)
			in, err := NewInput(path)
			must(err)
			test.replace(path)
			for range 2 {
				got, err := read(t, in)
				if got != test.want || (err == nil) != (test.failure == "") || err != nil && !strings.Contains(err.Error(), test.failure) {
					t.Errorf("read %q, %v; want %q, %q", got, err, test.want, test.failure)
				}
			}
		})
	}
}

// A FIFO is opened for each reader, each of which gets what is written then.
func TestInputFIFO(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/fifo"
	if err := testkit.Mkfifo(path); err != nil {
		t.Fatal(err)
	}
	in, err := NewInput(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"first", "second"} {
		go func() {
			w, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = w.WriteString(content)
			_ = w.Close()
		}()
		if got, err := read(t, in); got != content || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	}
}

// Readers of one regular file do not move each other's offset, each stops at
// the size that the file had at its beginning, and a file that shrinks is an
// error.
func TestInputOffsets(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(100_000)
	path := testkit.TempFile(t, content)
	in, err := NewInput(path)
	if err != nil {
		t.Fatal(err)
	}
	i := newInterrupt(t)
	open := func() Source {
		r, _, err := in.NewReader(context.Background(), i)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a, b, c := open(), open(), open()
	appendTo(t, path, "later")
	var gotA, gotB strings.Builder
	for piece := make([]byte, 999); gotB.Len() < len(content); {
		n, _ := a.Read(piece[:500])
		gotA.Write(piece[:n])
		n, _ = b.Read(piece)
		gotB.Write(piece[:n])
	}
	rest, err := io.ReadAll(a)
	if gotA.String()+string(rest) != content || err != nil || gotB.String() != content {
		t.Errorf("got %d and %d bytes, or others: %v", gotA.Len()+len(rest), gotB.Len(), err)
	}
	if err := os.Truncate(path, 1000); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); len(got) != 1000 || err == nil || !strings.Contains(err.Error(), "file shrank while it was sent: 1000 of 100000 bytes") {
		t.Errorf("read %d bytes: %v", len(got), err)
	}
}

func appendTo(t *testing.T, path, content string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(content)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}

// A file without a size, as in /proc, is read to its end.
func TestInputWithoutSize(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("/proc/version")
	if err != nil {
		testkit.NotHere(t, "the file: "+err.Error())
	}
	in, err := NewInput("/proc/version")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := read(t, in); got != string(want) || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	}
}
