package sock

import (
	"context"
	"net"
	"time"
)

// probe connects to a Unix socket at path, which is a stream socket: Windows
// has no others. The error is ECONNREFUSED if no process listens on it.
func probe(path string) error {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// lockDir does nothing: Windows has no locks of directories.
func lockDir(context.Context, string) (unlock func(), err error) { return func() {}, nil }
