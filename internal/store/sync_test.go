//go:build unix

package store

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"purr/internal/testkit"
)

// A file whose directory cannot be synced is Unsynced, also if it is identical
// to one of an earlier run. It is identical after a sync, with all directories
// above it.
func TestIdenticalAfterSync(t *testing.T) {
	t.Parallel()
	for _, size := range []int{3, minSuspended} {
		content := testkit.Noise(size)
		a := File{Path: "a/b/f", Size: int64(size), Digest: testkit.SHA256(content)}
		dir := t.TempDir()
		for range 2 {
			s := openStoreIn(t, dir, Options{})
			s.tree.syncEntries = func(*os.File) error { return &os.PathError{Op: "sync", Path: dir, Err: syscall.EIO} }
			for range 2 {
				_, err := put(s, a, content)
				refuses(t, err, Unsynced, "stored, but perhaps not on the disk: input/output error")
			}
			refuses(t, s.Sync(), Unsynced, "stored, but perhaps not on the disk: input/output error")
			testkit.HasContent(t, filepath.Join(dir, a.Path), content)
			s.tree.syncEntries = syncDir
		}

		s := openStoreIn(t, dir, Options{})
		s.commits.syncFile = func(*os.File) error { return syscall.EIO }
		_, err := put(s, a, content)
		refuses(t, err, Unsynced, "stored, but perhaps not on the disk: input/output error")

		synced := map[string]bool{}
		s.commits.syncFile = func(f *os.File) error { synced["content"] = true; return syncFile(f) }
		s.tree.syncEntries = func(f *os.File) error {
			for _, name := range []string{".", "a", "a/b"} {
				want, err := os.Stat(filepath.Join(dir, name))
				if got, statErr := f.Stat(); err == nil && statErr == nil && os.SameFile(got, want) {
					synced[name] = true
				}
			}
			return syncDir(f)
		}
		if got, err := put(s, a, content); err != nil || !got.Identical {
			t.Errorf("%+v, %v", got, err)
		}
		if len(synced) != 4 {
			t.Errorf("%d bytes: synced %v", size, synced)
		}
	}
}

// A directory that cannot be synced now is synced later.
func TestUnsyncedLater(t *testing.T) {
	t.Parallel()
	s, _ := openStoreTest(t, Options{})
	s.tree.syncEntries = func(*os.File) error { return syscall.EIO }
	_, err := put(s, File{Path: "a/f", Size: 3}, "new")
	refuses(t, err, Unsynced, "stored, but perhaps not on the disk: input/output error")
	count := 0
	s.tree.syncEntries = func(*os.File) error { count++; return nil }
	if err := s.Sync(); err != nil || count != 2 {
		t.Errorf("%v, %d directories synced", err, count)
	}
}
