//go:build unix

package sys

import (
	"errors"
	"syscall"
)

// DescriptorLimit returns how many descriptors the process may have open, 0 if
// there is no limit or none is known.
func DescriptorLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<30 {
		return 0
	}
	return int(limit.Cur)
}

// OutOfDescriptors reports whether err means that the process (EMFILE) or the
// system (ENFILE) has no descriptor left, or no memory for one.
func OutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// ModeTellsUsers is true where a file's mode bits distinguish its owner from
// other users.
const ModeTellsUsers = true
