package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"purr/internal/testkit"
)

// A file without a name is received like one with a partial name.
func TestUnnamed(t *testing.T) {
	t.Parallel()
	for _, unnamed := range []bool{true, false} {
		s, dir := openStoreTest(t, Options{})
		lay(t, dir, "d/")
		if !s.unnamed {
			t.Fatal("no file without a name on this file system")
		}
		s.unnamed = unnamed
		a := File{Path: "d/f", Size: 3, Mode: 0o640}
		in, _, err := s.Begin(a)
		if err != nil {
			t.Fatal(err)
		}
		if (in.part.name == "") != unnamed {
			t.Errorf("partial name %q", in.part.name)
		}
		if left, err := os.ReadDir(filepath.Join(dir, "d")); err != nil || (len(left) == 0) != unnamed {
			t.Errorf("left %v, %v", left, err)
		}
		in.Abort()
		for _, c := range []struct {
			Options
			content, path string // path "": refused
		}{
			{content: "one", path: "d/f"},
			{content: "two"},
			{Options{Force: true}, "two", "d/f"},
			{Options{Rename: true}, "six", "d/f (1)"},
		} {
			s.options.Force, s.options.Rename = c.Force, c.Rename
			got, err := put(s, a, c.content)
			if c.path == "" {
				if !errors.As(err, new(*Error)) {
					t.Errorf("%+v: %v, %v", c, got, err)
				}
				continue
			}
			if err != nil || c.Rename == (got.Path == "d/f") {
				t.Errorf("%+v: %+v, %v", c, got, err)
				continue
			}
			testkit.HasContent(t, filepath.Join(dir, got.Path), c.content)
			if info, err := os.Stat(filepath.Join(dir, got.Path)); err != nil || info.Mode().Perm() != permissions(0o640, s.tree.umask) {
				t.Errorf("%+v: %v, %v", c, info.Mode(), err)
			}
		}
		if left, _ := os.ReadDir(filepath.Join(dir, "d")); len(left) != 2 {
			t.Errorf("left %v", left)
		}
	}
}

// A cached directory that was removed or moved meanwhile receives nothing.
func TestDirCache(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, Options{})
	for i, meanwhile := range []func(d string) error{
		func(string) error { return nil },
		os.RemoveAll,
		func(d string) error { return os.Rename(d, d+".moved") },
	} {
		if err := meanwhile(filepath.Join(dir, "d")); err != nil {
			t.Fatal(err)
		}
		name := string(rune('a' + i))
		if _, err := put(s, File{Path: "d/" + name, Size: 1}, "x"); err != nil && !errors.Is(err, errMoved) {
			t.Fatal(i, err)
		} else if err == nil {
			testkit.HasContent(t, filepath.Join(dir, "d", name), "x")
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "d.moved")); len(left) != 1 {
		t.Errorf("left in the moved directory: %v", left)
	}
	if n := len(s.tree.cache.byPath); n > maxCachedDirs {
		t.Errorf("%d directories cached", n)
	}
	for i := range 3 * maxCachedDirs {
		if _, err := put(s, File{Path: filepath.Join(string(rune('A'+i)), "f"), Size: 1}, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.tree.cache.byPath); n > maxCachedDirs {
		t.Errorf("%d directories cached", n)
	}
}
