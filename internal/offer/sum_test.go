package offer

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"purr/internal/testkit"
)

// A digest is computed once, and again after any change of the file.
func TestDigestKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d") // in a directory, a file may be replaced
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "f")
	write := func(content string, when time.Time) {
		testkit.WriteFile(t, path, content)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	write("first", old)
	set, err := Open([]string{dir}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	digest := func() []byte {
		f, err := set.Open("d/f")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sum, err := set.Digest(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	first := digest()
	if again := digest(); !bytes.Equal(first, testkit.SHA256("first")) || &again[0] != &first[0] {
		t.Errorf("%x, then %x", first, again)
	}
	write("other", old.Add(time.Second))
	if got := digest(); !bytes.Equal(got, testkit.SHA256("other")) {
		t.Errorf("a changed file: %x", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write("third", old.Add(time.Second))
	if got := digest(); !bytes.Equal(got, testkit.SHA256("third")) {
		t.Errorf("another file: %x", got)
	}
	write("newly", time.Now())
	digest()
	if len(set.sums.all) != 1 || bytes.Equal(set.sums.all["d/f"].sum, testkit.SHA256("newly")) {
		t.Error("the digest of a file that was just written is kept")
	}
}

// As many files are hashed at once as there are cores, and a caller can give
// up.
func TestDigestWaits(t *testing.T) {
	set, err := Open([]string{testkit.TempFile(t, "content")}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var name string
	_, _ = set.Walk(func(e Entry, _ error) error { name = e.Path; return nil })
	f, err := set.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := int64(0)
	for hashing.TryAcquire(1) {
		n++
	}
	defer hashing.Release(n)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := set.Digest(ctx, f); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
