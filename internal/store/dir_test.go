package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"purr/internal/relpath"
	"purr/internal/testkit"
)

// deepPath returns a path of the greatest depth that begins with top.
func deepPath(top string) string { return top + strings.Repeat("/d", relpath.MaxDepth-1) }

// Directories are created when content has come, and removed at once if the
// file does not arrive.
func TestDirsOfCutUploads(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, Options{})
	lay(t, dir, "there/", "a/there/")
	before := listTree(t, dir)
	content := testkit.Noise(3 << 20)
	for _, top := range []string{"new", "there", "a/there"} {
		name := top + deepPath("")[:200]
		for _, c := range []struct {
			size, comes int
			stays       bool // until the end
		}{{3, 0, false}, {3, 2, false}, {SmallFile, 100, false}, {2 << 20, 100, false}, {-1, 100, false}, {SmallFile, 40 << 10, true}, {2 << 20, 1 << 19, true}} {
			in, _, err := s.Begin(File{Path: name, Size: int64(c.size)})
			if err != nil {
				t.Fatal(err)
			}
			src := io.MultiReader(strings.NewReader(content[:c.comes]), iotest.ErrReader(io.ErrUnexpectedEOF))
			if err := in.Receive(src, nil); err != io.ErrUnexpectedEOF {
				t.Errorf("%+v: %v", c, err)
			}
			if got := listTree(t, dir); (got != before) != c.stays {
				t.Errorf("%+v: %d entries before the end", c, strings.Count(got, "\n"))
			}
			in.Suspend()
			if got := listTree(t, dir); got != before {
				t.Fatalf("%+v: left:\n%s", c, got)
			}
		}
		_, err := put(s, File{Path: name, Size: 3, Digest: testkit.SHA256("old")}, "new")
		refuses(t, err, Mismatch, "digest mismatch")
		_, err = put(s, File{Path: name, Size: 3, Offset: 1}, "new")
		refuses(t, err, Conflict, "no partial upload of 1 bytes here")
		if got := listTree(t, dir); got != before {
			t.Fatalf("refused, and left:\n%s", got)
		}
	}
	if s.tree.created.len() != 0 || s.quota.entries != 0 {
		t.Errorf("%d directories recorded, %d entries counted", s.tree.created.len(), s.quota.entries)
	}
}

// Files arrive in a directory that uploads beside them leave empty and remove.
func TestDirRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, Options{})
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 20 {
				a := File{Path: fmt.Sprintf("d%d/e/f%d", j, i), Size: 3}
				if i%2 == 0 {
					a.Digest = testkit.SHA256("old")
				}
				if got, err := put(s, a, "new"); i%2 == 1 && err != nil {
					t.Errorf("%s: %+v, %v", a.Path, got, err)
				}
			}
		})
	}
	all.Wait()
	if got := strings.Count(listTree(t, dir), "/f"); got != 8*20 {
		t.Errorf("%d files", got)
	}
}

// Empty files, directories and links count against Options.MaxSize, also those
// directories that a file needs. Removed files count no more.
func TestEntriesCount(t *testing.T) {
	t.Parallel()
	for what, create := range map[string]func(s *Store, i int) error{
		"files": func(s *Store, i int) error {
			_, err := put(s, File{Path: fmt.Sprint("f", i), Size: 0}, "")
			return err
		},
		"files, size unknown": func(s *Store, i int) error {
			_, err := put(s, File{Path: fmt.Sprint("f", i), Size: -1}, "")
			return err
		},
		"directories": func(s *Store, i int) error { return s.Mkdir(fmt.Sprint("d", i), 0, time.Time{}) },
		"links":       func(s *Store, i int) error { return s.Symlink(fmt.Sprint("l", i), "there") },
		"directories of files": func(s *Store, i int) error {
			_, err := put(s, File{Path: fmt.Sprint("a/d", i, "/f"), Size: 1}, "x")
			return err
		},
	} {
		if what == "links" && runtime.GOOS == "windows" {
			continue
		}
		s, dir := openStoreTest(t, Options{MaxSize: 1000})
		refused := 0
		for i := range 300 {
			err := create(s, i)
			var e *Error
			if errors.As(err, &e) && e.Kind == TooLarge {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if entries, err := os.ReadDir(filepath.Join(dir, map[bool]string{true: "a"}[what == "directories of files"])); err != nil || len(entries) != 300-refused || len(entries) < 90 || len(entries) > 110 {
			t.Errorf("%s: %d of 300 entries, %d refused", what, len(entries), refused)
		}
		for range 300 { // removed again
			_, err := put(s, File{Path: "x/y/f", Size: 3, Digest: testkit.SHA256("old")}, "new")
			if what != "directories of files" && s.quota.entries < freeEntries+3 {
				refuses(t, err, Mismatch, "")
			}
		}
	}
}
