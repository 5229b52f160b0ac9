//go:build netbsd || solaris || illumos

package store

import "golang.org/x/sys/unix"

// availableBlocks returns the blocks that this user can allocate in the file
// system of fd, and a block's size in bytes; statvfs(3).
func availableBlocks(fd int) (blocks, size int64, err error) {
	var st unix.Statvfs_t
	err = unix.Fstatvfs(fd, &st)
	return int64(st.Bavail), int64(st.Frsize), err
}
