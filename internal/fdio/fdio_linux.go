package fdio

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

// Unread is how many bytes of what was written to a pipe nobody has read; -1 if
// that is not known.
func (s *File) Unread() int {
	if s.kind != Pipe && s.kind != FIFO {
		return -1
	}
	n, err := unix.IoctlGetInt(s.fd, unix.TIOCINQ)
	if err != nil {
		return -1
	}
	return n
}

// pipeSize is what pipes are enlarged to, if the system allows it: with the
// usual 64 KiB the two ends wake each other up for every few pages.
const pipeSize = 1 << 20

// EnlargePipe gives a pipe that stdin or stdout is the larger size.
func (s *File) EnlargePipe() {
	if s.kind == Pipe || s.kind == FIFO {
		EnlargePipe(s.fd)
	}
}

func EnlargePipe(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) }
