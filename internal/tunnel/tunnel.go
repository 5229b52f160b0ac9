// Package tunnel joins two connections: what either sends, the other gets, up
// to and including the end. Between sockets the bytes stay in the kernel.
package tunnel

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/sock"
)

// An Error is a tunnel that was cut.
type Error struct {
	Failed net.Conn // the connection that failed
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the failure of the connection.
func (e *Error) Unwrap() error { return e.Err }

// Options are those of Join. The zero value is ready to use.
type Options struct {
	// Moved is called from two goroutines with the number of bytes that were sent
	// to a connection.
	Moved func(to net.Conn, n int)

	// Writer returns the writer of a direction; nil: the connection itself. A
	// *rate.Writer around it keeps the bytes in the kernel.
	Writer func(to net.Conn) io.Writer

	// FiltersA and FiltersB are those of what is sent to a, and to b. Without one,
	// the bytes of that direction stay in the kernel.
	FiltersA, FiltersB []copier.Filter

	// Ended is called when both ends have finished and acknowledged everything,
	// before they are closed; its error is Join's. Nil: nothing is called.
	Ended func() error

	// Go calls a function in a goroutine; nil: the go statement.
	Go func(f func())

	// Slice is the most bytes to move at once; 0: copier.MaxSlice.
	Slice int
}

// stallTime is the limit of a wait for acknowledgements after one connection
// has failed: how long the other one may acknowledge nothing of what was sent
// to it. A variable, so that a test need not wait for it.
var stallTime = 10 * time.Second

// Join passes bytes between a and b in both directions until both have
// finished, and closes both. The end of one direction is passed on as a
// half-close and ends nothing else. If a connection fails, the other one gets
// what was sent before, and is then reset, so that a cut stream does not look
// complete; the result is an *Error. If ctx ends, both are reset and the result
// is its cause.
func Join(ctx context.Context, a, b net.Conn, o Options) error {
	j := &joint{Options: o, ctx: ctx, a: end{conn: a}, b: end{conn: b}}
	defer a.Close()
	defer b.Close()
	stop := context.AfterFunc(ctx, j.reset)
	other := make(chan struct{})
	o.start(func() {
		defer close(other)
		j.pump(&j.b, &j.a, o.FiltersB)
	})
	j.pump(&j.a, &j.b, o.FiltersA) // mostly the last one: a client ends before its server
	<-other
	if !stop() {
		j.reset() // AfterFunc may not be at its end yet
		return context.Cause(ctx)
	}
	return j.settle()
}

// A joint is a tunnel between two connections.
type joint struct {
	Options
	ctx    context.Context
	a, b   end
	failed atomic.Pointer[Error] // the first failure
}

// An end is one of the two connections.
type end struct {
	conn  net.Conn
	ended atomic.Bool // whether it has been half-closed
}

// reset resets both ends.
func (j *joint) reset() {
	sock.Reset(j.a.conn)
	sock.Reset(j.b.conn)
}

// pump passes the bytes of src on to dst, and its end. If src fails, and
// nothing has failed before, dst is reset, so that the other direction ends. A
// dst that fails may have sent more before: the other direction reads that, and
// then fails too.
func (j *joint) pump(dst, src *end, filters []copier.Filter) {
	err := j.copyOne(dst.conn, src.conn, filters)
	// A write may have taken the error of a reset. Once src is half-closed, its
	// state after an orderly end is the same: that may also come meanwhile.
	if err == nil && !src.ended.Load() && sock.Broken(src.conn) && !src.ended.Load() {
		err = &fdio.CopyError{Reading: true, Err: syscall.ECONNRESET}
	}
	if err == nil {
		dst.ended.Store(true)
		err = sock.HalfClose(dst.conn)
	}
	if err == nil {
		return
	}
	failed := &Error{Failed: dst.conn, Err: err}
	if copying, ok := errors.AsType[*fdio.CopyError](err); ok && copying.Reading {
		failed.Failed = src.conn
	}
	if j.failed.CompareAndSwap(nil, failed) && failed.Failed == src.conn {
		_ = awaitAck(j.ctx, dst.conn, stallTime)
		sock.Reset(dst.conn)
	}
}

// settle waits until both peers' systems have acknowledged everything, and
// returns the result of the tunnel. After a failure it does not wait for ever,
// and resets both connections.
func (j *joint) settle() error {
	failed, stall := j.failed.Load(), time.Duration(0)
	if failed != nil {
		stall = stallTime
	}
	for _, e := range []*end{&j.a, &j.b} {
		err := awaitAck(j.ctx, e.conn, stall)
		switch {
		case failed != nil:
			sock.Reset(e.conn)
		case j.ctx.Err() != nil:
			return context.Cause(j.ctx)
		case err != nil:
			return &Error{Failed: e.conn, Err: err}
		}
	}
	switch {
	case failed != nil:
		return failed
	case j.Ended != nil:
		return j.Ended()
	}
	return nil
}

// start calls f in a goroutine.
func (o *Options) start(f func()) {
	if o.Go == nil {
		go f()
		return
	}
	o.Go(f)
}

// copyOne copies one direction up to its end.
func (o *Options) copyOne(dst, src net.Conn, filters []copier.Filter) error {
	var to io.Writer = dst
	if o.Writer != nil {
		to = o.Writer(dst)
	}
	c := copier.New(to, src, filters...)
	defer c.Close()
	return copier.Run(c, cmp.Or(o.Slice, copier.MaxSlice), func(n int) error {
		if o.Moved != nil {
			o.Moved(dst, n)
		}
		return nil
	})
}

// awaitAck waits until the peer's system has acknowledged all that was sent to
// c. If nothing is acknowledged for longer than stall, the error is
// os.ErrDeadlineExceeded; a stall of 0 is no limit. The end of ctx ends the
// wait.
func awaitAck(ctx context.Context, c net.Conn, stall time.Duration) error {
	last, since := -1, time.Time{}
	return sock.AwaitAck(c, func(unacked int) error {
		if unacked != last {
			last, since = unacked, time.Now()
		}
		if stall > 0 && time.Since(since) > stall {
			return os.ErrDeadlineExceeded
		}
		return ctx.Err()
	})
}
