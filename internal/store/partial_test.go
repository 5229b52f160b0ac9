//go:build unix

package store

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// leave receives the first n bytes of content for path, and suspends the
// upload.
func leave(t testing.TB, s *Store, path, content string, n int) (kept string, size int64) {
	t.Helper()
	in, _, err := s.Begin(File{Path: path, Size: int64(len(content))})
	if err != nil {
		t.Fatal(err)
	}
	src := io.MultiReader(strings.NewReader(content[:n]), iotest.ErrReader(io.ErrUnexpectedEOF))
	if err := in.Receive(src, func(int) {}); err != io.ErrUnexpectedEOF {
		t.Fatalf("receive returns %v", err)
	}
	return in.Suspend()
}

// An upload continues from the end of a suspended one or from an earlier
// offset, in the same Store or in another, with or without a call of Partial.
func TestStoreResume(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(5 << 20)
	for _, again := range []bool{false, true} {
		for _, offset := range []int64{2_621_440, 2_000_000, 0} {
			for _, asks := range []bool{true, false} {
				s, dir := openStoreTest(t, Options{})
				kept, size := leave(t, s, "d/f", content, 2_621_440)
				if want := filepath.Join(dir, "d", partialName("d/f")); kept != want || size != 2_621_440 {
					t.Fatalf("%d bytes in %s, want it in %s", size, kept, want)
				}
				info, err := os.Stat(kept)
				if err != nil || info.Size() != size || info.Mode() != 0o600 || allocated(info) > size+1<<17 {
					t.Errorf("%v, takes %d bytes: %v", info, allocated(info), err)
				}
				if again {
					s = openStoreIn(t, dir, Options{})
				}
				if asks {
					got, digest, err := s.Partial("d/f")
					if err != nil || got != size || !bytes.Equal(digest, testkit.SHA256(content[:size])) {
						t.Fatalf("partial: %d %x %v", got, digest, err)
					}
				}
				f, err := put(s, File{Path: "d/f", Size: 5 << 20, Digest: testkit.SHA256(content), Offset: offset}, content)
				if err != nil || !bytes.Equal(f.Digest, testkit.SHA256(content)) {
					t.Errorf("%+v %v", f, err)
				}
				if got, want := listTree(t, dir), fmt.Sprintf("d d---------\nd/f %d %x\n", 5<<20, testkit.SHA256(content)[:4]); got != want {
					t.Errorf("left:\n%swant:\n%s", got, want)
				}
			}
		}
	}
}

// A partial file that was modified since Partial is hashed again.
func TestStoreResumeModified(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(3 << 20)
	s, dir := openStoreTest(t, Options{})
	kept, size := leave(t, s, "f", content, 2<<20)
	if _, _, err := s.Partial("f"); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(kept, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("other"), 1000); err != nil {
		t.Fatal(err)
	}
	// The clock of the file system may be too coarse to show the write.
	if err := os.Chtimes(kept, time.Time{}, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	_, err = put(s, File{Path: "f", Size: 3 << 20, Digest: testkit.SHA256(content), Offset: size}, content)
	refuses(t, err, Mismatch, "digest mismatch")
	if got := listTree(t, dir); got != "" {
		t.Error(got)
	}
}

// Suspend removes small partial files, and with NoResume all.
func TestSuspendKeepsNothing(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(3 << 20)
	for _, c := range []struct {
		o Options
		n int
	}{{Options{}, minSuspended - 1}, {Options{}, 0}, {Options{NoResume: true}, 2 << 20}} {
		s, dir := openStoreTest(t, c.o)
		if kept, size := leave(t, s, "f", content, c.n); kept != "" || size != 0 {
			t.Errorf("kept %d bytes in %s", size, kept)
		}
		if offset, digest, err := s.Partial("f"); offset != 0 || digest != nil || err != nil {
			t.Errorf("partial: %d %x %v", offset, digest, err)
		}
		if got := listTree(t, dir); got != "" {
			t.Error(got)
		}
	}
}

// A partial file in use is invisible to Partial and to other uploads: these get
// partial files of their own.
func TestStorePartialInUse(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(3 << 20)
	s, dir := openStoreTest(t, Options{})
	leave(t, s, "f", content, 2<<20)
	in, _, err := s.Begin(File{Path: "f", Size: 3 << 20, Offset: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	other := openStoreIn(t, dir, Options{})
	for _, s := range []*Store{s, other} {
		if offset, _, err := s.Partial("f"); offset != 0 || err != nil {
			t.Errorf("partial: %d %v", offset, err)
		}
	}
	_, _, err = s.Begin(File{Path: "f", Size: 3 << 20})
	refuses(t, err, Conflict, "being received already")
	_, _, err = other.Begin(File{Path: "f", Size: 3 << 20, Offset: 2 << 20})
	refuses(t, err, Conflict, "no partial upload of 2097152 bytes here")
	if _, err := put(other, File{Path: "f", Size: 3 << 20}, content); err != nil {
		t.Error(err)
	}
	if err := in.Receive(strings.NewReader(content[2<<20:]), func(int) {}); err != nil {
		t.Error(err)
	}
	_, err = in.Commit(nil)
	refuses(t, err, Exists, "exists")
	if got, want := listTree(t, dir), fmt.Sprintf("f %d %x\n", 3<<20, testkit.SHA256(content)[:4]); got != want {
		t.Errorf("left:\n%swant:\n%s", got, want)
	}
}

// An entry of another kind or owner with the name of the partial file is
// neither written nor reported, and the upload uses another name.
func TestStorePartialReplaced(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(3 << 20)
	for what, replace := range map[string]func(path, victim string) error{
		"symbolic link":      func(path, victim string) error { return os.Symlink(victim, path) },
		"link to nowhere":    func(path, victim string) error { return os.Symlink(victim+"2", path) },
		"link in the folder": func(path, _ string) error { return os.Symlink("mine", path) },
		"hard link":          func(path, victim string) error { return os.Link(victim, path) },
		"FIFO":               func(path, _ string) error { return unix.Mkfifo(path, 0o666) },
		"directory":          func(path, _ string) error { return os.Mkdir(path, 0o777) },
		"another user's file": func(path, victim string) error {
			if err := os.WriteFile(path, []byte(content[:2<<20]), 0o666); err != nil {
				return err
			}
			return os.Chown(path, 65534, 65534)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if what == "another user's file" && os.Getuid() != 0 {
				testkit.NotHere(t, "root, to give a file away")
			}
			top := t.TempDir()
			lay(t, top, "dst/mine", "out/")
			victim, dir := filepath.Join(top, "out/victim"), filepath.Join(top, "dst")
			if err := os.WriteFile(victim, []byte(content[:2<<20]), 0o666); err != nil {
				t.Fatal(err)
			}
			if err := replace(filepath.Join(dir, partialName("f")), victim); err != nil {
				t.Fatal(err)
			}
			before := listTree(t, top)
			s := openStoreIn(t, dir, Options{})
			if offset, digest, err := s.Partial("f"); offset != 0 || digest != nil || err != nil {
				t.Errorf("partial: %d %x %v", offset, digest, err)
			}
			_, err := put(s, File{Path: "f", Size: 3 << 20, Offset: 2 << 20}, content)
			refuses(t, err, Conflict, "no partial upload of 2097152 bytes here")
			if kept, _ := leave(t, s, "f", content, 2<<20); kept != "" {
				t.Errorf("kept in %s", kept)
			}
			if after := listTree(t, top); after != before {
				t.Errorf("before:\n%safter:\n%s", before, after)
			}
			if _, err := put(s, File{Path: "f", Size: 3 << 20}, content); err != nil {
				t.Error(err)
			}
			if err := os.Remove(filepath.Join(dir, "f")); err != nil {
				t.Error(err)
			}
			if after := listTree(t, top); after != before {
				t.Errorf("before:\n%safter:\n%s", before, after)
			}
		})
	}
}

// A file gets its permissions and time, less the umask and setuid bits.
func TestStoreModeAndTime(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, Options{})
	then := time.Unix(1_234_567_890, 123_456_789)
	for path, c := range map[string]struct{ sent, want os.FileMode }{
		"none":   {0, 0o666 &^ s.tree.umask},
		"setuid": {0o777 | os.ModeSetuid | os.ModeSetgid | os.ModeSticky, 0o777 &^ s.tree.umask},
		"secret": {0o600 | ModeGiven, 0o600},
		"nobody": {ModeGiven, 0},
		"read":   {0o444, 0o444 &^ s.tree.umask},
	} {
		if _, err := put(s, File{Path: path, Size: 3, Mode: c.sent, ModTime: then}, "new"); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Mode() != c.want || !info.ModTime().Equal(then) {
			t.Errorf("%s: %v %v, want %v: %v", path, info.Mode(), info.ModTime(), c.want, err)
		}
	}
}

// Open finds the umask of the process without changing it.
func TestStoreUmask(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	s, _ := openStoreTest(t, Options{})
	if s.tree.umask != 0o027 {
		t.Errorf("umask %o", s.tree.umask)
	}
}

// Links get their exact target, and must not lead outside.
func TestStoreLink(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	lay(t, top, "dst/d/e/", "dst/file", "dst/in -> d/e", "dst/esc -> ../out", "dst/up/here -> ..", "out/victim")
	s := openStoreIn(t, filepath.Join(top, "dst"), Options{Force: true})
	for path, target := range map[string]string{"a": "file", "d/b": "../file", "d/c": "e/nowhere", "new/l": "../new", "s": "./file", "t": "d/e/", "u": "d/../file", "v": "d//e", "d/w": "e/./../../file"} {
		for range 2 { // the same link is there already
			if err := s.Symlink(path, target); err != nil {
				t.Errorf("%s -> %s: %v", path, target, err)
			}
		}
		if got, err := os.Readlink(filepath.Join(top, "dst", path)); err != nil || got != target {
			t.Errorf("%s -> %s: %v", path, got, err)
		}
	}
	before := listTree(t, top)
	for _, c := range []struct {
		path, target string
		kind         Kind
		text         string
	}{
		{"file", "d", Exists, "exists"},
		{"a", "d", Exists, "exists"},
		{"x", "../out", Forbidden, "leads outside"},
		{"x", "in/../file", Forbidden, "leads outside"},      // in is a link: ".." climbs from its target
		{"x", "missing/../file", Forbidden, "leads outside"}, // may become a link
		{"x", "d/../../out", Forbidden, "leads outside"},
		{"x", "/etc", Forbidden, "unsafe target"},
		{"x", "esc/victim", Forbidden, "leads outside"},
		{"in/x", "../../../out", Forbidden, "leads outside"}, // lexically
		{"in/x", "../file", Forbidden, "leads outside"},      // passes a link, so ".." climbs elsewhere
		{"esc/x", "victim", Forbidden, "symbolic link in the way: esc"},
		{"up/here/x", "../out", Forbidden, "leads outside"}, // lexically dst/up/out, really out
		{"x", ".ssh", Forbidden, "unsafe target"},
		{".x", "file", Forbidden, "hidden name: a component that begins with a dot"},
		{"file/x", "y", Conflict, "not a directory: file"},
	} {
		refuses(t, s.Symlink(c.path, c.target), c.kind, c.text)
	}
	if after := listTree(t, top); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

// link(2) replaces the missing rename without replacement.
func TestRenameByLink(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, Options{})
	lay(t, dir, "part", "taken")
	if handled, err := s.tree.top.renameByLink("part", "taken"); !handled || !os.IsExist(err) {
		t.Errorf("onto a file: %v, %v", handled, err)
	}
	if handled, err := s.tree.top.renameByLink("part", "new"); !handled || err != nil {
		t.Error(handled, err)
	}
	if got := strings.Fields(listTree(t, dir)); len(got) != 6 || got[0] != "new" || got[3] != "taken" {
		t.Error(got)
	}
}

// A suspended upload continues although its name is taken, if the taken name
// does not refuse it.
func TestResumeTaken(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(3 << 20)
	for want, o := range map[string]Options{"f.txt": {Force: true}, "f.1.txt": {Rename: true}, "": {}} {
		s, dir := openStoreTest(t, o)
		leave(t, s, "f.txt", content, 2<<20)
		lay(t, dir, "f.txt")
		offset, digest, err := s.Partial("f.txt")
		if want == "" {
			if offset != 0 || digest != nil || err != nil {
				t.Errorf("refused, but told: %d bytes, %x, %v", offset, digest, err)
			}
			continue
		}
		if offset != 2<<20 || !bytes.Equal(digest, testkit.SHA256(content[:offset])) || err != nil {
			t.Errorf("%d bytes, %x, %v", offset, digest, err)
		}
		got, err := put(s, File{Path: "f.txt", Size: 3 << 20, Digest: testkit.SHA256(content), Offset: offset}, content)
		if err != nil || got.Path != want {
			t.Errorf("%+v, %v", got, err)
		}
		testkit.HasContent(t, filepath.Join(dir, want), content)
	}
}

// Queries about a partial file do not keep it from being continued, and read it
// once.
func TestPartialQueries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	content := testkit.Noise(8 << 20)
	u, _, err := s.Begin(File{Path: "f", Size: int64(len(content) + 1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Receive(strings.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	if part, _ := u.Suspend(); part == "" {
		t.Fatal("nothing is kept")
	}
	done, asking := make(chan struct{}), make(chan struct{}, 4)
	var queries sync.WaitGroup
	for range 4 {
		queries.Go(func() {
			for {
				select {
				case <-done:
					return
				case asking <- struct{}{}:
				default:
				}
				_, _, _ = s.Partial("f")
			}
		})
	}
	<-asking
	for range 20 {
		u, _, err := s.Begin(File{Path: "f", Size: int64(len(content) + 1), Offset: int64(len(content))})
		if err != nil {
			t.Fatal(err)
		}
		u.Suspend()
	}
	close(done)
	queries.Wait()
	n, sum, err := s.Partial("f")
	if n != int64(len(content)) || !bytes.Equal(sum, testkit.SHA256(content)) || err != nil {
		t.Errorf("%d bytes, %x, %v", n, sum, err)
	}
	again, same, _ := s.Partial("f")
	if again != n || !bytes.Equal(same, sum) {
		t.Errorf("again: %d bytes, %x", again, same)
	}
}

// A directory that a link leaves by ".." is not removed, or another link could
// take its place and lead outside.
func TestLinkKeepsDir(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, Options{})
	in, _, err := s.Begin(File{Path: "d/f", Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Receive(strings.NewReader("new"), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Symlink("l", "d/../f"); err != nil {
		t.Fatal(err)
	}
	in.Abort()
	refuses(t, s.Symlink("d", "."), Exists, "exists")
	if got := filepath.ToSlash(listTree(t, dir)); got != "d d---------\nl -> d/../f\n" {
		t.Error(got)
	}
}
