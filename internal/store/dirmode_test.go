//go:build unix

package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"purr/internal/testkit"
)

// A directory is closed to others until Mkdir comes, also in a later run, and
// then has the announced mode and time. Other directories keep theirs.
func TestDirIncomplete(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lay(t, dir, "mine/", "closed/")
	if err := os.Chmod(filepath.Join(dir, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	hasMode := func(name string, want fs.FileMode) {
		t.Helper()
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want|fs.ModeDir {
			t.Errorf("%s: %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
	begin := func() *Store {
		s := openStoreIn(t, dir, Options{})
		s.tree.umask = 0o022
		return s
	}
	s := begin()
	for _, path := range []string{"open/f", "secret/sub/f", "mine/f", "closed/f"} {
		if _, err := put(s, File{Path: path, Size: 3, DirsFollow: true}, "new"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Symlink("links/l", "f"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"open", "secret", "secret/sub", "links"} {
		hasMode(name, incomplete)
	}

	s = begin() // after a cut
	then := time.Unix(1_000_000_000, 0)
	for name, mode := range map[string]fs.FileMode{"open": 0o777, "secret/sub": 0o700, "secret": 0o750, "links": 0, "mine": 0o700, "closed": 0o777, "new": 0o711} {
		if err := s.Mkdir(name, mode|ModeGiven, then); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]fs.FileMode{"open": 0o755, "secret/sub": 0o700, "secret": 0o750, "links": 0, "mine": 0o755, "closed": 0o700, "new": 0o711} {
		hasMode(name, mode)
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.ModTime().Equal(then) != (name != "mine" && name != "closed") {
			t.Errorf("%s: time %v, %v", name, info.ModTime(), err)
		}
	}
	if _, err := put(s, File{Path: "upload/sub/f", Size: 3}, "new"); err != nil { // no Mkdir follows
		t.Fatal(err)
	}
	hasMode("upload/sub", fs.ModePerm&^begin().probeMask())
}

// probeMask returns the umask of the process.
func (s *Store) probeMask() fs.FileMode { return fs.ModePerm &^ s.tree.owner.Mode() }

// New directories inherit the set-group-ID bit.
func TestDirSetGroupID(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, Options{})
	if err := os.Chmod(dir, 0o755|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode()&fs.ModeSetgid == 0 {
		testkit.NotHere(t, "a directory with the set-group-ID bit")
	}
	if err := os.Mkdir(filepath.Join(dir, "probe"), 0o755); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "probe")); err != nil || info.Mode()&fs.ModeSetgid == 0 {
		testkit.NotHere(t, "a system where a directory inherits its group by the bit alone")
	}
	for _, follows := range []bool{true, false} {
		top := map[bool]string{true: "pushed", false: "uploaded"}[follows]
		if _, err := put(s, File{Path: top + "/sub/f", Size: 3, DirsFollow: follows}, "new"); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{top + "/sub", top} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode()&fs.ModeSetgid == 0 {
				t.Errorf("%s before: %v, %v", name, info.Mode(), err)
			}
			if err := s.Mkdir(name, 0o750|ModeGiven, time.Time{}); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != permissions(0o750, s.tree.umask)|fs.ModeDir|fs.ModeSetgid {
				t.Errorf("%s after: %v, %v", name, info.Mode(), err)
			}
		}
	}
}
