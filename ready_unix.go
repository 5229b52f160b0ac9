//go:build unix

package main

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// checkInherited reports whether fd was handed to this process and can be
// written to. Descriptors of our own, which a number may hit by mistake, are
// closed on exec; inherited ones are not, or they would not be here.
func checkInherited(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return errors.New("it is not open: say \"purr ... " + "N>file\" or let the program that starts purr open it")
	}
	mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil && mode&unix.O_ACCMODE == unix.O_RDONLY {
		return errors.New("it is open for reading only")
	}
	return err
}

// checkWritable reports whether files can be made in the directory.
func checkWritable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

// checkWritableFile reports whether a pipe or device can be written to.
func checkWritableFile(path string) error {
	if err := unix.Access(path, unix.W_OK); err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	return nil
}

// checkReplaceable reports whether another file may take the name: in a
// directory such as /tmp only its owner, the directory's and root may move a file.
func checkReplaceable(path string) error {
	var file, dir unix.Stat_t
	if unix.Lstat(path, &file) != nil || unix.Stat(filepath.Dir(path), &dir) != nil {
		return nil // the renaming will tell
	}
	if me := uint32(os.Geteuid()); dir.Mode&unix.S_ISVTX != 0 && me != 0 && me != file.Uid && me != dir.Uid {
		return &os.PathError{Op: "replace", Path: path, Err: unix.EPERM}
	}
	return nil
}
