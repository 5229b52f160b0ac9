package copier

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file that another process shortens during the copy is noticed.
func TestShortened(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := newBehind(NewBuffer(io.Discard, strings.NewReader("hello"), 64), f, -1) // which stores nothing
	if _, err := c.Copy(MaxSlice); err != nil && !strings.Contains(err.Error(), "EOF") {
		t.Error(err)
	}
	c.Close()
	if c.Err == nil || c.SHA256 != nil {
		t.Errorf("sum %x, error %v", c.SHA256, c.Err)
	}
}
