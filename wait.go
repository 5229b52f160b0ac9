package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"purr/internal/scan"
	"purr/internal/sys"
)

// This file is --wait-for and --retry: attempts until a server answers.

// The pause between two attempts begins short, because the server is often just
// starting, and doubles.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 2 * time.Second
	leastTry   = 100 * time.Millisecond // for each attempt, the one at the end of --wait-for included
)

// waits reports whether an attempt that failed is repeated.
func (o waitOptions) waits() bool { return o.waitFor > 0 || o.retries >= 0 }

// retry calls try until it succeeds. Once --wait-for is over or --retry is used
// up, it returns the last error; the last attempt begins when the time is over.
// limit is the rest of --wait-for, at least leastTry; 0 without it. Without
// both options retry calls try once.
func (d *dialer) retry(ctx context.Context, try func(ctx context.Context, limit time.Duration) error) error {
	if !d.waits() {
		return try(ctx, 0)
	}
	begun, pause := time.Now(), firstPause
	for tries := 1; ; tries++ {
		var limit time.Duration
		if d.waitFor > 0 {
			limit = max(d.waitFor-time.Since(begun), leastTry)
		}
		err := try(ctx, limit)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		took := time.Since(begun)
		if d.waitFor > 0 && took >= d.waitFor || d.retries >= 0 && tries > d.retries {
			return gaveUp(err, took, tries)
		}
		if d.log.level > 0 {
			d.log.fail(err)
		}
		if d.waitFor > 0 {
			pause = min(pause, d.waitFor-took)
		}
		if !sys.Sleep(ctx, pause) {
			return context.Cause(ctx)
		}
		pause = min(2*pause, mostPause)
	}
}

// gaveUp adds the time and the number of tries to the last error, and keeps its
// status. After a single try it returns err as it is.
func gaveUp(err error, took time.Duration, tries int) error {
	if tries == 1 {
		return err
	}
	why := fmt.Errorf("gave up after %v and %d tries", took.Round(100*time.Millisecond), tries)
	var ended statusError
	if errors.As(err, &ended) {
		return statusError{ended.status, errors.Join(ended.error, why)}
	}
	return errors.Join(err, why)
}

// dialRetry connects to one port, with the attempts of --wait-for and --retry.
// dialWithin limits each of them.
func (d *dialer) dialRetry(ctx context.Context, port int) (conn net.Conn, err error) {
	err = d.retry(ctx, func(ctx context.Context, limit time.Duration) (err error) {
		conn, err = d.dialWithin(ctx, port, limit)
		return err
	})
	return conn, err
}

// dialWithin connects to a port. With --wait-for or --retry it takes no longer
// than a port check, and no longer than limit if that is not 0.
func (d *dialer) dialWithin(ctx context.Context, port int, limit time.Duration) (net.Conn, error) {
	if !d.waits() {
		return d.dial(ctx, port)
	}
	most := cmp.Or(d.connectTimeout, scan.DefaultTimeout)
	if limit > 0 {
		most = min(most, limit)
	}
	try, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	conn, err := d.dial(try, port)
	if err != nil && try.Err() != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("connect to %s port %d (%s) timed out: Operation now in progress", d.host, port, d.network)
	}
	return conn, err
}

// await waits until every port has accepted a connection, or a server listens
// on the Unix socket. A port that has accepted one is not asked again.
func (d *dialer) await(ctx context.Context) error {
	left := d.ports
	return d.retry(ctx, func(ctx context.Context, limit time.Duration) error {
		if d.unix {
			conn, err := d.connectUnix(ctx, limit)
			if err == nil {
				err = conn.Close()
			}
			return err
		}
		for len(left) > 0 {
			conn, err := d.dialWithin(ctx, left[0], limit)
			if err != nil {
				return err
			}
			_ = conn.Close()
			left = left[1:]
		}
		return nil
	})
}
