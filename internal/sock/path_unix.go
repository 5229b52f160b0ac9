//go:build unix

package sock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// probe connects a datagram socket to a Unix socket at path. No server notices:
// for a stream socket, listening or not, the error is EPROTOTYPE, and a
// datagram socket is not informed of its peers. The error is ECONNREFUSED if
// no process has bound the socket.
func probe(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}

// lockPatience is how long another holder of a directory's lock is waited for.
const lockPatience = 2 * time.Second

// lockDir locks a directory against other calls of lockDir, by flock(2), which
// leaves no file behind. If the directory cannot be read or its file system has
// no locks, lockDir succeeds without one. The error means that the lock was
// held elsewhere for lockPatience, or it is the cause of ctx.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}, nil
	}
	for begun := time.Now(); ; {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return func() { _ = f.Close() }, nil
		case time.Since(begun) >= lockPatience:
			_ = f.Close()
			return nil, fmt.Errorf("a dead socket is there, and another program holds the lock of the directory %s: remove the socket, or choose another path", dir)
		}
		if !sys.Sleep(ctx, 5*time.Millisecond) {
			_ = f.Close()
			return nil, context.Cause(ctx)
		}
	}
}
