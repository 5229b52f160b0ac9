package main

import (
	"errors"
	"os"
	"path/filepath"
	"purr/internal/testkit"
	"testing"
)

// A small file that has no name while it comes in does all that one with a
// partial name does, and where the system has no such files nothing differs.
func TestStoreNameless(t *testing.T) {
	t.Parallel()
	for _, nameless := range []bool{true, false} {
		s, dir := openStoreTest(t, storeOptions{})
		if !s.nameless {
			t.Fatal("no file without a name on this file system")
		}
		s.nameless = nameless
		a := arrival{path: "d/f", size: 3, mode: 0o640}
		in, _, err := s.begin(a)
		if err != nil {
			t.Fatal(err)
		}
		if (in.partName == "") != nameless {
			t.Errorf("partial name %q", in.partName)
		}
		if left, err := os.ReadDir(filepath.Join(dir, "d")); err != nil || (len(left) == 0) != nameless {
			t.Errorf("left %v, %v", left, err)
		}
		in.drop()
		for _, c := range []struct {
			storeOptions
			content, path string // path: "" is refused
		}{
			{content: "one", path: "d/f"},
			{content: "two"},
			{storeOptions{force: true}, "two", "d/f"},
			{storeOptions{rename: true}, "six", "d/f (1)"},
		} {
			s.force, s.rename = c.force, c.rename
			got, err := put(s, a, c.content)
			if c.path == "" {
				if !errors.As(err, new(*Error)) {
					t.Errorf("%+v: %v, %v", c, got, err)
				}
				continue
			}
			if err != nil || c.rename == (got.path == "d/f") {
				t.Errorf("%+v: %+v, %v", c, got, err)
				continue
			}
			testkit.HasContent(t, filepath.Join(dir, got.path), c.content)
			if info, err := os.Stat(filepath.Join(dir, got.path)); err != nil || info.Mode().Perm() != permissions(0o640, s.umask) {
				t.Errorf("%+v: %v, %v", c, info.Mode(), err)
			}
		}
		if left, _ := os.ReadDir(filepath.Join(dir, "d")); len(left) != 2 {
			t.Errorf("left %v", left)
		}
	}
}

// A directory that was lent and has been removed or moved meanwhile takes
// nothing in.
func TestStoreLent(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, storeOptions{})
	for i, meanwhile := range []func(d string) error{
		func(string) error { return nil },
		os.RemoveAll,
		func(d string) error { return os.Rename(d, d+".moved") },
	} {
		if err := meanwhile(filepath.Join(dir, "d")); err != nil {
			t.Fatal(err)
		}
		name := string(rune('a' + i))
		if _, err := put(s, arrival{path: "d/" + name, size: 1}, "x"); err != nil && !errors.Is(err, errMoved) {
			t.Fatal(i, err)
		} else if err == nil {
			testkit.HasContent(t, filepath.Join(dir, "d", name), "x")
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "d.moved")); len(left) != 1 {
		t.Errorf("left where nobody looks: %v", left)
	}
	if n := len(s.lent.byPath); n > mostLent {
		t.Errorf("%d directories lent", n)
	}
	for i := range 3 * mostLent {
		if _, err := put(s, arrival{path: filepath.Join(string(rune('A'+i)), "f"), size: 1}, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.lent.byPath); n > mostLent {
		t.Errorf("%d directories lent", n)
	}
}
