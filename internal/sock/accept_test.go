package sock

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"purr/internal/testkit"
)

// As many clients as the limit are served at once, and the next one when one of
// them has gone. Serve returns after the last of them.
func TestServe(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	context.AfterFunc(ctx, func() { ln.Close() })
	var now, most atomic.Int32
	ended := make(chan error, 1)
	go func() {
		err := new(Crew).Serve(ctx, ln, 2, func(c net.Conn) {
			defer c.Close()
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			_, _ = io.WriteString(c, "x")
			_, _ = io.Copy(io.Discard, c)
			now.Add(-1)
		})
		if now.Load() != 0 {
			err = errors.New("it has returned before its clients had gone")
		}
		ended <- err
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.DialTimeout("tcp", ln.Addr().String(), testkit.Patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	first, second, third := dial(), dial(), dial()
	testkit.ReadN(t, first, 1)
	testkit.ReadN(t, second, 1)
	second.Close()
	testkit.ReadN(t, third, 1)
	first.Close()
	stop(io.ErrUnexpectedEOF)
	select {
	case err := <-ended:
		t.Errorf("it has ended with a client: %v", err)
	default:
	}
	third.Close()
	if err := <-ended; err != io.ErrUnexpectedEOF && !errors.Is(err, net.ErrClosed) || most.Load() != 2 {
		t.Errorf("%v, and %d at once", err, most.Load())
	}
}
