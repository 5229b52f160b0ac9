package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"time"

	"purr/internal/sys"
)

// This file is --wait-for and --retry: trying again until somebody answers, and
// the command that is run then.

// The pause between two tries begins short, because what is waited for is often
// just starting, and doubles.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 2 * time.Second
	lastTry    = 200 * time.Millisecond // what is left of --wait-for when the last try begins, at least
)

// waits says whether a failure is tried again.
func (c *config) waits() bool { return c.waitFor > 0 || c.retries >= 0 }

// patiently calls try until it succeeds, or --wait-for is over or --retry used
// up; then it returns the last error. limit is what is left, 0 if that is no
// matter. Without these options it calls try once.
func (p *purr) patiently(ctx context.Context, try func(ctx context.Context, limit time.Duration) error) error {
	if !p.cfg.waits() {
		return try(ctx, 0)
	}
	begun := time.Now()
	var left time.Duration
	if p.cfg.waitFor > 0 {
		left = p.cfg.waitFor
	}
	pause := firstPause
	for tries := 1; ; tries++ {
		err := try(ctx, left)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.cfg.waitFor > 0 {
			left = p.cfg.waitFor - time.Since(begun)
		}
		over := p.cfg.waitFor > 0 && left <= lastTry
		if over || p.cfg.retries >= 0 && tries > p.cfg.retries {
			return p.gaveUp(err, time.Since(begun), tries)
		}
		if p.log.level > 0 {
			p.log.fail(err)
		}
		if p.cfg.waitFor > 0 {
			pause = min(pause, left-lastTry)
		}
		if !sys.Sleep(ctx, pause) {
			return context.Cause(ctx)
		}
		if p.cfg.waitFor > 0 {
			left = max(p.cfg.waitFor-time.Since(begun), lastTry/2)
		}
		pause = min(2*pause, mostPause)
	}
}

// gaveUp is the last error, with its status, and how long it took.
func (p *purr) gaveUp(err error, took time.Duration, tries int) error {
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

// dialPatiently connects to one port, trying again as --wait-for and --retry
// say. A try that may be followed by another takes no longer than a port check.
func (p *purr) dialPatiently(ctx context.Context, port int) (conn net.Conn, err error) {
	err = p.patiently(ctx, func(ctx context.Context, limit time.Duration) (err error) {
		conn, err = p.dialWithin(ctx, port, limit)
		return err
	})
	return conn, err
}

func (p *purr) dialWithin(ctx context.Context, port int, limit time.Duration) (net.Conn, error) {
	if !p.cfg.waits() {
		return p.dial(ctx, port)
	}
	most := cmp.Or(p.cfg.connectTimeout, scanWait)
	if limit > 0 {
		most = min(most, limit)
	}
	try, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	conn, err := p.dial(try, port)
	if err != nil && try.Err() != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("connect to %s port %d (%s) timed out: Operation now in progress", p.cfg.host, port, p.cfg.network)
	}
	return conn, err
}

// await waits until every port that was given has accepted a connection, or
// somebody listens on the Unix socket. For the ports of -z it is check.
func (p *purr) await(ctx context.Context) error {
	if p.cfg.zero {
		return p.check(ctx)
	}
	left := p.cfg.ports
	return p.patiently(ctx, func(ctx context.Context, limit time.Duration) error {
		if p.cfg.unix {
			conn, err := p.connectUnix(ctx, limit)
			if err == nil {
				err = conn.Close()
			}
			return err
		}
		for len(left) > 0 {
			conn, err := p.dialWithin(ctx, left[0], limit)
			if err != nil {
				return err
			}
			_ = conn.Close()
			left = left[1:]
		}
		return nil
	})
}

// awaitAndRun waits and then becomes the command: it has purr's process,
// descriptors and signals, and its status is the run's.
func (p *purr) awaitAndRun(ctx context.Context) error {
	if err := p.await(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.cleanUp()
	if len(statusSignals) > 0 { // the command is not to inherit that they are ignored
		signal.Reset(statusSignals...)
	}
	return p.become(p.cfg.commandPath, p.cfg.command)
}
