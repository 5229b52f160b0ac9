package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"purr/internal/testkit"
)

// createAtomic creates a file with some content, and closes it after the test.
func createAtomic(t testing.TB, path string, r Replace, content string) *AtomicFile {
	t.Helper()
	a, err := CreateAtomic(path, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	testkit.WriteString(t, a, content)
	return a
}

// names lists a directory.
func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestAtomicCommit(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*AtomicFile) error{"commit": (*AtomicFile).Commit, "rename": (*AtomicFile).Rename} {
		dir := t.TempDir()
		a := createAtomic(t, filepath.Join(dir, "f"), ReplaceNothing, "content")
		if there := names(t, dir); !strings.HasPrefix(there, ".f.purr-") {
			t.Errorf("%s: before: %q", name, there)
		}
		if err := end(a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		a.Abort() // too late
		if path, _, err := a.Suspend(); path != "" || err != nil {
			t.Errorf("%s: suspended as %q, %v", name, path, err)
		}
		if there := names(t, dir); there != "f" {
			t.Errorf("%s: after: %q", name, there)
		}
		testkit.HasContent(t, filepath.Join(dir, "f"), "content")
	}
}

// An entry with the final name is replaced as far as the caller allows.
func TestAtomicReplace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		there    string
		replace  Replace
		replaced bool
	}{
		{"f", ReplaceNothing, false}, {"f", ReplaceFile, true}, {"f", ReplaceAny, true},
		{"f -> g", ReplaceNothing, false}, {"f -> g", ReplaceFile, false}, {"f -> g", ReplaceAny, true},
		{"f/", ReplaceNothing, false}, {"f/", ReplaceFile, false}, {"f/", ReplaceAny, false},
	} {
		dir := t.TempDir()
		lay(t, dir, "g", c.there)
		before := listTree(t, dir)
		a := createAtomic(t, filepath.Join(dir, "f"), c.replace, "new")
		err := a.Commit()
		switch {
		case c.replaced:
			if info, statErr := os.Lstat(filepath.Join(dir, "f")); err != nil || statErr != nil || !info.Mode().IsRegular() {
				t.Errorf("%+v: %v, %v, %v", c, err, info, statErr)
			}
			testkit.HasContent(t, filepath.Join(dir, "f"), "new")
			testkit.HasContent(t, filepath.Join(dir, "g"), "old")
		case err == nil, c.replace != ReplaceAny && !errors.Is(err, fs.ErrExist):
			t.Errorf("%+v: %v", c, err)
		default:
			a.Abort()
			if after := listTree(t, dir); after != before {
				t.Errorf("%+v: left:\n%s", c, after)
			}
		}
	}
}

func TestAtomicGivenUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := createAtomic(t, filepath.Join(dir, "f"), ReplaceNothing, "half")
	a.Abort()
	if err := a.Commit(); !errors.Is(err, ErrAborted) {
		t.Errorf("commit after abort: %v", err)
	}
	if there := names(t, dir); there != "" {
		t.Errorf("left %q", there)
	}
	a = createAtomic(t, filepath.Join(dir, "f"), ReplaceNothing, "half")
	path, size, err := a.Suspend()
	if err != nil || size != 4 || filepath.Dir(path) != dir {
		t.Errorf("%q, %d, %v", path, size, err)
	}
	testkit.HasContent(t, path, "half")
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	testkit.HasContent(t, path, "half")
	if there := names(t, dir); there != filepath.Base(path) {
		t.Errorf("left %q", there)
	}
}

// A file stays in its directory when that is moved.
func TestAtomicMovedDirectory(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		testkit.NotHere(t, "an open directory that can be moved")
	}
	dir := t.TempDir()
	lay(t, dir, "before/")
	a := createAtomic(t, filepath.Join(dir, "before", "f"), ReplaceNothing, "content")
	if err := os.Rename(filepath.Join(dir, "before"), filepath.Join(dir, "after")); err != nil {
		t.Fatal(err)
	}
	if err := a.Commit(); err != nil {
		t.Error(err)
	}
	testkit.HasContent(t, filepath.Join(dir, "after", "f"), "content")
}

// The error names the file that cannot be created, or the missing directory.
func TestCreateAtomicFails(t *testing.T) {
	t.Parallel()
	if a, err := CreateAtomic(filepath.Join(t.TempDir(), "missing", "f"), ReplaceNothing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, %v", a, err)
	}
	if a, err := CreateAtomic(filepath.Join(t.TempDir(), "f\x00"), ReplaceNothing); err == nil || !strings.Contains(err.Error(), ".f\x00.purr-") {
		t.Errorf("%v, %v", a, err)
	}
}

// A hidden name fits into 255 bytes, and begins like the final name.
func TestBesideName(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"f", ".hidden", "\xff\xfe", strings.Repeat("x", 255), strings.Repeat("ü", 127)} {
		if got := besideName(base); len(got) > 255 || !strings.HasPrefix(got, "."+base[:1]) || !strings.Contains(got, ".purr-") {
			t.Errorf("%q: %q", base, got)
		}
	}
}

// Without links an empty file reserves the name, and is removed if the rename
// fails. A directory has no links and cannot replace a file.
func TestRenameReserved(t *testing.T) {
	t.Parallel()
	s, dir := openStoreTest(t, Options{})
	lay(t, dir, "part", "taken", "sub/")
	if err := s.tree.top.renameReserved("part", "taken"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("onto a file: %v", err)
	}
	if err := s.tree.top.renameReserved("part", "new"); err != nil {
		t.Error(err)
	}
	if handled, err := s.tree.top.renameByLink("sub", "other"); handled || err == nil {
		t.Errorf("a directory: %v, %v", handled, err)
	}
	if err := s.tree.top.renameReserved("sub", "other"); err == nil && runtime.GOOS != "windows" {
		t.Error("a directory replaced a file")
	}
	if there := names(t, dir); there != "new sub taken" && runtime.GOOS != "windows" {
		t.Errorf("left %q", there)
	}
}

// Of a concurrent Commit and Abort exactly one takes effect.
func TestAtomicCommitAndAbort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 100 {
		a := createAtomic(t, filepath.Join(dir, "f"), ReplaceNothing, "content")
		aborted := make(chan struct{})
		go func() {
			defer close(aborted)
			a.Abort()
		}()
		err := a.Rename()
		<-aborted
		there := names(t, dir)
		if err == nil && there != "f" || err != nil && (there != "" || !errors.Is(err, ErrAborted)) {
			t.Fatalf("%v, and %q is there", err, there)
		}
		_ = os.Remove(filepath.Join(dir, "f"))
	}
}

// WriteFile replaces a file in one step, and CheckFile refuses what cannot be
// one.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "port")
	for _, text := range []string{"80\n", "8080\n"} {
		if err := CheckFile(path); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(path, text); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	for _, path := range []string{dir, os.DevNull, filepath.Join(dir, "missing", "port")} {
		if CheckFile(path) == nil {
			t.Errorf("%s is accepted", path)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v is left, %v", entries, err)
	}
}
