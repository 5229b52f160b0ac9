//go:build unix

package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"purr/internal/testkit"
)

// The content is the same however it is cut into writes, and so are the holes:
// every aligned block of 64 KiB of zeros.
func TestAtomicFileKeepsHoles(t *testing.T) {
	t.Parallel()
	const block = holeSize
	data := []byte(testkit.Noise(3*block + 777))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	zero := func(n int) []byte { return make([]byte, n) }
	for _, test := range []struct {
		name    string
		content []byte
		blocks  int // that hold data
	}{
		{"empty", nil, 0},
		{"data", data, 4},
		{"zeros", zero(5*block + 3), 0},
		{"one byte at the end", join(zero(100*block), []byte("x")), 1},
		{"one byte in the middle", join(zero(50*block+5), []byte("x"), zero(50*block)), 1},
		{"data and zeros", join(data, zero(20*block)), 4},
		{"zeros and data", join(zero(20*block), data), 4},
		{"fewer zeros than a block", join(data[:block], zero(block-1), data[:block+1]), 3},
		{"a block of zeros that is not aligned", join(data[:100], zero(block), data[:block]), 3},
		{"two blocks of zeros that are not aligned", join(data[:100], zero(2*block), data[:block]), 3},
		{"in turns", bytes.Repeat(join(data[:block], zero(block)), 20), 20},
	} {
		for _, cut := range []int{1 << 30, 512 << 10, block, 4096, 65535, 1448, 100_003} {
			t.Run(fmt.Sprint(test.name, " ", cut), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "f")
				f, err := CreateAtomic(path, ReplaceNothing)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				for rest := test.content; len(rest) > 0; {
					n := min(cut, len(rest))
					if done, err := f.Write(rest[:n]); done != n || err != nil {
						t.Fatalf("wrote %d of %d bytes: %v", done, n, err)
					}
					rest = rest[n:]
				}
				if err := f.Rename(); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(path)
				if err != nil || !bytes.Equal(got, test.content) {
					t.Errorf("%d of %d bytes, or others: %v", len(got), len(test.content), err)
				}
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				const list = 16 << 10 // the file system's own list of many extents
				if used := allocated(info); used > int64(test.blocks*block+list) {
					t.Errorf("%d bytes are allocated, want at most %d", used, test.blocks*block+list)
				}
			})
		}
	}
}

// A write that fails is an error, with the bytes before it.
func TestSparseWriteFails(t *testing.T) {
	t.Parallel()
	f, err := os.Open(testkit.TempFile(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := sparseFile{file: f}
	b := append(make([]byte, holeSize), "data"...)
	if n, err := s.Write(b); n != holeSize || err == nil {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
	if err := s.finish(); err == nil {
		t.Error("a file open for reading got its size")
	}
}
