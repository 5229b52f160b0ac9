package main

import (
	"context"
	"fmt"
	"io"
	"net"

	"purr/internal/broker"
	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/halfclose"
	"purr/internal/sock"
)

// This file is --broker and --chat: the other end of each client is all others.

// talkToAll is the handler of --broker: c gets what all others send, and stdin.
// A client whose end has come gets what is queued for it, and then the end. One
// that takes nothing while others wait is reset.
func talkToAll(ctx context.Context, t *talker, c net.Conn) error {
	s, err := t.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	s.out.Interrupt.Close()
	if t.chat {
		t.copies.Watch(ctx)
	}
	stdin := t.stdin
	if !t.hasInput(fdio.KindOf(stdin)) {
		stdin = nil
	}
	t.broker.Start(ctx, stdin, func(err error) { t.stop(fmt.Errorf("read from stdin: %w", err)) })
	name := s.peer
	if addr := sock.AddrPort(sock.RemoteAddr(c)).Addr(); addr.IsValid() {
		name = addr.String()
	}
	m := t.broker.Join(broker.Client{Name: name, Interrupt: s.interrupt, Reset: func() { sock.Reset(c) }, Waiting: s.Extend, Unacked: func() (int, error) { return sock.Unacked(c) }})
	defer m.Leave()
	s.in, s.inName, s.out, s.outName = m, "the other clients", nil, "the other clients"
	s.rule = halfclose.New(halfclose.Options{AtOnce: true})
	s.newReceiveCopier = func(_ io.Writer, src io.Reader, filters ...copier.Filter) copier.Copier {
		return m.Copier(src, filters...)
	}
	if err = s.relay(ctx); m.Slow() && ctx.Err() == nil {
		err = fmt.Errorf("send to %s: dropped: it took nothing for %v while others waited", s.peer, t.broker.Patience)
	}
	return err
}
