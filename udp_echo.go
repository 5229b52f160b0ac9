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
	"purr/internal/filter"
	"purr/internal/payload"
	"purr/internal/sys"
)

// A datagramEcho answers every datagram to its sender, a batch at a time;
// without -k only the first sender's. A copy of what is received goes to
// stdout.
type datagramEcho struct {
	*conversation
	end       datagramEnd
	socket    *datagram.Socket
	interrupt *fdio.Interrupt
	batch     *datagram.Batch
	out       *fdio.File
	hasPeer   bool // whether a datagram has come
	lost      losses
	guard     *datagram.LoopGuard // nil with --echo-any, and on a Unix socket, where nothing is forged
	pings     payload.PingCounter
}

// echoDatagrams runs e until it is over. -w and -W end it without an error.
func echoDatagrams(ctx context.Context, e *datagramEcho) error {
	e.peer = "" // it has the peers of one socket
	e.inProgress = receiving
	e.lost.log, e.socket.Lost = e.t.log, e.lost.add
	if e.t.network == "udp" && !e.t.echoAny {
		e.guard = datagram.NewLoopGuard(e.socket)
	}
	e.t.copies.Watch(ctx)
	stop := context.AfterFunc(ctx, e.interrupt.Fire)
	defer stop()
	e.batch, e.out = datagram.NewBatch(e.t.network, e.t.batchSize()), e.t.meter.openStdout(e.t.stdout, e.interrupt)
	e.showProgress(e.end.name, -1)
	defer e.progress.End()
	for {
		reason, err := e.turn(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case reason != "":
			e.conversation.end(reason, fmt.Sprintf("echoed %d datagrams of %d bytes%v", e.received.units.Load(), e.received.bytes.Load(), &e.lost))
			return nil
		case err != nil:
			return err
		}
	}
}

// turn receives a batch and answers it. If -w or -W ends the echo, reason is
// why, for the log. It is empty if the echo goes on, or fails with err.
func (e *datagramEcho) turn(ctx context.Context) (reason string, err error) {
	limit := e.t.idleTimeout
	waitsForFirst := !e.hasPeer && e.t.listen
	if waitsForFirst {
		limit = e.t.acceptTimeout
	}
	if limit > 0 && (e.hasPeer || e.socket.Deadline.IsZero()) {
		e.socket.Deadline = time.Now().Add(limit)
	}
	n, err := e.socket.Receive(e.batch)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && e.socket.Arrived():
		return "", nil // the process was stopped until now
	case errors.Is(err, os.ErrDeadlineExceeded) && waitsForFirst:
		return "", fmt.Errorf("receive on %s: nobody sent anything within %v", e.end.name, limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("idle for %v", limit), nil
	case errors.Is(err, syscall.ECONNREFUSED) && e.t.keep:
		return "", nil // one client is gone, the others are not
	case err != nil:
		return "", fmt.Errorf("receive on %s: %w", e.end.name, sys.Cause(err))
	}
	if !e.hasPeer {
		if !e.t.keep {
			n = e.socket.SetFirstPeer(e.batch, n)
		}
		if n == 0 {
			return "", nil
		}
		e.hasPeer = true
		e.socket.Deadline = time.Time{}
		e.end.accepted(ctx, e.batch.Sender(0), e.socket.Local)
	}
	if e.t.listen && !e.t.keep {
		n = e.socket.KeepPeer(e.batch, n)
	}
	return e.answer(ctx, e.withinLimit(n))
}

// answer copies the first n datagrams of the batch to stdout, and sends each
// back to its sender, except for those that the loop guard drops. Once -W is
// reached, reason is why the echo ends; else it is empty.
func (e *datagramEcho) answer(ctx context.Context, n int) (reason string, err error) {
	e.dump.ReceivedBatch(e.batch, n)
	if e.out.Kind() != fdio.Null {
		if err := e.batch.WriteTo(e.out, n); err != nil {
			return "", fmt.Errorf("write to stdout: %w", sys.Cause(err))
		}
	}
	limit := e.countReceived(e.batch.Size(n), n)
	n = e.guard.Filter(e.batch, n, e.lost.add)
	size := e.batch.Size(n)
	if e.t.network == "udp" {
		for i := range n { // a ping of purr's learns how many have arrived; nothing else is changed
			if d := e.batch.Data(i); len(d) == payload.PingSize {
				e.pings.Stamp(e.batch.Sender(i), d)
			}
		}
	}
	if e.t.upper {
		e.batch.Apply(n, filter.Upper)
	}
	if err := e.t.limit.Wait(ctx, size); err != nil {
		return "", err
	}
	e.dump.SentBatch(e.batch, n)
	e.countSent(size, n)
	e.guard.Record(e.batch, n)
	if err := e.socket.Reply(e.batch, n); err != nil {
		return "", fmt.Errorf("send: %w", sys.Cause(err))
	}
	if limit != nil {
		return limit.Error(), nil
	}
	return "", e.pause()
}
