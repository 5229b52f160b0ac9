package copier

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A TestRecvFileShortened that somebody else shortens while it is being received is noticed.
func TestRecvFileShortened(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := newBehind(NewBuffer(io.Discard, strings.NewReader("hello"), 64), f, -1) // which stores nothing
	if _, err := w.Copy(MaxSlice); err != nil && !strings.Contains(err.Error(), "EOF") {
		t.Error(err)
	}
	w.Close()
	if w.Err == nil || w.SHA256 != nil {
		t.Errorf("sum %x, error %v", w.SHA256, w.Err)
	}
}
