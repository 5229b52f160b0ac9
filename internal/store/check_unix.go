//go:build unix

package store

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// checkWritable returns an error if files cannot be created in the directory.
func checkWritable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

// checkOpenable returns an error if a pipe or device is not writable.
func checkOpenable(path string) error {
	if err := unix.Access(path, unix.W_OK); err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	return nil
}

// checkReplaceable returns an error if the file path cannot be replaced: in a
// sticky directory such as /tmp only its owner, the owner of the directory and
// root can rename onto it.
func checkReplaceable(path string) error {
	var file, dir unix.Stat_t
	if unix.Lstat(path, &file) != nil || unix.Stat(filepath.Dir(path), &dir) != nil {
		return nil // the rename will return the error
	}
	if me := uint32(os.Geteuid()); dir.Mode&unix.S_ISVTX != 0 && me != 0 && me != file.Uid && me != dir.Uid {
		return &os.PathError{Op: "replace", Path: path, Err: unix.EPERM}
	}
	return nil
}
