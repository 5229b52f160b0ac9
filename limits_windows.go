package main

import (
	"errors"
	"syscall"
)

// descriptorLimit is not known on Windows: 0.
func descriptorLimit() int { return 0 }

// isOutOfDescriptors reports whether err means that there are no sockets left.
func isOutOfDescriptors(err error) bool {
	const wsaEMFILE, wsaENOBUFS = syscall.Errno(10024), syscall.Errno(10055)
	return errors.Is(err, wsaEMFILE) || errors.Is(err, wsaENOBUFS)
}

// tellsUsersApart says whether a file's mode says who may read it; here its
// access list does.
const tellsUsersApart = false
