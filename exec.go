package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"purr/internal/child"
	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/halfclose"
	"purr/internal/sock"
	"purr/internal/sys"
)

// This file is --exec and --sh-exec: a command is the other end of each
// conversation. internal/child runs it.

// defaultGrace is the time between SIGTERM and SIGKILL without --exec-grace.
const defaultGrace = 5 * time.Second

// newRunner returns the runner of the command, or nil without --exec. The end
// of the run closes it.
func newRunner(o *talkOptions, atExit func(func())) *child.Runner {
	if o.exec == nil {
		return nil
	}
	r := &child.Runner{Command: o.exec, Grace: o.execGrace, Stderr: os.Stderr}
	atExit(r.Close)
	return r
}

// pumps reports whether the bytes of a command have to pass through purr, to be
// changed, counted or limited.
func (t *talker) pumps() bool {
	return t.upper || t.crlf || t.telnet || t.limit != nil || t.interval > 0 || t.delay > 0 || t.dump != nil || t.idleTimeout > 0 || t.quitAtOnce || t.sendOnly || t.showProgress || t.log.json
}

// runCommand is the handler of --exec. The command gets the socket itself if
// that can be lent and no bytes have to pass through purr, else pipes.
func runCommand(ctx context.Context, t *talker, c net.Conn) error {
	if t.pumps() || !child.Lends(c) {
		return pumpCommand(ctx, t, c)
	}
	peer := connName(c)
	status, err := t.runner.Serve(ctx, c, child.Env(c.LocalAddr(), sock.RemoteAddr(c)))
	switch {
	case ctx.Err() != nil: // the command is terminated, and its FIN would mean success to the peer
		sock.Reset(c)
		return context.Cause(ctx)
	case err != nil && !sys.IsErrno(err):
		return fmt.Errorf("run %s for %s: %w", t.exec.Path, peer, err)
	case err != nil:
		err = fmt.Errorf("connection with %s: %w", peer, sys.Cause(err))
	}
	return t.commandEnded(peer, status, err)
}

// pumpCommand runs the command with pipes, and passes bytes between these and
// c.
func pumpCommand(ctx context.Context, t *talker, c net.Conn) error {
	s, err := t.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	if s.out != nil {
		s.out.Interrupt.Close()
	}
	p, err := t.runner.NewPipes(s.interrupt)
	if err == nil {
		defer p.Close()
		err = p.Start(child.Env(c.LocalAddr(), sock.RemoteAddr(c)))
	}
	if err != nil {
		return fmt.Errorf("run %s for %s: %w", t.exec.Path, s.peer, sys.Cause(err))
	}
	s.in, s.inName, s.out, s.outName = p, "the command", nil, "the command"
	s.rule = halfclose.New(halfclose.Options{AtOnce: true})
	if t.sendOnly { // what comes in is dropped
		p.CloseInput()
	} else {
		s.newReceiveCopier = func(_ io.Writer, src io.Reader, filters ...copier.Filter) copier.Copier {
			return p.Feed(c, src, filters...)
		}
	}
	return t.endCommand(ctx, s.conversation, p, s.peer, s.relay(ctx))
}

// endCommand ends the command p of a conversation that has ended with err, and
// returns the result of both. A command that has to be terminated is an error,
// except after the silence of -w, which is none in any conversation.
func (t *talker) endCommand(ctx context.Context, c *conversation, p *child.Pipes, peer string, err error) error {
	if p.Process == nil { // never started
		return err
	}
	silent := t.idleTimeout > 0 && c.Idle() >= t.idleTimeout
	status, waitErr := p.Wait(ctx, err != nil)
	if waitErr == child.ErrTerminated {
		if waitErr = fmt.Errorf("%s: %w", peer, waitErr); silent {
			t.log.verbosef("%v", waitErr)
			return nil
		}
	}
	return t.commandEnded(peer, status, errors.Join(err, waitErr))
}

// commandEnded returns the result of a conversation whose command has ended:
// err if it is not nil, else a status other than 0 as an error. Under -k a
// status is only logged, for it belongs to one client among several.
func (t *talker) commandEnded(peer string, status int, err error) error {
	if err != nil {
		return err
	}
	t.log.verbosef("%s: the command has ended with status %d", peer, status)
	if status == 0 || t.keep {
		return nil
	}
	return statusError{exitStatus(status), reportedError{commandError(status)}}
}

// openCommand makes a command the other end of datagrams: each read of its
// output becomes one datagram. A dialer starts the command at once, a listener
// at the first datagram. The caller calls closeInput after the session, unless
// there is an error.
func (s *datagramSession) openCommand() (closeInput func(), err error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	p, err := s.t.runner.NewPipes(s.interrupt)
	if err != nil {
		_ = null.Close()
		return nil, err
	}
	closeInput = func() { p.Close(); _ = null.Close() }
	s.in, s.display, s.command, s.out = p, p, p, fdio.New(null, s.interrupt)
	if greet := s.end.accepted; s.peer == "" {
		s.end.accepted = func(ctx context.Context, from netip.AddrPort, local net.Addr) {
			greet(ctx, from, local)
			if err := p.Start(child.Env(local, sock.UDPAddr(from))); err != nil {
				s.t.stop(fmt.Errorf("run %s: %w", s.t.exec.Path, sys.Cause(err)))
			}
		}
	} else if err := p.Start(child.Env(s.socket.Local, s.socket.Remote)); err != nil {
		closeInput()
		return nil, fmt.Errorf("run %s: %w", s.t.exec.Path, sys.Cause(err))
	}
	return closeInput, nil
}

// limitsClients reports whether --allow, a key or certificates limit the
// clients.
func (l *listener) limitsClients() bool {
	return l.encryption.provesPeers() || l.access.Allow.Given()
}

// warnOfCommand warns if any client can run the command: the address is not
// loopback, and nothing else limits the clients.
func (l *listener) warnOfCommand(bound netip.Addr) {
	if !l.commands || l.limitsClients() || bound.Unmap().IsLoopback() {
		return
	}
	where := "every interface"
	if !bound.IsUnspecified() {
		where = sock.InterfaceName(bound)
	}
	l.log.warnf("any client on %s can run the command: --allow LIST, --key-new or the address 127.0.0.1 in front of the port limits that", where)
}
