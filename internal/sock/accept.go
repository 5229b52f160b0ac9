package sock

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"purr/internal/sys"
)

// Accept waits for one client, which the caller closes. While the process or
// the system is out of descriptors it waits for one to become free, and the
// client waits in the backlog. wait, if not nil, is called once, with the error
// of the first attempt that failed so. The error is the listener's, or the
// cause of ctx.
func Accept(ctx context.Context, ln net.Listener, wait func(error)) (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			return conn, nil
		case errors.Is(err, syscall.ECONNABORTED) && ctx.Err() == nil:
			continue // that client has gone again before its turn came
		case !sys.OutOfDescriptors(err):
			return nil, err
		}
		if wait != nil {
			wait(err)
			wait = nil
		}
		if !sys.Sleep(ctx, pause) {
			return nil, context.Cause(ctx)
		}
	}
}

// An Acceptor is a listener with an Accept of its own.
type Acceptor struct {
	net.Listener
	Next func() (net.Conn, error)
}

// Accept returns the connection of Next.
func (a Acceptor) Accept() (net.Conn, error) { return a.Next() }
