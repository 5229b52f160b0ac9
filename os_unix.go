//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
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

// become replaces the process by another program, which has its descriptors,
// signals and terminal, and the status of which is the process's own. It
// returns only on failure.
func become(_, _ *os.File, path string, args []string) error {
	err := syscall.Exec(path, args, os.Environ())
	return fmt.Errorf("run %s: %w", path, err)
}
