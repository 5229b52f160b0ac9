package testkit

import (
	"os"
	"testing"
)

// HasContent checks the content of a file.
func HasContent(t testing.TB, path, want string) {
	t.Helper()
	if b, err := os.ReadFile(path); err != nil || string(b) != want {
		t.Errorf("%s: %d bytes (%v), want %d, or others", path, len(b), err, len(want))
	}
}

// QuickDir returns a new directory, in memory where there is such a file
// system, since syncing many files costs nothing there.
func QuickDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "purr")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// InMemory returns a new directory in memory, where syncing many files costs
// nothing. The test is skipped where there is no such file system.
func InMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "purr")
	if err != nil {
		t.Skipf("needs /dev/shm: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
