package store

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// A time that the processor's timespec does not hold becomes the nearest that
// it holds, of files and of directories.
func TestFarTime(t *testing.T) {
	t.Parallel()
	want := time.Unix(1<<32, 0) // 2106
	far := want
	if strconv.IntSize == 32 {
		want = time.Unix(math.MaxInt32, 0)
	}
	s, dir := openStoreTest(t, Options{})
	if err := s.Mkdir("d", 0o755, far); err != nil {
		t.Fatal(err)
	}
	if _, err := put(s, File{Path: "f", Size: 1, ModTime: far}, "x"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d", "f"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || !info.ModTime().Equal(want) {
			t.Errorf("%s: %v, %v", name, info.ModTime(), err)
		}
	}
}
