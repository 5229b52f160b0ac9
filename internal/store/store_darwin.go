package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// renameNoReplace renames old to new in dir, if new is free: renameatx_np(2).
// The error is fs.ErrExist if it is taken. If handled is false, nothing has
// happened: the file system does not support it.
func renameNoReplace(dir *os.File, old, new string) (handled bool, err error) {
	err = sys.OnFD(dir, func(fd int) error { return unix.RenameatxNp(fd, old, fd, new, unix.RENAME_EXCL) })
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL) {
		return false, nil
	}
	return true, err
}
