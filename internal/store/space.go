//go:build unix

package store

import (
	"math"
	"os"

	"purr/internal/sys"
)

// freeSpace returns the bytes that this user can write to the file system of
// dir; ok is false if they are unknown.
func freeSpace(dir *os.File) (free int64, ok bool) {
	var blocks, size int64
	err := sys.OnFD(dir, func(fd int) (err error) {
		blocks, size, err = availableBlocks(fd)
		return err
	})
	if err != nil || size <= 0 {
		return 0, false
	}
	// On FreeBSD blocks is negative when only the reserve is left.
	return min(max(0, blocks), math.MaxInt64/size) * size, true
}
