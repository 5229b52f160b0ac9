package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// isAnonymous tells a pipe from a FIFO: the former lives in pipefs.
func isAnonymous(f *os.File, _ os.FileInfo) bool {
	var fs unix.Statfs_t
	err := error(unix.EBADF)
	if raw, rawErr := f.SyscallConn(); rawErr == nil {
		_ = raw.Control(func(fd uintptr) { err = unix.Fstatfs(int(fd), &fs) })
	}
	return err == nil && fs.Type == unix.PIPEFS_MAGIC
}

// unread is how many bytes of what was written to a pipe nobody has read; -1 if
// that is not known.
func (s *stdio) unread() int {
	if s.kind != kindPipe && s.kind != kindFIFO {
		return -1
	}
	n, err := unix.IoctlGetInt(s.fd, unix.TIOCINQ)
	if err != nil {
		return -1
	}
	return n
}
