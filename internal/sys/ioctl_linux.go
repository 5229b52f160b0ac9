package sys

import "golang.org/x/sys/unix"

// IoctlInt returns the C int that an ioctl(2) request stores, such as TIOCINQ
// or SIOCOUTQ. unix.IoctlGetInt has the kernel store it in a Go int, whose
// upper half that is where words are of 64 bits and big-endian.
func IoctlInt(fd int, request uint) (int, error) {
	n, err := unix.IoctlGetUint32(fd, request)
	return int(int32(n)), err
}
