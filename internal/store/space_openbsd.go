package store

import (
	"math"
	"os"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// freeSpace returns the bytes that this user can write to the file system of
// dir; ok is false if they are unknown.
func freeSpace(dir *os.File) (free int64, ok bool) {
	var st unix.Statfs_t
	if err := sys.OnFD(dir, func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil || st.F_bsize == 0 {
		return 0, false
	}
	blocks := max(0, st.F_bavail)
	return min(blocks, math.MaxInt64/int64(st.F_bsize)) * int64(st.F_bsize), true
}
