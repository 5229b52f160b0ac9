//go:build unix

package store

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// openEntry opens the entry name of d, of any type. It follows no symbolic
// link, and does not wait for the other end of a FIFO. With os.O_CREATE the new
// file is accessible to its owner only.
func openEntry(d *dirHandle, name string, flag int) (*os.File, error) {
	var f *os.File
	err := sys.OnFD(d.dir, func(dir int) error {
		isNew := flag&os.O_EXCL != 0
		if !isNew {
			flag |= unix.O_NONBLOCK // a FIFO must not block
		}
		fd, err := unix.Openat(dir, name, flag|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_CLOEXEC, 0o600)
		if err == nil && !isNew {
			// Regular files never block; the flag would only make os.NewFile
			// try to poll.
			err = unix.SetNonblock(fd, false)
		}
		if fd >= 0 {
			f = os.NewFile(uintptr(fd), name)
		}
		return err
	})
	return f, err
}

// hasHardLinks reports whether a file has more than one name, or none. It
// reports true if the number is unknown.
func hasHardLinks(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Nlink != 1
}

// isUnlinked reports whether a file or directory has lost its last name.
func isUnlinked(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

// sameOwner reports whether two files belong to one user.
func sameOwner(a, b fs.FileInfo) bool {
	x, okX := a.Sys().(*syscall.Stat_t)
	y, okY := b.Sys().(*syscall.Stat_t)
	return okX && okY && x.Uid == y.Uid
}

// canCreate returns an error if this user may not create files in dir.
func canCreate(dir *os.File) error {
	err := sys.OnFD(dir, func(fd int) error { return unix.Faccessat(fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS) })
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		return err
	}
	return nil
}

// allocated returns the bytes that a file occupies on disk.
func allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return 0
}

// deviceOf returns the number of the device of a file.
func deviceOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev)
	}
	return 0
}

// sameDevice reports whether two files are on the same file system.
func sameDevice(a, b fs.FileInfo) bool { return deviceOf(a) == deviceOf(b) }

// tryLock locks f for this process until it is closed: flock(2). It reports
// false if another process has locked it.
func tryLock(f *os.File) bool {
	return sys.OnFD(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }) == nil
}

// unlock ends tryLock. Closing f is not always enough: a child process that
// another goroutine is starting shares it until its exec.
func unlock(f *os.File) {
	_ = sys.OnFD(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_UN) })
}

// setMode sets the permissions of an open file, unless the file system has none
// (FAT).
func setMode(f *os.File, mode fs.FileMode) error {
	err := f.Chmod(mode)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// openSyncable opens the entry name of d as openEntry does, so that syncFile
// can sync it.
func openSyncable(d *dirHandle, name string) (*os.File, error) {
	return openEntry(d, name, os.O_RDONLY)
}

// syncFile brings the content of f onto stable storage.
func syncFile(f *os.File) error { return f.Sync() }

// syncDir syncs the names in an open directory. It ignores the errors of file
// systems that do not support this.
func syncDir(dir *os.File) error {
	if err := dir.Sync(); !errors.Is(err, unix.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// noSpace reports whether err means that the file system is full.
func noSpace(err error) bool { return errors.Is(err, unix.ENOSPC) }
