package offer

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"purr/internal/testkit"
)

// tree makes files, and links below "tree", in a directory of their own.
func tree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"secret": "secret", "tree/in": "offered", "tree/sub/deep": "deep", "one/file": "offered", "one/beside": "secret"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"out": "../secret", "up": "..", "within": "in"} {
		if err := os.Symlink(target, filepath.Join(dir, "tree", link)); err != nil {
			t.Skip(err) // Windows wants a right for it
		}
	}
	return dir
}

func open(t testing.TB, live bool, paths ...string) *Set {
	t.Helper()
	s, err := Open(paths, live)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// FuzzOpen: whatever name is asked for, nothing but what is offered is opened.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"tree/in", "file", "tree/../secret", "/etc/passwd", "tree/out", "tree/up/secret", "tree/./in", "tree//in", "tree", ".", "..", "tree/in/", "tree/\x00"} {
		f.Add(name)
	}
	dir := tree(f)
	s := open(f, false, filepath.Join(dir, "tree"), filepath.Join(dir, "one", "file"))
	f.Fuzz(func(t *testing.T, name string) {
		file, err := s.Open(name)
		if offered := name == "tree/in" || name == "tree/sub/deep" || name == "file"; (err == nil) != offered {
			t.Errorf("%q: %v", name, err)
		}
		if err != nil {
			return
		}
		defer file.Close()
		if b, err := io.ReadAll(file.Content()); err != nil || string(b) == "secret" {
			t.Errorf("%q: %q, %v", name, b, err)
		}
	})
}

// A walk visits files, links and directories each in its turn.
func TestWalk(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	s := open(t, false, filepath.Join(dir, "tree"), filepath.Join(dir, "one", "file"))
	for part, want := range map[Part]string{
		Files: "file:7 tree/in:7 tree/sub/deep:4",
		Links: "tree/out:../secret tree/up:.. tree/within:in",
		Dirs:  "tree tree/sub",
	} {
		var got []string
		links, err := s.Walk(part, func(e Entry, skipped error) error {
			if skipped != nil {
				t.Errorf("%s skipped: %v", e.Path, skipped)
			}
			switch part {
			case Files:
				got = append(got, e.Path+":"+string(rune('0'+e.Size)))
			case Links:
				got = append(got, e.Path+":"+e.Target)
			default:
				got = append(got, e.Path)
			}
			return nil
		})
		if err != nil || !links {
			t.Errorf("part %d: links %t, %v", part, links, err)
		}
		if part == Dirs && (len(got) != 2 || got[1] != "tree") {
			t.Errorf("directories %q: the deepest must come first", got)
		}
		if got := sorted(got); got != want {
			t.Errorf("part %d: %q, want %q", part, got, want)
		}
	}
	stop := errors.New("stop")
	if _, err := s.Walk(Files, func(Entry, error) error { return stop }); err != stop {
		t.Errorf("the visitor's error became %v", err)
	}
}

func sorted(names []string) string {
	for i := range names {
		for j := i; j > 0 && names[j] < names[j-1]; j-- {
			names[j], names[j-1] = names[j-1], names[j]
		}
	}
	return strings.Join(names, " ")
}

// A body is what was read and hashed from an offset on, with room for a head in
// front of each block.
func TestBody(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(3_000_000)
	path := testkit.TempFile(t, content)
	s := open(t, false, path)
	for _, offset := range []int64{0, 1, 1_500_000, 3_000_000} {
		f, err := s.Open(filepath.Base(path))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h, err := f.Hash(offset, func(int) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		const room = 100
		b, err := f.Body(offset, h, room)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		for {
			block, err := b.Next(200_000)
			if err != nil {
				break
			}
			copy(block[:room], "a head that is not hashed")
			got.Write(block[room:])
			b.Put(block)
		}
		sum, err := b.Sum()
		if err != nil || !bytes.Equal(sum, testkit.SHA256(content)) || got.String() != content[offset:] {
			t.Errorf("from %d: %d bytes, %x, %v", offset, got.Len(), sum, err)
		}
	}
}

// A file that is written to while it is read is a mixture, unless it may grow.
func TestChanged(t *testing.T) {
	t.Parallel()
	for _, live := range []bool{false, true} {
		path := testkit.TempFile(t, testkit.Noise(1_000_000))
		s := open(t, live, path)
		f, err := s.Open(filepath.Base(path))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b, err := f.Body(0, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		appended, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = appended.WriteString("more")
		_ = appended.Close()
		n, err := b.WriteTo(io.Discard)
		if n != 1_000_000 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		sum, err := b.Sum()
		if changed := errors.As(err, new(ChangedError)); changed == live || (sum != nil) != live {
			t.Errorf("live %t: %x, %v", live, sum, err)
		}
	}
}
