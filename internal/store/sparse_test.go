package store

import (
	"bytes"
	"testing"
)

// FuzzSplitZeros checks that the parts of a block make up the block, that holes
// are aligned and zero, and that no aligned block of zeros is left in the data.
func FuzzSplitZeros(f *testing.F) {
	for _, seed := range []struct {
		before, zeros, after int
		at                   int64
	}{{0, 0, 0, 0}, {0, holeSize, 0, 0}, {1, 3 * holeSize, 5, 0}, {0, 2*holeSize - 1, 0, 1}, {5, holeSize, holeSize, holeSize - 5}, {0, 0, 100, 7}} {
		f.Add(seed.before, seed.zeros, seed.after, seed.at)
	}
	f.Fuzz(func(t *testing.T, before, zeros, after int, at int64) {
		const most = 4 * holeSize
		if before < 0 || zeros < 0 || after < 0 || before > most || zeros > most || after > most || at < 0 || at > 1<<40 {
			return
		}
		b := append(bytes.Repeat([]byte{1}, before), make([]byte, zeros)...)
		b = append(b, bytes.Repeat([]byte{1}, after)...)
		for len(b) > 0 {
			data, hole := splitZeros(b, at)
			if len(data)+int(hole) == 0 {
				t.Fatalf("no progress at %d of %d bytes", at, len(b))
			}
			if !bytes.Equal(data, b[:len(data)]) {
				t.Fatal("the data is not the beginning of the block")
			}
			start := at + int64(len(data))
			if hole > 0 && (start%holeSize != 0 || hole%holeSize != 0 || bytes.Trim(b[len(data):len(data)+int(hole)], "\x00") != nil) {
				t.Errorf("a hole of %d bytes at %d", hole, start)
			}
			for n := (holeSize - at%holeSize) % holeSize; n+holeSize <= int64(len(data)); n += holeSize {
				if isZero(data[n : n+holeSize]) {
					t.Errorf("zeros left at %d", at+n)
				}
			}
			at, b = start+hole, b[len(data)+int(hole):]
		}
	})
}
