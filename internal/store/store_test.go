package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.AtOnce(8)
	m.Run()
}

// openStoreTest opens a store in a new directory and closes it with the test.
func openStoreTest(t testing.TB, o Options) (*Store, string) {
	t.Helper()
	dir := t.TempDir()
	return openStoreIn(t, dir, o), dir
}

// openStoreIn opens a store and closes it with the test.
func openStoreIn(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// put sends one file to a store.
func put(s *Store, a File, content string) (*Stored, error) {
	in, done, err := s.Begin(a)
	if in == nil {
		return done, err
	}
	if err := in.Receive(strings.NewReader(content[a.Offset:]), func(int) {}); err != nil {
		in.Abort()
		return nil, err
	}
	return in.Commit(nil)
}

// Files of all sizes, announced or not, arrive under their names.
func TestStore(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 4096, 5000, SmallFile, SmallFile + 1, minSuspended, 3<<20 + 7} {
		for _, known := range []bool{true, false} {
			s, dir := openStoreTest(t, Options{})
			content := testkit.Noise(size)
			a := File{Path: "a/b/c", Size: -1}
			if known {
				a.Size = int64(size)
			}
			got, err := put(s, a, content)
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if got.Path != "a/b/c" || got.Size != int64(size) || got.Identical || !bytes.Equal(got.Digest, testkit.SHA256(content)) {
				t.Errorf("%d bytes: %+v", size, got)
			}
			if there, err := os.ReadFile(filepath.Join(dir, "a/b/c")); err != nil || string(there) != content {
				t.Errorf("%d bytes: %d on the disk, or others: %v", size, len(there), err)
			}
		}
	}
}

// listTree lists the entries of a directory with path, type, size and the
// beginning of the digest.
func listTree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s %d %x\n", rel, len(content), testkit.SHA256(string(content))[:4])
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			fmt.Fprintf(&b, "%s -> %s\n", rel, target)
		default:
			fmt.Fprintf(&b, "%s %v\n", rel, info.Mode().Type())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// refuses checks that err is an Error of this kind whose text begins with text.
func refuses(t testing.TB, err error, kind Kind, text string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.HasPrefix(e.Text, text) {
		t.Errorf("%#v (%v), want %d %q", err, err, kind, text)
	}
}

// lay creates files, directories (name/) and links (name -> target) in dir.
func lay(t testing.TB, dir string, entries ...string) {
	t.Helper()
	for _, e := range entries {
		var err error
		name, target, isLink := strings.Cut(e, " -> ")
		path := filepath.Join(dir, name)
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		switch {
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, []byte("old"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A refused file changes nothing, inside or outside the directory.
func TestStoreRefuses(t *testing.T) {
	t.Parallel()
	big := testkit.Noise(2 << 20)
	for _, c := range []struct {
		name    string
		there   []string
		o       Options
		a       File
		content string
		kind    Kind
		text    string
	}{
		{"exists", []string{"f"}, Options{}, File{Path: "f", Size: 3}, "new", Exists, "exists"},
		{"exists, other digest", []string{"f"}, Options{}, File{Path: "f", Size: 3, Digest: testkit.SHA256("new")}, "new", Exists, "exists"},
		{"link to outside", []string{"f -> ../out/victim"}, Options{}, File{Path: "f", Size: 3}, "new", Exists, "exists"},
		{"link to outside, force", []string{"f -> ../out/victim"}, Options{Force: true}, File{Path: "f", Size: 3}, "new", Exists, "exists, as a symbolic link"},
		{"link to the same content", []string{"g", "f -> g"}, Options{}, File{Path: "f", Size: 3, Digest: testkit.SHA256("old")}, "old", Exists, "exists"},
		{"link to nowhere", []string{"f -> ../out/new"}, Options{Force: true}, File{Path: "f", Size: 3}, "new", Exists, "exists, as a symbolic link"},
		{"directory by a link to outside", []string{"d -> ../out"}, Options{Force: true}, File{Path: "d/victim", Size: 3}, "new", Forbidden, "symbolic link in the way: d"},
		{"new file by a link to outside", []string{"d -> ../out"}, Options{}, File{Path: "d/e/new", Size: 3}, "new", Forbidden, "symbolic link in the way: d"},
		{"directory by an absolute link", []string{"d -> /tmp"}, Options{}, File{Path: "d/new", Size: 3}, "new", Forbidden, "symbolic link in the way: d"},
		{"directory by a link to nowhere", []string{"d -> ../out/new"}, Options{}, File{Path: "d/new", Size: 3}, "new", Forbidden, "symbolic link in the way: d"},
		{"directory by a link back and out", []string{"e/", "d -> e/../../out"}, Options{}, File{Path: "d/new", Size: 3}, "new", Forbidden, "symbolic link in the way: d"},
		{"links in a circle", []string{"d -> e", "e -> d"}, Options{}, File{Path: "d/new", Size: 3}, "new", Forbidden, "symbolic link in the way: d"},
		{"a directory", []string{"f/"}, Options{Force: true}, File{Path: "f", Size: 3}, "new", Conflict, "not a regular file there"},
		{"a file in the way", []string{"d"}, Options{}, File{Path: "d/e/f", Size: 3}, "new", Conflict, "not a directory: d"},
		{"name", nil, Options{}, File{Path: "../f", Size: 3}, "new", Invalid, "unsafe name"},
		{"hidden", nil, Options{}, File{Path: ".ssh/f", Size: 3}, "new", Forbidden, "hidden name: a component that begins with a dot"},
		{"max-size", nil, Options{MaxSize: 2}, File{Path: "d/f", Size: 3}, "new", TooLarge, "over the limit of 2 bytes: 2 bytes left"},
		{"max-size, size not known", nil, Options{MaxSize: 1 << 20}, File{Path: "d/f", Size: -1}, big, TooLarge, "over the limit of "},
		{"more than announced", nil, Options{}, File{Path: "d/f", Size: 2}, "new", Mismatch, "more than the 2 bytes announced"},
		{"much more than announced", nil, Options{}, File{Path: "d/f", Size: 2<<20 - 1}, big, Mismatch, "more than the 2097151 bytes announced"},
		{"fewer than announced", nil, Options{}, File{Path: "d/f", Size: 4}, "new", Mismatch, "3 of 4 bytes came"},
		{"digest", nil, Options{}, File{Path: "d/f", Size: 3, Digest: testkit.SHA256("old")}, "new", Mismatch, "digest mismatch: damaged on the way"},
		{"nothing to go on with", nil, Options{}, File{Path: "d/f", Size: 3, Offset: 1}, "new", Conflict, "no partial upload of 1 bytes here"},
		{"no space", nil, Options{}, File{Path: "d/f", Size: 1 << 60}, "new", NoSpace, "not enough space: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			lay(t, top, "dst/", "out/victim")
			lay(t, filepath.Join(top, "dst"), c.there...)
			before := listTree(t, top)
			s, err := Open(filepath.Join(top, "dst"), c.o)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // a second attempt is refused in the same way
				_, err = put(s, c.a, c.content)
				refuses(t, err, c.kind, c.text)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if after := listTree(t, top); after != before {
				t.Errorf("before:\n%safter:\n%s", before, after)
			}
		})
	}
}

// A digest at the end differs from the content or from the announced digest.
func TestStoreDigestAtTheEnd(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, Options{})
	for _, c := range []struct{ before, after []byte }{{nil, testkit.SHA256("old")}, {testkit.SHA256("new"), testkit.SHA256("old")}, {testkit.SHA256("old"), testkit.SHA256("new")}} {
		in, _, err := s.Begin(File{Path: "f", Size: 3, Digest: c.before})
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Receive(strings.NewReader("new"), func(int) {}); err != nil {
			t.Fatal(err)
		}
		_, err = in.Commit(c.after)
		refuses(t, err, Mismatch, "digest mismatch: damaged on the way")
	}
	if got := listTree(t, dir); got != "" {
		t.Error(got)
	}
}

// An identical file is not received again, with any options.
func TestStoreIdentical(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {Force: true}, {Rename: true}} {
		s, dir := openStoreTest(t, o)
		lay(t, dir, "d/f")
		for range 2 {
			got, err := put(s, File{Path: "d/f", Size: 3, Digest: testkit.SHA256("old")}, "")
			if err != nil || !got.Identical || got.Path != "d/f" || got.Size != 3 || !bytes.Equal(got.Digest, testkit.SHA256("old")) {
				t.Errorf("%+v: %+v %v", o, got, err)
			}
		}
	}
}

func TestStoreForceAndRename(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, Options{Force: true})
	lay(t, dir, "f")
	if got, err := put(s, File{Path: "f", Size: 3}, "new"); err != nil || got.Path != "f" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := put(s, File{Path: "f", Size: 5}, "newer"); err != nil { // of another push
		t.Error(err)
	}
	if got, want := listTree(t, dir), fmt.Sprintf("f 5 %x\n", testkit.SHA256("newer")[:4]); got != want {
		t.Errorf("%s, want %s", got, want)
	}

	s, dir = openStoreTest(t, Options{Rename: true})
	lay(t, dir, "f.txt", "f.1.txt", "f.2.txt -> nowhere", "g -> f.txt")
	for path, want := range map[string]string{"f.txt": "f.3.txt", "g": "g.1", "h": "h"} {
		if got, err := put(s, File{Path: path, Size: 3}, "new"); err != nil || got.Path != want {
			t.Errorf("%s: %+v %v", path, got, err)
		}
	}
	if got, err := put(s, File{Path: "f.txt", Size: 3}, "new"); err != nil || got.Path != "f.4.txt" { // of another push
		t.Errorf("%+v %v", got, err)
	}
}

// Options.MaxSize counts stored files and suspended uploads, but not aborted
// ones.
func TestStoreMaxSize(t *testing.T) {
	t.Parallel()
	s, _ := openStoreTest(t, Options{MaxSize: 4 << 20})
	content := testkit.Noise(3 << 20)
	for range 3 { // an aborted upload does not count
		in, _, err := s.Begin(File{Path: "a", Size: int64(len(content))})
		if err != nil {
			t.Fatal(err)
		}
		in.Abort()
	}
	in, _, err := s.Begin(File{Path: "a", Size: int64(len(content))})
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Receive(strings.NewReader(content[:2<<20]), func(int) {}); err != nil {
		t.Fatal(err)
	}
	if kept, size := in.Suspend(); kept == "" || size != 2<<20 {
		t.Fatalf("kept %d bytes in %q", size, kept)
	}
	_, err = put(s, File{Path: "b", Size: 3 << 20}, content)
	refuses(t, err, TooLarge, "over the limit of 4194304 bytes: 2097152 bytes left")
	if _, err := put(s, File{Path: "a", Size: 3 << 20, Offset: 2 << 20}, content); err != nil {
		t.Error(err)
	}
	_, err = put(s, File{Path: "b", Size: -1}, content[:1<<20+1])
	refuses(t, err, TooLarge, "over the limit of 4194304 bytes: ")
	if _, err := put(s, File{Path: "b", Size: -1}, content[:1<<20]); err != nil {
		t.Error(err)
	}
	// A sum would wrap around.
	for _, f := range []File{{Path: "c", Size: math.MaxInt64}, {Path: "c", Size: -1, Offset: math.MaxInt64}} {
		_, err = put(s, f, "")
		refuses(t, err, TooLarge, "over the limit of 4194304 bytes: 0 bytes left")
	}
	if s.quota.charged != 4<<20 || len(s.quota.suspended) != 0 {
		t.Errorf("%d bytes counted, %d uploads kept", s.quota.charged, len(s.quota.suspended))
	}
}

// Mkdir changes permissions and time only of directories that the Store
// created.
func TestStoreDir(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, Options{})
	lay(t, dir, "old/", "file", "in -> old", "out -> /tmp")
	then := time.Unix(1_000_000_000, 123_456_789)
	if _, err := put(s, File{Path: "new/f", Size: 3}, "new"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"new", "a/b/c", "a/b", "old", "in"} {
		if err := s.Mkdir(path, 0o700, then); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for path, created := range map[string]bool{"new": true, "a/b/c": true, "a/b": true, "old": false} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.ModTime().Equal(then); got != created {
			t.Errorf("%s: time %v", path, info.ModTime())
		}
		if got := info.Mode().Perm() == 0o700; got != created && runtime.GOOS != "windows" {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
	}
	refuses(t, s.Mkdir("file", 0, time.Time{}), Conflict, "not a directory: file")
	refuses(t, s.Mkdir("out", 0, time.Time{}), Forbidden, "symbolic link in the way: out")
	refuses(t, s.Mkdir("out/a", 0, time.Time{}), Forbidden, "symbolic link in the way: out")
	refuses(t, s.Mkdir("../a", 0, time.Time{}), Invalid, "unsafe name")
	if err := s.Sync(); err != nil || len(s.tree.unsynced) != 0 {
		t.Errorf("%v; %d directories are not on stable storage", err, len(s.tree.unsynced))
	}
}

// Close removes a directory that was created for a file that did not arrive,
// but not one that Mkdir has created.
func TestEmptyDirs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"a/b/c/f", "a/d/f", "asked/f", "used/f"} {
		if _, err := put(s, File{Path: path, Size: 4}, "new"); err == nil {
			t.Error("stored")
		}
	}
	if err := s.Mkdir("asked", 0, time.Time{}); err != nil {
		t.Error(err)
	}
	if _, err := put(s, File{Path: "used/g", Size: 3}, "new"); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got, want := listTree(t, dir), fmt.Sprintf("asked d---------\nused d---------\nused/g 3 %x\n", testkit.SHA256("new")[:4]); filepath.ToSlash(got) != want {
		t.Errorf("left:\n%swant:\n%s", got, want)
	}
}

// Open fails for a directory that is none, and leaves no file behind.
func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lay(t, dir, "file")
	for path, cause := range map[string]string{"file": "not a directory", "missing": "no such file or directory"} {
		if s, err := Open(filepath.Join(dir, path), Options{}); err == nil {
			_ = s.Close()
			t.Errorf("%s: opened", path)
		} else if err.Error() != cause && runtime.GOOS != "windows" {
			t.Errorf("%s: %v, want %s", path, err, cause)
		}
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := listTree(t, dir); !strings.HasPrefix(got, "file ") || strings.Count(got, "\n") != 1 {
		t.Error(got)
	}
}

// With Options.Rename several files of one name arrive at the same time, large
// and small ones, and one that continues a suspended upload.
func TestRenameAtOnce(t *testing.T) {
	t.Parallel()
	for _, size := range []int{3, minSuspended + 1} {
		s, dir := openStoreTest(t, Options{Rename: true})
		content := testkit.Noise(size)
		var uploads []*Upload
		for range 4 {
			in, _, err := s.Begin(File{Path: "d/f.txt", Size: int64(size)})
			if err != nil {
				t.Fatal(err)
			}
			if err := in.Receive(strings.NewReader(content), nil); err != nil {
				t.Fatal(err)
			}
			uploads = append(uploads, in)
		}
		uploads[0].Abort()
		_, _, err := s.Begin(File{Path: "d/f.txt", Size: int64(size), Offset: 1})
		refuses(t, err, Conflict, "no partial upload of 1 bytes here")
		var got []string
		for _, in := range uploads[1:] {
			f, err := in.Commit(testkit.SHA256(content))
			if err != nil {
				t.Fatal(err)
			}
			testkit.HasContent(t, filepath.Join(dir, f.Path), content)
			got = append(got, f.Path)
		}
		if want := "[d/f.txt d/f.1.txt d/f.2.txt]"; fmt.Sprint(got) != want {
			t.Errorf("stored %v, want %s", got, want)
		}
		if files, err := os.ReadDir(filepath.Join(dir, "d")); err != nil || len(files) != 3 {
			t.Errorf("%v, %v", files, err)
		}
		if s.claims.paths.len() > 0 || s.quota.charged != 3*int64(size) {
			t.Errorf("%d paths claimed, %d bytes counted", s.claims.paths.len(), s.quota.charged)
		}
	}
}

// An Error that an option would avoid is typed, and worded by Options.Word.
func TestWord(t *testing.T) {
	t.Parallel()
	var worded []Way
	s, dir := openStoreTest(t, Options{Force: true, MaxSize: 10, Word: func(e *Error) string {
		worded = append(worded, e.Way)
		return fmt.Sprintf("%s, %d of %d", e.Text, e.Left, e.Limit)
	}})
	lay(t, dir, "l -> f")
	if _, err := put(s, File{Path: "f", Size: 3}, "new"); err != nil {
		t.Fatal(err)
	}
	_, err := put(s, File{Path: "g", Size: 8}, "newer...")
	refuses(t, err, TooLarge, "over the limit of 10 bytes: 7 bytes left, 7 of 10")
	_, err = put(s, File{Path: "l", Size: 3}, "new")
	refuses(t, err, Exists, "exists, as a symbolic link, 0 of 0")
	_, err = put(s, File{Path: ".f", Size: 3}, "new")
	refuses(t, err, Forbidden, "hidden name: a component that begins with a dot, 0 of 0")
	if want := []Way{ByLimit, ByRemovedLink, ByHidden}; fmt.Sprint(worded) != fmt.Sprint(want) {
		t.Errorf("worded %v, want %v", worded, want)
	}
}
