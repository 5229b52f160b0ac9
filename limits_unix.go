//go:build unix

package main

import (
	"errors"
	"syscall"
)

// descriptorLimit is how many descriptors the process may have open, 0 if that
// is not known.
func descriptorLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<30 {
		return 0
	}
	return int(limit.Cur)
}

// isOutOfDescriptors reports whether err means that the process (EMFILE) or
// the system (ENFILE) has none left, or no memory for one.
func isOutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// tellsUsersApart says whether a file's mode says who may read it.
const tellsUsersApart = true
