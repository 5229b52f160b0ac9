//go:build unix

package main

import (
	"errors"

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
