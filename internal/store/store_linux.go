package store

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// renameNoReplace renames old to new in dir, if new is free: renameat2(2). The
// error is fs.ErrExist if it is taken. If handled is false, nothing has
// happened: the file system does not support it.
func renameNoReplace(dir *os.File, old, new string) (handled bool, err error) {
	err = sys.OnFD(dir, func(fd int) error { return unix.Renameat2(fd, old, fd, new, unix.RENAME_NOREPLACE) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return false, nil
	}
	return true, err
}

// openUnnamed creates a file without a name in the file system of dir, with the
// permissions of a partial file: open(2), O_TMPFILE. The error is
// errors.ErrUnsupported if the file system has none.
func openUnnamed(dir *os.File) (f *os.File, err error) {
	err = sys.OnFD(dir, func(fd int) error {
		file, err := unix.Openat(fd, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err == nil {
			f = os.NewFile(uintptr(file), "a file without a name")
		}
		return err
	})
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
		err = errors.ErrUnsupported
	}
	return f, err
}

// linkUnnamed gives f, a file of openUnnamed, the name in dir, which must be in
// the same file system. The error is fs.ErrExist if the name is taken.
func linkUnnamed(f, dir *os.File, name string) error {
	return sys.OnFD(f, func(file int) error {
		return sys.OnFD(dir, func(fd int) error {
			err := unix.Linkat(file, "", fd, name, unix.AT_EMPTY_PATH)
			if err == unix.ENOENT { // before Linux 6.10 AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH
				err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", file), fd, name, unix.AT_SYMLINK_FOLLOW)
			}
			return err
		})
	})
}

// preallocate allocates n bytes at offset for f, without changing its size.
// done is false if the file system does not support it, or is in memory, where
// it costs as much as writing. It fails only if there is no space.
func preallocate(f *os.File, offset, n int64) (done bool, err error) {
	var st unix.Statfs_t
	if sys.OnFD(f, func(fd int) error { return unix.Fstatfs(fd, &st) }) != nil {
		return false, nil
	}
	switch uint32(st.Type) { // an int32 on 32-bit processors, where RAMFS_MAGIC is negative
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return false, nil
	}
	err = sys.OnFD(f, func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, offset, n) })
	if noSpace(err) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return false, err
	}
	return err == nil, nil
}

// punchHole releases the space of n bytes at offset, which then read as zeros.
func punchHole(f *os.File, offset, n int64) {
	_ = sys.OnFD(f, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, n)
	})
}

// setOpenTime sets the modification time of an open file. Before Linux 5.8 it
// fails, for that needs a name.
func setOpenTime(f *os.File, modTime time.Time) error {
	last, err := unix.TimeToTimespec(modTime)
	if err != nil {
		return err
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, last}
	return sys.OnFD(f, func(fd int) error { return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH) })
}

// syncFilesystem syncs the file system of f, at about the cost of one fsync(2).
// ok is false if it has failed.
func syncFilesystem(f *os.File) (ok bool) {
	return sys.OnFD(f, unix.Syncfs) == nil
}

// writebackError returns the error of writing the data of f back, nil if none.
// syncfs(2) returns such errors only since Linux 5.8, and not for which file.
func writebackError(f *os.File) error {
	err := sys.OnFD(f, func(fd int) error { return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WAIT_BEFORE) })
	if errors.Is(err, unix.EIO) || noSpace(err) || errors.Is(err, unix.EDQUOT) {
		return err
	}
	return nil
}
