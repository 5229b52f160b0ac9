package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"purr/internal/child"
	"purr/internal/copier"
	"purr/internal/datagram"
	"purr/internal/fdio"
	"purr/internal/idle"
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

	encryption *encryption // with the target
}

// newTunneller returns the tunneller of -L, or nil without it. The proxy of the
// command line leads to the target. The options of sockets hold for the target,
// too, except for -s and -p.
func newTunneller(cfg *config, d dialer, atExit func(func())) *tunneller {
	if cfg.tunnel == nil {
		return nil
	}
	to := cfg.tunnel
	o := netOptions{network: "tcp", udp: to.UDP, host: to.Host, ports: []int{to.Port}, path: to.Path, ipv4: cfg.ipv4, ipv6: cfg.ipv6, numeric: cfg.numeric,
		proxy: cfg.proxy, connectTimeout: cmp.Or(cfg.connectTimeout, targetTimeout), keepalive: cfg.keepalive, socket: cfg.socket}
	if to.VM {
		o.network = "vsock"
	}
	d.netOptions, d.waitOptions, d.opened = &o, waitOptions{retries: -1}, func(context.Context) {}
	d.proxied, d.sendProxy = d.newProxied(atExit), cfg.sendProxy
	if to.UDP {
		o.network = "udp"
	}
	name := to.Path
	if name == "" {
		name = fmt.Sprintf("%s port %d", to.Host, to.Port)
	}
	return &tunneller{dialer: &d, name: name, encryption: &encryption{ssl: cfg.targetSSL, timeout: o.connectTimeout, log: d.log}}
}

// open connects to the target, for a client.
func (t *tunneller) open(ctx context.Context, client net.Conn) (net.Conn, error) {
	to := *t.dialer
	to.client = client
	if t.path == "" { // no Unix socket
		conn, err := to.dial(ctx, t.ports[0])
		if err != nil {
			return nil, err
		}
		return t.encryption.secure(ctx, conn)
	}
	conn, err := to.connectUnix(ctx, 0)
	if err == nil {
		t.log.verbosef("connection to %s succeeded", t.path)
	}
	return conn, err
}

// tunnelTo is the handler of -L. A target that cannot be reached resets the
// peer, which would take a FIN for an empty answer.
func tunnelTo(ctx context.Context, t *talker, c net.Conn) error {
	s := newConversation(t, connName(c))
	target, err := t.tunnel.open(ctx, c)
	if err != nil {
		sock.Reset(c)
		return err
	}
	return s.join(ctx, c, target, t.tunnel.name)
}

// join passes bytes between the peer and a target until both have finished, and
// closes both. name is the target's in messages. If -w ends it and no byte is
// lost, the result is nil.
func (c *conversation) join(ctx context.Context, peer, target net.Conn, name string) error {
	c.Restart()
	c.showProgress(c.peer, -1)
	defer c.progress.End()
	nameOf := func(end net.Conn) string {
		if end == peer {
			return c.peer
		}
		return name
	}
	if c.t.idleTimeout > 0 {
		var stop context.CancelCauseFunc
		ctx, stop = context.WithCancelCause(ctx)
		defer stop(nil)
		go c.stopIdle(ctx, stop, nameOf, peer, target)
	}
	c.sleep = sleepUntil(ctx)
	options := tunnel.Options{Go: c.t.crew.Go, Slice: c.t.limit.Slice(copier.MaxSlice), Writer: func(to net.Conn) io.Writer { return c.limited(to) }, Moved: func(to net.Conn, n int) {
		c.Touch()
		if to == peer {
			c.countSent(n, 1)
		} else {
			_ = c.countReceived(n, 1)
		}
		_ = c.pause() // the end of ctx ends both directions
	}}
	options.FiltersA, options.FiltersB = c.dump.Sending(), c.dump.Receiving()
	options.Ended = func() error {
		if err := c.settle(ctx, peer, c.takenLimit(false)); err != nil {
			return tunnelError{err}
		}
		return nil
	}
	err := tunnel.Join(ctx, peer, target, options)
	reason := bothFinished
	switch quiet, silent := errors.AsType[idleEnd](err); {
	case silent:
		reason, err = quiet.Error(), nil
	case err != nil:
		reason, err = "failed", wordTunnelError(err, nameOf)
	}
	if err == nil || c.t.log.json { // an error has a line of its own
		c.end(reason, "")
	}
	return err
}

// An idleEnd is the end of a tunnel that was silent, with nothing lost.
type idleEnd struct{ time.Duration }

func (e idleEnd) Error() string { return fmt.Sprintf("idle for %v", e.Duration) }

// stopIdle calls stop once nothing has moved within -w: with a tunnelError if
// bytes are unacknowledged, else an idleEnd. An acknowledgement is a move, too.
func (c *conversation) stopIdle(ctx context.Context, stop func(error), nameOf func(net.Conn) string, ends ...net.Conn) {
	limit := c.t.idleTimeout
	timer := idle.New(limit)
	defer timer.Stop()
	unacked := make([]int, len(ends))
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.Fired():
		}
		waits := false // for an acknowledgement
		for i, end := range ends {
			if n, err := sock.Unacked(end); err == nil {
				c.touchOnAck(&unacked[i], n)
			}
			waits = waits || unacked[i] > 0
		}
		if !timer.Expired(func() (time.Duration, bool) {
			return limit - c.Idle(), !waits && (sys.Arrived(ends[0]) || sys.Arrived(ends[1]))
		}) {
			continue
		}
		for i, end := range ends {
			if n := unacked[i]; n > 0 {
				stop(tunnelError{fmt.Errorf("send to %s: idle for %v with %d bytes not taken", nameOf(end), limit, n)})
			}
		}
		stop(idleEnd{limit})
		return
	}
}

// dialDatagrams connects a socket of datagrams to the target.
func (t *tunneller) dialDatagrams(ctx context.Context, _ *datagram.Peer) (datagram.Conn, error) {
	if t.path != "" {
		return t.connectUnixgram(ctx, sock.TemporaryName())
	}
	return t.connectUDP(ctx, t.ports[0])
}

// passDatagrams is -L with -u, and --exec with -u -l -k: it passes datagrams
// between the senders of end, or the peer of a dialer, and a target, or
// commands.
func passDatagrams(ctx context.Context, talk *talker, end datagramEnd, socket *datagram.Socket, stop *fdio.Interrupt) error {
	lost, failing := losses{log: talk.log}, new(atomic.Bool)
	d := tunnel.Datagrams{Network: talk.network, Single: !talk.keep, Limit: talk.senders, Idle: talk.idleTimeout, First: talk.acceptTimeout, Lost: lost.add}
	if t := talk.tunnel; t == nil {
		ended := func(peer string, status int) { _ = talk.commandEnded(peer, status, nil) }
		d.Target, d.Dial = "the command", child.NewDatagrams(talk.runner, talk.senders, socket.Local, ended).Dial
	} else if d.Target, d.Dial = t.name, t.dialDatagrams; t.path != "" {
		d.Network = "unixgram"
	}
	if talk.limit != nil || talk.delay > 0 {
		d.Batch, d.Admit = 1, func(n int) error { return stop.Sleep(talk.limit.Book(n) + talk.delay) }
	}
	d.Follow = func(from netip.AddrPort, name string) tunnel.Follower {
		s := &datagramSender{conversation: newConversation(talk, cmp.Or(end.peer, name)), target: d.Target, failing: failing}
		s.showProgress(s.peer, -1)
		s.dialled = func() {
			if end.peer == "" {
				end.accepted(ctx, from, socket.Local)
			}
		}
		return s
	}
	err := d.Run(ctx, socket, stop)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("receive on %s: nobody sent anything within %v", end.name, talk.acceptTimeout)
	}
	if n := lost.n.Load(); n > 0 {
		talk.log.verbosef("%s: dropped %d datagrams", end.name, n)
	}
	return err
}

// A datagramSender is the conversation of one sender of datagrams with the
// target.
type datagramSender struct {
	*conversation
	target  string
	dialled func()
	failing *atomic.Bool // whether the last target could not be dialled; shared
}

// Dialled logs the sender, and counts it until Ended.
func (s *datagramSender) Dialled() { s.dialled() }

// Moved counts and records datagrams to or from the sender.
func (s *datagramSender) Moved(toSender bool, b *datagram.Batch, list []int) {
	for _, i := range list {
		if d := b.Data(i); toSender {
			s.dump.Sent(d)
			s.countSent(len(d), 1)
			s.failing.Store(false)
		} else {
			s.dump.Received(d)
			_ = s.countReceived(len(d), 1)
		}
	}
}

// Refused logs an ICMP error, which ends nothing.
func (s *datagramSender) Refused(target bool) {
	name := s.peer
	if target {
		name = s.target
	}
	s.t.log.verbosef("%s: send to %s: %v", s.peer, name, sys.Cause(syscall.ECONNREFUSED))
}

// Ended logs the end of the sender. A failure has a line of its own under -k;
// further ones have it only under -v until a target has answered, because each
// datagram may cause one.
func (s *datagramSender) Ended(reason error) {
	how := "failed"
	switch _, orderly := errors.AsType[tunnel.Rejected](reason); {
	case reason == tunnel.ErrIdle:
		how = fmt.Sprintf("idle for %v", cmp.Or(s.t.idleTimeout, tunnel.DefaultIdle))
	case orderly, reason == child.ErrEnded:
		how = reason.Error()
	case statusOf(reason) > statusSignal:
		how = interrupted
	case !s.t.keep:
	case !s.failing.Swap(true):
		s.t.log.fail(reason)
	default:
		s.t.log.verbosef("%v", reason)
	}
	s.t.meter.ConnClosed()
	s.end(how, fmt.Sprintf("sent %d datagrams of %d bytes, received %d of %d bytes", s.sent.units.Load(), s.sent.bytes.Load(), s.received.units.Load(), s.received.bytes.Load()))
}

// A tunnelError is a tunnel that was cut, in the words of a message.
type tunnelError struct{ error }

func (e tunnelError) Unwrap() error { return e.error }

// wordTunnelError words the failure of one end of a tunnel. Other errors, such
// as a signal's, stay as they are.
func wordTunnelError(err error, nameOf func(net.Conn) string) error {
	failed, ok := errors.AsType[*tunnel.Error](err)
	if !ok {
		return err
	}
	does := "send to"
	if copying, ok := errors.AsType[*fdio.CopyError](err); ok && copying.Reading {
		does = "receive from"
	}
	return tunnelError{fmt.Errorf("%s %s: %w", does, nameOf(failed.Failed), sys.Cause(err))}
}
