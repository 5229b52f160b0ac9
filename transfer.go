package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/progress"
	"purr/internal/rate"
	"purr/internal/sock"
)

// A session is one conversation of a connection with stdin and stdout, or with
// what stands in for them. Its two pumps run at the same time; everything that
// decides when it ends is here.
type session struct {
	p       *purr
	conn    net.Conn        // closed by relay when the session fails, else by the caller
	peer    string          // as messages name it
	in      fdio.Source     // nil: nothing is sent, and the half-close comes after the peer's
	inName  string          // what messages call in
	out     *fdio.File      // with an alarm of its own; nil: what comes in is dropped (--send-only)
	outName string          // what messages call out
	alarm   *fdio.Interrupt // ends what waits for in
	only    bool            // whether stdout is this session's alone, to be closed when the peer has finished

	file   string // the file that is sent or received, whose progress is shown; empty: none
	fileIn bool   // whether it is received

	display io.Writer // shows what comes in, in place of out: the line editor

	// Filters of each direction, in order.
	sendFilters, receiveFilters []copier.Filter

	// Ways of each direction that are not for newWay to choose: those of
	// files that are hashed. Nil: newWay chooses.
	sendBy, receiveBy func(dst io.Writer, src io.Reader, filters ...copier.Filter) copier.Copier

	// conclude, if set, is asked while the connection is still open what
	// becomes of the session, and returns the error that is to stand. One
	// where there was none before resets the connection.
	conclude func(e *ending) error

	sendWay, receiveWay copier.Copier
	stdoutFailed        bool // set before relay returns
	quitting            bool // whether -q has run out

	sent, received atomic.Int64 // bytes taken from each source
	begun          time.Time
	tracker        *progress.Transfer // nil: nobody looks
	reads          int                // of the connection, for -W; the receiving pump's own
	active         atomic.Int64       // when bytes last moved, in Unix nanoseconds

	trackSent, trackReceived bool // which of them the tracker counts
}

// The directions of a session, as errors name them.
type direction int

const (
	sending direction = iota
	receiving
	watching // stdout, for its reader's end
)

type outcome struct {
	dir direction
	err error
}

var errReceiveLimit = errors.New("receive limit reached")

// relay runs both pumps and returns when the conversation is over: nil if it
// ended in order, with all that was sent acknowledged by the peer's system.
//
//   - The end of stdin half-closes the connection; the peer may go on.
//   - The end of the peer closes a stdout that is a pipe, so that the program
//     behind it comes to its end too and what it says last can still be sent:
//     "purr -l PORT <fifo | server >fifo".
//   - The end of the peer ends the session unless stdin has bytes that nobody
//     else will deliver; see afterPeer.
//   - A direction that fails closes both ends, and its error is the one
//     returned, with its direction. A failed write to the connection leaves
//     what the peer said before to be received first.
//   - Both pumps are waited for, except one that hangs in a write to a stdout
//     which nobody reads: only the end of the process ends that.
func (s *session) relay(ctx context.Context) error {
	s.touch()
	s.begun = time.Now()
	s.tracker = s.trackSession()
	defer s.tracker.End()
	s.chooseWays()
	results := make(chan outcome, 3)
	e := &ending{session: s, results: results, sendOpen: s.in != nil, receiveOpen: true, running: 1}
	go s.receive(results)
	if s.in != nil {
		e.running++
		go s.send(results)
	}
	if s.out != nil && (s.out.Kind() == fdio.Pipe || s.out.Kind() == fdio.FIFO || s.out.Kind() == fdio.Socket) {
		e.running++
		e.watched = true
		go s.watchStdout(results)
	}
	e.run(ctx)

	s.alarm.Fire() // nothing more is sent while we wait for what was
	if e.failed == nil && ctx.Err() == nil {
		e.failed = s.settle(ctx)
	}
	if s.conclude != nil {
		e.concludeWith(ctx)
	}
	s.ring()
	// A transfer that was cut short here must not look complete there. What a
	// person types and reads has no such end.
	cut := e.sendOpen && s.in.Kind() != fdio.Terminal ||
		e.receiveOpen && s.out != nil && s.out.Kind() != fdio.Terminal
	if e.failed != nil && (cut || e.stdioFailed) {
		sock.Reset(s.conn)
	} else {
		_ = s.conn.Close()
	}
	e.waitForPumps()
	s.tracker.End() // the last lines come after it
	sent, received := s.sent.Load(), s.received.Load()
	s.p.sayParting(parting{peer: s.peer, how: e.how(), sent: sent, received: received, begun: s.begun,
		moved: fmt.Sprintf("sent %d bytes, received %d bytes", sent, received)})
	return e.failed
}

// trackSession starts the counter of a conversation: of its raw file, or with
// --progress of the bytes that it moves. Without either it returns nil.
func (s *session) trackSession() *progress.Transfer {
	cfg := s.p.cfg
	name, size := s.file, int64(-1)
	if s.fileIn {
		size = cfg.file.expectSize // -1: any
	}
	switch in := s.in.(type) {
	case *exactFile:
		size = in.size
	case *fdio.File:
		size = in.Remaining()
	}
	s.trackReceived = s.fileIn || s.file == "" && size < 0
	s.trackSent = !s.fileIn
	if s.file != "" {
		return s.p.track(name, size)
	}
	if !cfg.pace.progress {
		return nil
	}
	return s.p.progress.Start(s.peer, size, s.p.progressStyle(true))
}

// chooseWays finds the way for each direction. --rate, the -i interval and
// --send-only put a writer of their own in front of the destination.
func (s *session) chooseWays() {
	var toConn, toStdout io.Writer = s.conn, s.out
	if s.p.limit != nil {
		toConn = &rate.Writer{Writer: s.conn, Limit: s.p.limit, Admit: s.admit}
	}
	if s.p.cfg.interval > 0 {
		toConn = &pacedWriter{Writer: toConn, pause: s.pause}
		toStdout = &pacedWriter{Writer: s.out, pause: s.pause}
	}
	switch {
	case s.out == nil:
		toStdout = io.Discard
	case s.display != nil:
		toStdout = s.display
	}
	if in, ok := s.in.(*fdio.File); ok {
		in.EnlargePipe()
	}
	if s.out != nil {
		s.out.EnlargePipe()
	}
	sendBy, receiveBy := copier.New, copier.New
	if s.sendBy != nil {
		sendBy = s.sendBy
	}
	if s.receiveBy != nil {
		receiveBy = s.receiveBy
	}
	if s.in != nil {
		s.sendWay = sendBy(toConn, s.in, s.sendFilters...)
	}
	s.receiveWay = receiveBy(toStdout, s.conn, s.receiveFilters...)
}

// send pumps stdin into the connection and half-closes it at the end.
func (s *session) send(results chan<- outcome) {
	err := copier.Run(s.sendWay, s.p.limit.Slice(copier.MaxSlice), func(n int) error {
		s.sent.Add(int64(n))
		s.p.traffic.sent.Add(int64(n))
		if s.trackSent {
			s.tracker.Add(n)
		}
		s.touch()
		return nil
	})
	s.sendWay.Close()
	if err == nil && !s.p.cfg.noShutdown {
		if err = sock.HalfClose(s.conn); err != nil {
			err = &fdio.CopyError{Reading: false, Err: err}
		}
	}
	results <- outcome{sending, err}
}

// receive pumps the connection to stdout.
func (s *session) receive(results chan<- outcome) {
	err := copier.Run(s.receiveWay, copier.MaxSlice, func(n int) error {
		s.received.Add(int64(n))
		s.p.traffic.received.Add(int64(n))
		if s.trackReceived {
			s.tracker.Add(n)
		}
		s.touch()
		if s.reads++; s.reads == s.p.cfg.receiveLimit {
			return errReceiveLimit
		}
		return nil
	})
	s.receiveWay.Close()
	results <- outcome{receiving, err}
}

// watchStdout notices that the reader of stdout is gone even while nothing
// arrives, so that "purr ... | head" ends with its reader.
func (s *session) watchStdout(results chan<- outcome) {
	results <- outcome{watching, s.out.WaitBroken()}
}

// ring ends what waits for stdin or stdout.
func (s *session) ring() {
	s.alarm.Fire()
	if s.out != nil {
		s.out.Interrupt.Fire()
	}
}

// close frees the session's own descriptors. The connection, stdin and stdout
// are the caller's.
func (s *session) close() {
	s.alarm.Close()
	if s.out != nil {
		s.out.Interrupt.Close()
	}
}

func (s *session) touch() { s.active.Store(time.Now().UnixNano()) }

// pause waits for the interval of -i. The wait counts as activity.
func (s *session) pause() error {
	s.active.Store(time.Now().Add(s.p.cfg.interval).UnixNano())
	return s.alarm.Sleep(s.p.cfg.interval)
}

// admit waits until --rate lets n more bytes out. The wait counts as activity.
func (s *session) admit(n int) error {
	d := s.p.limit.Book(n)
	if d == 0 {
		return nil
	}
	s.active.Store(time.Now().Add(d).UnixNano())
	return s.alarm.Sleep(d)
}

// settle waits for the acknowledgement of what was sent, for as long as an
// idle connection may last.
func (s *session) settle(ctx context.Context) error {
	if s.sent.Load() == 0 {
		return nil
	}
	last := 0
	err := sock.AwaitAck(s.conn, func(unacked int) error {
		if unacked != last {
			last = unacked
			s.touch()
		}
		if s.idleFor() >= s.p.cfg.idleTimeout && s.p.cfg.idleTimeout > 0 {
			return s.idleError(unacked)
		}
		if s.quitting {
			return idleError{fmt.Errorf("send to %s: %d bytes not taken by the peer %v after the end of %s", s.peer, unacked, s.p.cfg.quitAfter, s.inName)}
		}
		return context.Cause(ctx)
	})
	var said idleError
	if err == nil || errors.As(err, &said) || ctx.Err() != nil {
		return err
	}
	return s.fail(outcome{sending, &fdio.CopyError{Reading: false, Err: err}})
}

func (s *session) idleFor() time.Duration {
	return time.Duration(time.Now().UnixNano() - s.active.Load())
}

// An idleError is an idle timeout that lost bytes.
type idleError struct{ error }

func (s *session) idleError(unacked int) error {
	return idleErrorf(s.peer, s.p.cfg.idleTimeout, unacked)
}

func idleErrorf(peer string, limit time.Duration, unacked int) error {
	return idleError{fmt.Errorf("send to %s: idle for %v with %d bytes not taken by the peer", peer, limit, unacked)}
}

// fail words the error of a direction.
func (s *session) fail(o outcome) error {
	var move *fdio.CopyError
	if !errors.As(o.err, &move) {
		return o.err
	}
	switch {
	case o.dir == sending && move.Reading:
		return fmt.Errorf("read from %s: %w", s.inName, move)
	case o.dir == sending:
		return fmt.Errorf("send to %s: %w", s.peer, move)
	case move.Reading:
		return fmt.Errorf("receive from %s: %w", s.peer, move)
	}
	s.stdoutFailed = true
	return fmt.Errorf("write to %s: %w", s.outName, move)
}
