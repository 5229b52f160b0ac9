//go:build unix

package proc

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// CheckInherited returns an error unless fd is inherited and open for writing:
// ErrNotInherited or ErrReadOnly, or ErrUnsupported on Windows. Inherited
// descriptors are not close-on-exec; those of this process are, which the user
// may have named by mistake.
func CheckInherited(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return ErrNotInherited
	}
	mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil && mode&unix.O_ACCMODE == unix.O_RDONLY {
		return ErrReadOnly
	}
	return err
}

// Exec replaces the process by the program at path, which has its descriptors,
// signals and terminal, and whose status is the process's own. args holds the
// name first. It returns only on failure.
//
// Windows can only run the program on the given files and wait for it: there
// the error is nil, or an *exec.ExitError with the status.
func Exec(path string, args []string, stdin, stdout, stderr *os.File) error {
	return syscall.Exec(path, args, os.Environ())
}

// statusSignals returns the signals that ask for a line of status: SIGUSR1, and
// where a terminal's Ctrl-T sends it (BSD, macOS) SIGINFO.
func statusSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGUSR1}
	if info := unix.SignalNum("SIGINFO"); info != 0 {
		signals = append(signals, info)
	}
	return signals
}
