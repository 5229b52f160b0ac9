package sock

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"purr/internal/sys"
)

// ErrListenQueueFull is the error of a Unix socket whose server did not accept
// the connections before in time.
var ErrListenQueueFull = errors.New("the queue of its server is full")

// DialUnix connects to a Unix stream socket, within the dialer's Timeout unless
// that is 0. A full listen queue is waited for, as a blocking connect(2) does;
// a non-blocking one returns EAGAIN on Linux. (The BSDs report it as
// ECONNREFUSED, like a socket without a server.) The error is
// ErrListenQueueFull if the time is over then, or the cause of ctx. The caller
// closes the connection.
func DialUnix(ctx context.Context, dialer net.Dialer, path string) (net.Conn, error) {
	begun, limit := time.Now(), dialer.Timeout
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		conn, err := dialer.DialContext(ctx, "unix", path)
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil, context.Cause(ctx)
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
		if limit > 0 {
			left := limit - time.Since(begun)
			if left <= 0 {
				return nil, ErrListenQueueFull
			}
			pause, dialer.Timeout = min(pause, left), left
		}
		if !sys.Sleep(ctx, pause) {
			return nil, context.Cause(ctx)
		}
	}
}
