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
	defer a.Close()
	defer b.Close()
	results := make(chan result, 2)
	var endedA, endedB atomic.Bool // whether a, or b, has been half-closed
	pump := func(dst, src net.Conn, ended, srcEnded *atomic.Bool, filters []copier.Filter) {
		err := o.copyOne(dst, src, filters)
		if err == nil && sock.Broken(src) && !srcEnded.Load() { // a write has taken the error of the reset
			err = &fdio.CopyError{Reading: true, Err: syscall.ECONNRESET}
		}
		if err == nil {
			ended.Store(true)
			err = sock.HalfClose(dst)
		}
		results <- result{dst: dst, src: src, err: err}
	}
	go pump(a, b, &endedA, &endedB, o.FiltersA)
	go pump(b, a, &endedB, &endedA, o.FiltersB)
	var failed *Error
	for running := 2; running > 0; {
		select {
		case r := <-results:
			running--
			if r.err == nil || failed != nil {
				continue
			}
			if failed = r.failure(); failed.Failed == r.src {
				awaitAck(ctx, r.dst, stallTime)
				sock.Reset(r.dst)
			}
			// A failed destination may have sent more before; the other direction
			// reads that, and then fails too.
		case <-ctx.Done():
			sock.Reset(a)
			sock.Reset(b)
			for ; running > 0; running-- {
				<-results
			}
			return context.Cause(ctx)
		}
	}
	stall := time.Duration(0)
	if failed != nil {
		stall = stallTime
	}
	for _, c := range []net.Conn{a, b} {
		err := awaitAck(ctx, c, stall)
		switch {
		case failed != nil:
			sock.Reset(c)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return &Error{Failed: c, Err: err}
		}
	}
	switch {
	case failed != nil:
		return failed
	case o.Ended != nil:
		return o.Ended()
	}
	return nil
}

// A result is the end of one direction.
type result struct {
	dst, src net.Conn
	err      error
}

// failure returns the Error of a direction that has failed. The connection is
// src if reading failed, else dst.
func (r result) failure() *Error {
	if copying, ok := errors.AsType[*fdio.CopyError](r.err); ok && copying.Reading {
		return &Error{Failed: r.src, Err: r.err}
	}
	return &Error{Failed: r.dst, Err: r.err}
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
	last, since := -1, time.Now()
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
