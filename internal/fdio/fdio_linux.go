package fdio

import (
	"os"
	"purr/internal/sys"

	"golang.org/x/sys/unix"
)

// isAnonymous reports whether f is a pipe without a name, which lives in
// pipefs.
func isAnonymous(f *os.File, _ os.FileInfo) bool {
	var fs unix.Statfs_t
	err := error(unix.EBADF)
	if raw, rawErr := f.SyscallConn(); rawErr == nil {
		_ = raw.Control(func(fd uintptr) { err = unix.Fstatfs(int(fd), &fs) })
	}
	return err == nil && fs.Type == unix.PIPEFS_MAGIC
}

// isNull reports whether info is that of the null device, character device 1:3
// by whatever node: a chroot and PrivateDevices= have nodes of their own.
func isNull(info os.FileInfo) bool { return deviceOf(info) == unix.Mkdev(1, 3) }

// Unread returns the bytes in a pipe that its reader has not read; -1 if that
// is unknown.
func (f *File) Unread() int {
	if f.kind != Pipe && f.kind != FIFO {
		return -1
	}
	n, err := sys.IoctlInt(f.fd, unix.TIOCINQ)
	if err != nil {
		return -1
	}
	return n
}

// pipeSize is the size of enlarged pipes in bytes. With the default of 64 KiB
// the two ends wake each other up for every few pages.
const pipeSize = 1 << 20

// EnlargePipe enlarges a pipe to 1 MiB, if the system allows it.
func (f *File) EnlargePipe() {
	if f.kind == Pipe || f.kind == FIFO {
		EnlargePipe(f.fd)
	}
}

// EnlargePipe enlarges the pipe behind fd to 1 MiB, if the system allows it
// (F_SETPIPE_SZ in fcntl(2)).
func EnlargePipe(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) }
