package store

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// renameNoReplace gives the file old in dir the name new in one step. The
// error is fs.ErrExist if that name is taken. If handled is false nothing has
// happened: the file system has no such operation.
func renameNoReplace(dir *os.File, old, new string) (handled bool, err error) {
	err = sys.OnFD(dir, func(fd int) error { return unix.Renameat2(fd, old, fd, new, unix.RENAME_NOREPLACE) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return false, nil
	}
	return true, err
}

// openNameless creates a file in dir's file system that has no name, with the
// permissions of a partial file. The error is errors.ErrUnsupported where there
// is no such thing: open(2), O_TMPFILE.
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

// linkNameless gives such a file its name in dir, which must be in the same file
// system. The error is fs.ErrExist if the name is taken.
func linkUnnamed(f, dir *os.File, name string) error {
	return sys.OnFD(f, func(file int) error {
		return sys.OnFD(dir, func(fd int) error {
			err := unix.Linkat(file, "", fd, name, unix.AT_EMPTY_PATH)
			if err == unix.ENOENT { // before Linux 6.10 that was for root only
				err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", file), fd, name, unix.AT_SYMLINK_FOLLOW)
			}
			return err
		})
	})
}

// preallocate takes the space of n bytes at offset for f, whose size stays. done
// is false where there is no such thing, or where it would take as long as to
// write them: in memory. It fails only if there is no room for them.
func preallocate(f *os.File, offset, n int64) (done bool, err error) {
	var st unix.Statfs_t
	if sys.OnFD(f, func(fd int) error { return unix.Fstatfs(fd, &st) }) != nil || st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC {
		return false, nil
	}
	err = sys.OnFD(f, func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, offset, n) })
	if noSpace(err) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return false, err
	}
	return err == nil, nil
}

// punch gives the space of n bytes at offset back, which read as zeros.
func punch(f *os.File, offset, n int64) {
	_ = sys.OnFD(f, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, n)
	})
}

// setOpenTime sets the time of the last change of an open file; false where it
// can only be done by a name (before Linux 5.8).
func setOpenTime(f *os.File, modTime time.Time) bool {
	last, err := unix.TimeToTimespec(modTime)
	if err != nil {
		return false
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, last}
	return sys.OnFD(f, func(fd int) error { return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH) }) == nil
}

// syncTogether brings everything that was written to f's file system onto
// stable storage, at about the cost of one fsync. ok is false if that cannot be
// done here or has failed.
func syncTogether(f *os.File) (ok bool) {
	return sys.OnFD(f, unix.Syncfs) == nil
}

// written reports what writing f's data back has failed with. Syncfs tells
// about that only since Linux 5.8, and not for which file.
func written(f *os.File) error {
	err := sys.OnFD(f, func(fd int) error { return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WAIT_BEFORE) })
	if errors.Is(err, unix.EIO) || noSpace(err) || errors.Is(err, unix.EDQUOT) {
		return err
	}
	return nil
}
