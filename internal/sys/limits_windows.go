package sys

import (
	"errors"
	"syscall"
)

// DescriptorLimit returns 0: Windows has no such limit.
func DescriptorLimit() int { return 0 }

// OutOfDescriptors reports whether err means that there are no sockets left.
func OutOfDescriptors(err error) bool {
	const wsaEMFILE, wsaENOBUFS = syscall.Errno(10024), syscall.Errno(10055)
	return errors.Is(err, wsaEMFILE) || errors.Is(err, wsaENOBUFS)
}

// ModeTellsUsers is false: an access list rules here, not the mode bits.
const ModeTellsUsers = false
