//go:build unix

package push

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"purr/internal/store"
	"purr/internal/testkit"
)

// A directory of a transfer that was cut gets its mode and time from the next.
func TestDirsAfterCut(t *testing.T) {
	bothWays(t, func(t *testing.T, listens Role) {
		x := newTransfer(t, listens)
		large := testkit.Noise(large)
		for name, content := range map[string]string{"d/small": "small", "d/sub/large": large, "d/sub/small": "small"} {
			x.file(name, content)
		}
		then := time.Unix(1_000_000_000, 0)
		for name, mode := range map[string]fs.FileMode{"d/sub": 0o700, "d": 0o750} {
			path := filepath.Join(x.from, name)
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, then, then); err != nil {
				t.Fatal(err)
			}
		}
		dir, err := store.Open(x.into, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		m := message{Size: 5, Mode: 0o644}
		up, _, err := dir.Begin(m.file("d/sub/small"))
		if err != nil {
			t.Fatal(err)
		}
		if err := up.Receive(strings.NewReader("small"), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := up.Commit(nil); err != nil {
			t.Fatal(err)
		}
		_ = dir.Close()
		for _, name := range []string{"d", "d/sub"} {
			if info, err := os.Stat(filepath.Join(x.into, name)); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s after the cut: %v, %v", name, info.Mode(), err)
			}
		}

		x.run()
		x.inOrder(OK)
		x.same("d/sub/large", large)
		for name, mode := range map[string]fs.FileMode{"d/sub": 0o700, "d": 0o750} {
			if info, err := os.Stat(filepath.Join(x.into, name)); err != nil || info.Mode() != mode|fs.ModeDir || !info.ModTime().Equal(then) {
				t.Errorf("%s: %v, %v, %v", name, info.Mode(), info.ModTime(), err)
			}
		}
	})
}
