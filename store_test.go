package main

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// openStoreTest opens a store in a new directory and closes it with the test.
func openStoreTest(t testing.TB, o storeOptions) (*store, string) {
	t.Helper()
	dir := t.TempDir()
	return openStoreIn(t, dir, o), dir
}

// openStoreIn opens a store and closes it with the test: nothing of it runs on.
func openStoreIn(t testing.TB, dir string, o storeOptions) *store {
	t.Helper()
	existing := goleak.IgnoreCurrent()
	s, err := openStore(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if !t.Failed() {
			goleak.VerifyNone(t, existing)
		}
	})
	return s
}

func sum(content string) []byte {
	s := sha256.Sum256([]byte(content))
	return s[:]
}

// put sends one file to a store.
func put(s *store, a arrival, content string) (*stored, error) {
	in, done, err := s.begin(a)
	if in == nil {
		return done, err
	}
	if err := in.receive(strings.NewReader(content[a.offset:]), func(int) {}); err != nil {
		in.drop()
		return nil, err
	}
	return in.commit(nil)
}

// A file of any size, known before or not, arrives under its name.
func TestStore(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 4096, 5000, smallFile, smallFile + 1, keepFrom, 3<<20 + 7} {
		for _, known := range []bool{true, false} {
			s, dir := openStoreTest(t, storeOptions{})
			content := noise(size)
			a := arrival{path: "a/b/c", size: -1}
			if known {
				a.size = int64(size)
			}
			got, err := put(s, a, content)
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if got.path != "a/b/c" || got.size != int64(size) || got.identical || !bytes.Equal(got.digest, sum(content)) {
				t.Errorf("%d bytes: %+v", size, got)
			}
			if there, err := os.ReadFile(filepath.Join(dir, "a/b/c")); err != nil || string(there) != content {
				t.Errorf("%d bytes: %d on the disk, or others: %v", size, len(there), err)
			}
		}
	}
}
