package offer

import (
	"bytes"
	"errors"
	"fmt"
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
			testkit.NotHere(t, "symbolic links: "+err.Error()) // Windows wants a right for it
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

// FuzzOpen: for any requested name, only offered files are opened.
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

// A walk visits files, then returns links and directories.
func TestWalk(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	s := open(t, false, filepath.Join(dir, "tree"), filepath.Join(dir, "one", "file"))
	var files, links, dirs []string
	rest, err := s.Walk(func(e Entry, skipped error) error {
		if skipped != nil {
			t.Errorf("%s skipped: %v", e.Path, skipped)
		}
		files = append(files, e.Path+":"+string(rune('0'+e.Size)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range rest {
		if e.Mode.IsDir() {
			dirs = append(dirs, e.Path)
		} else {
			links = append(links, e.Path+":"+e.Target)
		}
	}
	if len(dirs) != 2 || dirs[1] != "tree" {
		t.Errorf("directories %q: the deepest must come first", dirs)
	}
	for _, x := range []struct {
		got  []string
		want string
	}{
		{files, "file:7 tree/in:7 tree/sub/deep:4"},
		{links, "tree/out:../secret tree/up:.. tree/within:in"},
		{dirs, "tree tree/sub"},
	} {
		if got := sorted(x.got); got != x.want {
			t.Errorf("%q, want %q", got, x.want)
		}
	}
	stop := errors.New("stop")
	if _, err := s.Walk(func(Entry, error) error { return stop }); err != stop {
		t.Errorf("the visitor's error became %v", err)
	}
}

// A directory that is filled and renamed behind the walk is returned as it was
// found: its new name would promise files that were not visited.
func TestWalkOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"top/a/new", "top/z"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "top/z/file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, false, filepath.Join(dir, "top"), filepath.Join(dir, "top/z/file"))
	rest, err := s.Walk(func(e Entry, _ error) error {
		if e.Path != "file" { // the last one: top has been read
			return nil
		}
		err := os.WriteFile(filepath.Join(dir, "top/a/new/content"), []byte("content"), 0o644)
		return errors.Join(err, os.Rename(filepath.Join(dir, "top/a/new"), filepath.Join(dir, "top/a/final")))
	})
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, e := range rest {
		dirs = append(dirs, e.Path)
	}
	if got := sorted(dirs); got != "top top/a top/a/new top/z" {
		t.Errorf("directories %q", got)
	}
}

// replace gives the file or link at from the name to, as rename(2) does.
func replace(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// A file operand is the file that was there when the set was opened; a link or
// a file that takes its place is refused however it is asked for.
func TestReplacedFile(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"link", "file", "directory on the way"} {
		dir := tree(t)
		path := filepath.Join(dir, "one", "file")
		s := open(t, false, path)
		var listed Entry
		if _, err := s.Walk(func(e Entry, err error) error { listed = e; return err }); err != nil {
			t.Fatal(err)
		}
		switch by {
		case "link":
			if err := os.Symlink("beside", path+".new"); err != nil {
				t.Fatal(err)
			}
			replace(t, path+".new", path)
		case "file":
			if err := os.WriteFile(path+".new", []byte("secret"), 0o644); err != nil {
				t.Fatal(err)
			}
			replace(t, path+".new", path)
		default:
			replace(t, filepath.Join(dir, "one"), filepath.Join(dir, "moved"))
			if err := os.MkdirAll(filepath.Join(dir, "other"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "other", "file"), []byte("secret"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("other", filepath.Join(dir, "one")); err != nil {
				t.Fatal(err)
			}
		}
		if f, err := s.Open("file"); !errors.Is(err, errReplaced) {
			t.Errorf("replaced by a %s: opened %v, %v", by, f, err)
		}
		if _, content, _, err := s.Read(listed); !errors.Is(err, errReplaced) {
			t.Errorf("replaced by a %s: listed, then %q, %v", by, content, err)
		}
		if _, err := s.Walk(func(e Entry, skipped error) error { return skipped }); !errors.Is(err, errReplaced) {
			t.Errorf("replaced by a %s: walked: %v", by, err)
		}
	}
}

// Below a directory a link that takes the place of a file or directory is not
// followed; another file may have taken it.
func TestReplacedBelow(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	s := open(t, false, filepath.Join(dir, "tree"))
	entries := make(map[string]Entry)
	if _, err := s.Walk(func(e Entry, err error) error { entries[e.Path] = e; return err }); err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, "tree/within"), filepath.Join(dir, "tree/sub/deep"))
	if err := os.Symlink("../in", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, "link"), filepath.Join(dir, "tree/sub/deep"))
	if _, content, _, err := s.Read(entries["tree/sub/deep"]); !errors.Is(err, ErrNotOffered) {
		t.Errorf("behind a link: %q, %v", content, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "in.new"), []byte("newer"), 0o644); err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, "in.new"), filepath.Join(dir, "tree/in"))
	if e, content, _, err := s.Read(entries["tree/in"]); err != nil || string(content) != "newer" || e.Size != 5 {
		t.Errorf("a new file: %q, %v", content, err)
	}
}

// A path behind a link that leads out of the directory is not offered.
func TestLinkOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, sub := range []string{"in", "out"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "out/secret"), []byte("s"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../out", filepath.Join(dir, "in/link")); err != nil {
		testkit.NotHere(t, fmt.Sprintf("symbolic links: %v", err))
	}
	s := open(t, false, filepath.Join(dir, "in"))
	for _, name := range []string{"in/link", "in/link/secret"} {
		if f, err := s.Open(name); err != ErrNotOffered {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
}

// Operands do not hold a descriptor each.
func TestManyOperands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var paths []string
	for i := range 400 {
		path := filepath.Join(dir, fmt.Sprint(i), "d")
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(filepath.Dir(path), fmt.Sprint("d", i))
		replace(t, filepath.Join(filepath.Dir(path), "d"), path)
		if err := os.WriteFile(filepath.Join(path, "file"), []byte(path), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	s := open(t, false, paths...)
	if len(s.opened) > maxOpenDirs {
		t.Errorf("%d descriptors", len(s.opened))
	}
	files := 0
	rest, err := s.Walk(func(e Entry, err error) error {
		_, content, _, readErr := s.Read(e)
		if files++; len(content) == 0 || len(s.opened) > maxOpenDirs+1 {
			t.Errorf("%s: %q, %d descriptors", e.Path, content, len(s.opened))
		}
		return errors.Join(err, readErr)
	})
	if err != nil || files != 400 || len(rest) != 400 {
		t.Errorf("%d files, %d directories, %v", files, len(rest), err)
	}
	replace(t, filepath.Join(paths[1], "file"), filepath.Join(dir, "kept"))
	replace(t, paths[1], paths[1]+".old")
	if err := os.Symlink(paths[2], paths[1]); err != nil {
		testkit.NotHere(t, "symbolic links: "+err.Error())
	}
	if f, err := s.Open("d1/file"); !errors.Is(err, errReplaced) {
		t.Errorf("a replaced directory: %v, %v", f, err)
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
