package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"purr/internal/fdio"
	"purr/internal/filter"
	"purr/internal/idle"
	"purr/internal/rate"
	"purr/internal/sock"
	"purr/internal/sys"
)

// An echoSession sends the bytes of a connection back: one reply per read,
// changed by --upper. It has one goroutine, and its buffer is only held while
// there is something in it, so that an idle client costs little more than its
// socket.
type echoSession struct {
	*conversation
	conn    net.Conn
	replies io.Writer // conn, with the limit of --rate
	idle    idle.Deadline
	unacked int // at the last check
}

// echo is the handler of --echo: received bytes go back to the peer, and a copy
// of them to stdout.
func echo(ctx context.Context, t *talker, c net.Conn) error {
	t.copies.Watch(ctx)
	stop := context.AfterFunc(ctx, func() { sock.Reset(c) }) // a FIN would mean success to the peer
	defer stop()
	s := &echoSession{conversation: newConversation(t, connName(c)), conn: c, replies: c, idle: idle.NewDeadline(c, t.idleTimeout)}
	s.inProgress, s.sleep = sending, sleepUntil(ctx)
	r, err := sock.NewReader(c)
	if err != nil {
		return s.receiveError(err)
	}
	if t.limit != nil {
		s.replies = &rate.Writer{Writer: c, Limit: t.limit, Admit: func(n int) error {
			err := t.limit.Wait(ctx, n)
			s.idle.Extend() // our own wait is not the peer's silence
			return err
		}}
	}
	s.showProgress(s.peer, -1)
	defer s.progress.End()
	reason, err := s.run(r)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = s.awaitAck(ctx)
	}
	if limit := s.takenLimit(reason != peerFinished); err == nil {
		err = s.settle(ctx, c, limit)
	}
	if err != nil {
		reason = "failed"
	}
	if err == nil || t.log.json { // an error has a line of its own
		s.end(reason, fmt.Sprintf("echoed %d bytes", s.sent.bytes.Load()))
	}
	return err
}

// run echoes until the conversation is over. reason is the text for its last
// line in the log; it is empty if err is not nil.
func (s *echoSession) run(r *sock.Reader) (reason string, err error) {
	for {
		s.idle.Extend()
		n, err := r.Next(s.reply)
		limit := s.countReceived(n, 1)
		switch {
		case err == nil:
			if s.countSent(n, 1); limit != nil {
				return limit.Error(), nil
			}
			if err := s.pause(); err != nil {
				return "", err
			}
		case !r.Waiting:
			return "", err
		case err == io.EOF:
			return peerFinished, nil
		case s.idle.Expired(err):
			return fmt.Sprintf("idle for %v", s.t.idleTimeout), nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return "", s.receiveError(err)
		}
	}
}

// receiveError words an error of reading from the peer.
func (s *echoSession) receiveError(err error) error {
	return fmt.Errorf("receive from %s: %w", s.peer, sys.Cause(err))
}

// reply sends the bytes of one read back, after a copy of them to stdout. An
// idle timeout does not end the write while the client's system still
// acknowledges bytes.
func (s *echoSession) reply(b []byte) error {
	s.dump.Received(b)
	if _, err := s.t.copies.Write(b); err != nil {
		sock.Reset(s.conn) // a FIN would mean success to the peer
		return err
	}
	if s.t.upper {
		filter.Upper(b)
	}
	s.dump.Sent(b)
	s.idle.Extend() // the process may have been stopped since the read
	for n, err := s.replies.Write(b); err != nil; n, err = s.replies.Write(b) {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if b = b[n:]; s.acknowledges() {
				s.idle.Extend()
				continue
			}
			return s.idleError(0)
		}
		return fmt.Errorf("send to %s: %w", s.peer, sys.Cause(err))
	}
	return nil
}

// acknowledges reports whether the client's system has acknowledged bytes since
// the last call. A blocked write hides that: the kernel wakes it up only once a
// third of the send buffer is free.
func (s *echoSession) acknowledges() bool {
	n, err := sock.Unacked(s.conn)
	before := s.unacked
	s.unacked = n
	return err == nil && n != before
}

// awaitAck waits until the client's system has acknowledged all replies. It
// fails if nothing is acknowledged for the idle timeout; 0 is no limit.
func (s *echoSession) awaitAck(ctx context.Context) error {
	begun := time.Now()
	err := sock.AwaitAck(s.conn, func(unacked int) error {
		if unacked != s.unacked {
			s.unacked, begun = unacked, time.Now()
		}
		if limit := s.t.idleTimeout; limit > 0 && time.Since(begun) >= limit {
			return s.idleError(unacked)
		}
		return context.Cause(ctx)
	})
	var idle idleError
	if err == nil || errors.As(err, &idle) || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("send to %s: %w", s.peer, sys.Cause(err))
}

// newCopies returns the output of copies of what is echoed: the stdout of env.
// An error of it ends the run, also under -k: stdout belongs to all clients.
func newCopies(env talkEnv) *fdio.Shared {
	return &fdio.Shared{Output: env.stdout, Open: func(f *os.File) *fdio.File { return env.meter.openStdout(f, nil) }, Failed: func(err error) error {
		err = fmt.Errorf("write to stdout: %w", sys.Cause(err))
		env.stop(err)
		return err
	}}
}
