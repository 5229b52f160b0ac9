package sys

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// The number is right whatever the order of its bytes, and an error is passed
// on.
func TestIoctlInt(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	if n, err := IoctlInt(int(r.Fd()), unix.TIOCINQ); n != 5 || err != nil {
		t.Errorf("%d bytes in the pipe (%v), and not 5", n, err)
	}
	if _, err := IoctlInt(-1, unix.TIOCINQ); err != unix.EBADF {
		t.Error(err)
	}
}
