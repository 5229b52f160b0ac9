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

// openEntry opens the file name in dir, of any type, without following a
// symbolic link and without waiting for the other end of a FIFO. It is created
// with flag os.O_CREATE, readable by its owner only.
func openEntry(d *folder, name string, flag int) (*os.File, error) {
	var f *os.File
	err := sys.OnFD(d.dir, func(dir int) error {
		isNew := flag&os.O_EXCL != 0
		if !isNew {
			flag |= unix.O_NONBLOCK // whatever is there, it must not hold us
		}
		fd, err := unix.Openat(dir, name, flag|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_CLOEXEC, 0o600)
		if err == nil && !isNew {
			// Regular files never wait; the flag would only make os.NewFile try to poll.
			err = unix.SetNonblock(fd, false)
		}
		if fd >= 0 {
			f = os.NewFile(uintptr(fd), name)
		}
		return err
	})
	return f, err
}

// hasOtherNames reports whether a file has more names than one.
func hasOtherNames(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Nlink != 1
}

// removed reports whether a file has no name any more.
func removed(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

// sameOwner reports whether two files belong to one user.
func sameOwner(a, b fs.FileInfo) bool {
	x, okX := a.Sys().(*syscall.Stat_t)
	y, okY := b.Sys().(*syscall.Stat_t)
	return okX && okY && x.Uid == y.Uid
}

// spaceOf is how many bytes of the disk a file takes.
func spaceOf(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return 0
}

// diskOf tells file systems apart.
func diskOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev)
	}
	return 0
}

// sameDisk reports whether two files are on one file system.
func sameDisk(a, b fs.FileInfo) bool { return diskOf(a) == diskOf(b) }

// lock takes f for this process, until f is closed. It does not wait: false if
// somebody has it.
func lock(f *os.File) bool {
	return sys.OnFD(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }) == nil
}

// unlock gives a file up that lock has taken. To close it is not always enough:
// a child that another goroutine is just starting shares it until its exec.
func unlock(f *os.File) {
	_ = sys.OnFD(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_UN) })
}

// setMode sets the permissions of an open file. A file system that has none
// (FAT) is no reason to refuse a file.
func setMode(f *os.File, mode fs.FileMode) error {
	err := f.Chmod(mode)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// syncFolder brings the names in an open directory onto stable storage. Some
// file systems cannot and say EINVAL: there is nothing more to be done there.
func syncFolder(dir *os.File) error {
	if err := dir.Sync(); !errors.Is(err, unix.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

func noSpace(err error) bool { return errors.Is(err, unix.ENOSPC) }
