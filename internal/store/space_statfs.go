//go:build linux || darwin || freebsd || dragonfly

package store

import "golang.org/x/sys/unix"

// availableBlocks returns the blocks that this user can allocate in the file
// system of fd, and a block's size in bytes; statfs(2).
func availableBlocks(fd int) (blocks, size int64, err error) {
	var st unix.Statfs_t
	err = unix.Fstatfs(fd, &st)
	return int64(st.Bavail), int64(st.Bsize), err
}
