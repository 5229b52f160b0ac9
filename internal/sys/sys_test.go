package sys

import (
	"net"
	"os"
	"syscall"
	"testing"
)

// The numbers of the system, and those of Windows' sockets.
func TestErrno(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		errno          syscall.Errno
		reset, refused bool
	}{
		{syscall.ECONNRESET, true, false}, {10054, true, false},
		{syscall.EPIPE, true, false}, {10053, true, false},
		{syscall.ECONNREFUSED, false, true}, {10061, false, true},
		{syscall.EINVAL, false, false},
	} {
		err := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", test.errno)}
		if reset, refused := IsReset(err), IsRefused(err); reset != test.reset || refused != test.refused {
			t.Errorf("%d: reset %v, refused %v", test.errno, reset, refused)
		}
	}
	if IsReset(nil) || IsRefused(os.ErrDeadlineExceeded) {
		t.Error("without a number")
	}
}
