package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"purr/internal/eyeballs"
	"purr/internal/scan"
)

// This file is --wait-for and --retry: attempts until a server answers.

// waits reports whether an attempt that failed is repeated.
func (o waitOptions) waits() bool { return o.waitFor > 0 || o.retries >= 0 }

// retry calls try until it succeeds, or --wait-for is over, or --retry is used
// up; without both options it calls try once. limit is the rest of --wait-for,
// 0 without it. The last error has the time and the number of tries with it,
// and keeps its status.
func (d *dialer) retry(ctx context.Context, try func(ctx context.Context, limit time.Duration) error) error {
	r := eyeballs.Retry{For: d.waitFor, Most: d.retries + 1}
	if d.log.level > 0 {
		r.Failed = d.log.fail
	}
	err := r.Do(ctx, try)
	failed, ok := errors.AsType[*eyeballs.GaveUpError](err)
	if !ok {
		return err
	}
	why := fmt.Errorf("gave up after %v and %d tries", failed.Took.Round(100*time.Millisecond), failed.Tries)
	if ended, ok := errors.AsType[statusError](failed.Last); ok {
		return statusError{ended.status, errors.Join(ended.error, why)}
	}
	return errors.Join(failed.Last, why)
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
	d.meter.SetActivity("connecting to %s port %d", d.host, port)
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
