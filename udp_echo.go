package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"purr/internal/datagram"
	"purr/internal/fdio"
	"purr/internal/payload"
	"purr/internal/progress"
	"purr/internal/sys"
)

// A packetEcho answers every datagram to its sender, a batch at a time;
// without -k only the first sender's. A copy as received goes to stdout.
type packetEcho struct {
	p      *purr
	socket *datagram.Socket
	batch  *datagram.Batch
	out    *fdio.File
	begun  bool // whether a datagram has come
	count  int64
	bytes  int64
	since  time.Time
	track  *progress.Transfer
	lost   int // answers that could not be sent
	pings  payload.PingCounter
}

// echoPackets runs an echo on conn, which it takes over.
func (p *purr) echoPackets(ctx context.Context, conn datagram.Conn) error {
	a, err := fdio.NewInterrupt()
	if err != nil {
		return err
	}
	defer a.Close()
	socket, err := datagram.Open(conn, a)
	if err != nil {
		return err
	}
	defer socket.Close()
	p.watchCopies(ctx)
	stop := context.AfterFunc(ctx, a.Fire)
	defer stop()
	size := datagram.BatchSize
	if p.limit != nil {
		size = 1 // each answer waits for its time
	}
	e := &packetEcho{p: p, socket: socket, batch: datagram.NewBatch(p.cfg.network, size), out: fdio.New(p.stdout, a), since: time.Now()}
	if p.cfg.pace.progress {
		e.track = p.progress.Start(p.ownName(socket), -1, p.progressStyle(true))
		defer e.track.End()
	}
	for {
		done, err := e.turn(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case done != "":
			e.track.End()
			p.sayParting(parting{how: done, sent: e.bytes, received: e.bytes, begun: e.since,
				moved: fmt.Sprintf("echoed %d datagrams of %d bytes", e.count, e.bytes)})
			return nil
		case err != nil:
			return err
		}
	}
}

// turn receives a batch and answers it. It returns why the echo is done, or an
// error, or neither.
func (e *packetEcho) turn(ctx context.Context) (done string, err error) {
	cfg := e.p.cfg
	limit := cfg.idleTimeout
	if !e.begun && cfg.listen {
		limit = cfg.acceptTimeout
	}
	if limit > 0 {
		e.socket.Deadline = time.Now().Add(limit)
	}
	n, err := e.socket.Receive(e.batch)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && !e.begun && cfg.listen:
		return "", fmt.Errorf("receive on %s: nobody sent anything within %v", e.p.ownName(e.socket), limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("idle for %v", limit), nil
	case errors.Is(err, syscall.ECONNREFUSED) && cfg.keep:
		return "", nil // one client is gone, the others are not
	case err != nil:
		return "", fmt.Errorf("receive on %s: %w", e.p.ownName(e.socket), sys.Cause(err))
	}
	if !e.begun {
		e.begun = true
		e.socket.Deadline = time.Time{}
		e.socket.SetPeer(e.batch, 0)
		e.p.greetSender(ctx, e.batch, e.socket.Local)
	}
	if cfg.listen && !cfg.keep {
		n = e.socket.KeepPeer(e.batch, n)
	}
	if limit := int64(cfg.receiveLimit); limit > 0 {
		n = int(min(int64(n), limit-e.count))
	}
	return e.answer(ctx, n)
}

// answer sends back the first n datagrams of the batch.
func (e *packetEcho) answer(ctx context.Context, n int) (done string, err error) {
	if e.p.copies() {
		if err := e.batch.WriteTo(e.out, n); err != nil {
			return "", fmt.Errorf("write to stdout: %w", sys.Cause(err))
		}
	}
	size := e.batch.Size(n)
	e.bytes += int64(size)
	e.p.traffic.received.Add(int64(size))
	e.track.Add(size)
	if e.p.cfg.network == "udp" {
		for i := range n { // a ping of purr's learns how many have arrived; nothing else is touched
			if d := e.batch.Data(i); len(d) == payload.PingSize {
				e.pings.Stamp(e.batch.Sender(i), d)
			}
		}
	}
	if e.p.cfg.upper {
		e.batch.Apply(n, upper)
	}
	if err := e.p.limit.Wait(ctx, size); err != nil {
		return "", err
	}
	e.p.traffic.sent.Add(int64(size))
	lost := func(to string, err error) {
		// Said once, or whoever can make an answer fail could fill the log.
		if e.lost++; e.lost == 1 {
			e.p.log.warnf("send to %s: %v (the next such failures are only said with -v)", to, sys.Cause(err))
		} else {
			e.p.log.notef(1, "send to %s: %v", to, sys.Cause(err))
		}
	}
	if err := e.socket.Reply(e.batch, n, lost); err != nil {
		return "", fmt.Errorf("send: %w", sys.Cause(err))
	}
	if e.count += int64(n); e.count > 0 && e.count == int64(e.p.cfg.receiveLimit) {
		return errReceiveLimit.Error(), nil
	}
	return "", nil
}
