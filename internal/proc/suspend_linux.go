package proc

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stopHere stops the process by SIGTSTP and returns when it goes on. Go's
// handler, which os/signal never removes, would swallow the signal: it is
// replaced by the default action meanwhile. A signal for the calling thread is
// delivered before tgkill(2) returns.
func stopHere() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var byDefault, old [8]uint64 // at least the size of a struct sigaction
	if sigaction(unix.SIGTSTP, &byDefault, &old) != 0 {
		return
	}
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGTSTP)
	sigaction(unix.SIGTSTP, &old, nil)
}

// sigaction is rt_sigaction(2), whose last argument is the size of a signal set
// in bytes: 16 on MIPS, else 8.
func sigaction(s unix.Signal, action, old *[8]uint64) (errno syscall.Errno) {
	for _, size := range []uintptr{8, 16} {
		_, _, errno = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(old)), size, 0, 0)
		if errno != unix.EINVAL {
			break
		}
	}
	return errno
}
