package sys

import (
	"context"
	"errors"
	"fmt"
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

// Time limits of a context, a deadline and a dialer are ours; ETIMEDOUT is not.
func TestTimedOut(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Err: err}) }
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("refused"), false},
		{context.DeadlineExceeded, true},
		{context.Canceled, false},
		{os.ErrDeadlineExceeded, true},
		{dial(os.ErrDeadlineExceeded), true},
		{dial(context.DeadlineExceeded), true},
		{dial(os.NewSyscallError("connect", syscall.ETIMEDOUT)), false},
		{dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), false},
	} {
		if got := TimedOut(test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}
