//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkInherited returns an error unless fd is inherited and open for writing.
// Inherited descriptors are not close-on-exec; those of this process are, which
// the user may have named by mistake.
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

// checkWritable returns an error if files cannot be created in the directory.
func checkWritable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

// checkWritableFile returns an error if a pipe or device is not writable.
func checkWritableFile(path string) error {
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

// become replaces the process by another program, which has its descriptors,
// signals and terminal, and the status of which is the process's own. It
// returns only on failure.
func become(_, _ *os.File, path string, args []string) error {
	err := syscall.Exec(path, args, os.Environ())
	return fmt.Errorf("run %s: %w", path, err)
}
