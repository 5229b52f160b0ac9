package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"purr/internal/fdio"
	"purr/internal/idle"
	"purr/internal/rate"
	"purr/internal/sock"
	"purr/internal/sys"
	"purr/internal/tunnel"
)

// This file is -L: the other end of each conversation is a target, in place of
// stdin and stdout.

// targetTimeout limits the connection to a target if nothing else does.
const targetTimeout = 10 * time.Second

// A tunneller connects each peer to a connection of its own to the target.
type tunneller struct {
	*dialer        // to the target
	name    string // of the target, in messages
}

// newTunneller returns the tunneller of -L, or nil without it. The proxy of the
// command line is the target's. The rest of d's options that are about sockets
// hold for the target, too, except for the addresses.
func newTunneller(cfg *config, d dialer, atExit func(func())) *tunneller {
	if cfg.tunnel == nil {
		return nil
	}
	to := cfg.tunnel
	o := netOptions{network: "tcp", host: to.Host, ports: []int{to.Port}, path: to.Path, ipv4: cfg.ipv4, ipv6: cfg.ipv6, numeric: cfg.numeric,
		proxy: cfg.proxy, connectTimeout: cmp.Or(cfg.connectTimeout, targetTimeout), keepalive: cfg.keepalive, socket: cfg.socket}
	d.netOptions, d.waitOptions, d.opened = &o, waitOptions{retries: -1}, func(context.Context) {}
	d.proxied = d.newProxied(atExit)
	name := to.Path
	if name == "" {
		name = fmt.Sprintf("%s port %d", to.Host, to.Port)
	}
	return &tunneller{dialer: &d, name: name}
}

// open connects to the target.
func (t *tunneller) open(ctx context.Context) (net.Conn, error) {
	if t.path == "" { // no Unix socket
		return t.dial(ctx, t.ports[0])
	}
	conn, err := t.connectUnix(ctx, 0)
	if err == nil {
		t.log.verbosef("connection to %s succeeded", t.path)
	}
	return conn, err
}

// tunnelTo is the handler of -L. A target that cannot be reached resets the
// peer, which would take a FIN for an empty answer.
func tunnelTo(ctx context.Context, t *talker, c net.Conn) error {
	s := newConversation(t, connName(c))
	target, err := t.tunnel.open(ctx)
	if err != nil {
		sock.Reset(c)
		return err
	}
	s.Restart()
	s.showProgress(s.peer, -1)
	defer s.progress.End()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.sleep = func(d time.Duration) error {
		if !sys.Sleep(ctx, d) {
			return context.Cause(ctx)
		}
		return nil
	}
	if t.idleTimeout > 0 {
		go s.stopIdle(ctx, stop, c, target)
	}
	options := tunnel.Options{Slice: t.limit.Slice(1 << 20), Moved: func(to net.Conn, n int) {
		s.Touch()
		if to == c {
			s.countSent(n, 1)
		} else {
			_ = s.countReceived(n, 1)
		}
	}}
	if t.limit != nil {
		options.Writer = func(to net.Conn) io.Writer { return &rate.Writer{Writer: to, Limit: t.limit, Admit: s.admit} }
	}
	options.Ended = func() error { return s.settle(ctx, c, s.takenLimit(false)) }
	err = tunnel.Join(ctx, c, target, options)
	reason := bothFinished
	switch quiet, cut := errors.AsType[idleEnd](err); {
	case cut:
		reason, err = quiet.Error(), nil
	case err != nil:
		reason, err = "failed", s.tunnelError(err, c)
	}
	if err == nil || t.log.json { // an error has a line of its own
		s.end(reason, fmt.Sprintf("sent %d bytes, received %d bytes", s.sent.bytes.Load(), s.received.bytes.Load()))
	}
	return err
}

// An idleEnd is the end of a tunnel that was silent, with nothing lost.
type idleEnd struct{ time.Duration }

func (e idleEnd) Error() string { return fmt.Sprintf("idle for %v", e.Duration) }

// stopIdle ends the tunnel once nothing has moved for as long as -w allows.
func (c *conversation) stopIdle(ctx context.Context, stop func(error), peer, target net.Conn) {
	limit := c.t.idleTimeout
	timer := idle.New(limit)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.Fired():
		}
		if !timer.Expired(func() (time.Duration, bool) { return limit - c.Idle(), sys.Arrived(peer) || sys.Arrived(target) }) {
			continue
		}
		for _, end := range []net.Conn{peer, target} {
			if unacked, err := sock.Unacked(end); err == nil && unacked > 0 {
				stop(fmt.Errorf("send to %s: idle for %v with %d bytes not taken", c.endName(end, peer), limit, unacked))
			}
		}
		stop(idleEnd{limit})
		return
	}
}

// tunnelError words the failure of one end of a tunnel. Other errors, such as a
// signal's, stay as they are.
func (c *conversation) tunnelError(err error, peer net.Conn) error {
	failed, ok := errors.AsType[*tunnel.Error](err)
	if !ok {
		return err
	}
	does := "send to"
	if copying, ok := errors.AsType[*fdio.CopyError](err); ok && copying.Reading {
		does = "receive from"
	}
	return fmt.Errorf("%s %s: %w", does, c.endName(failed.Failed, peer), sys.Cause(err))
}

// endName returns the name of one end of a tunnel in messages.
func (c *conversation) endName(end, peer net.Conn) string {
	if end == peer {
		return c.peer
	}
	return c.t.tunnel.name
}
