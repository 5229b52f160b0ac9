package testkit

import (
	"os"
	"testing"
)

// StdioPipe is a pipe that blocks, as a shell's does: Go's own would not.
func StdioPipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Fd()
	w.Fd()
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}
