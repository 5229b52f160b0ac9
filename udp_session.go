package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"purr/internal/copier"
	"purr/internal/datagram"
	"purr/internal/fdio"
	"purr/internal/lineedit"
	"purr/internal/progress"
	"purr/internal/sys"
)

// A datagramSession is one run with -u: a socket, and stdin and stdout. One
// goroutine sends, one receives; the run ends by a timeout, a limit, an error
// or a signal, for datagrams have no end of their own.
type datagramSession struct {
	p       *purr
	socket  *datagram.Socket
	alarm   *fdio.Interrupt
	in      fdio.Source
	out     *fdio.File
	display io.Writer // shows what comes in, in place of out: the line editor
	peer    string    // the dialled peer as messages name it; empty for a listener

	printing                 atomic.Bool  // whether stdout is to take some
	sent, received           atomic.Int64 // datagrams
	bytesSent, bytesReceived atomic.Int64
	tracker                  *progress.Transfer // nil: nobody looks
	active                   atomic.Int64       // when the last one came or went, in Unix nanoseconds
}

// newDatagramSession takes conn over. The caller frees the session with close.
func (p *purr) newDatagramSession(conn datagram.Conn, peer string) (*datagramSession, error) {
	a, err := fdio.NewInterrupt()
	if err != nil {
		return nil, err
	}
	socket, err := datagram.Open(conn, a)
	if err != nil {
		return nil, err
	}
	return &datagramSession{p: p, socket: socket, alarm: a, out: fdio.New(p.stdout, a), peer: peer}, nil
}

// openInput finds what is sent: stdin, or its lines. The terminal is put back
// by restore.
func (s *datagramSession) openInput() (restore func(), err error) {
	in := fdio.New(s.p.stdin, s.alarm)
	if !s.p.hasInput(in.Kind()) {
		return func() {}, nil
	}
	if s.in = in; !s.p.cfg.interactive && s.p.cfg.quitWord == "" {
		return func() {}, nil
	}
	lines, err := s.p.newLineReader(s.alarm)
	if err != nil {
		return nil, err
	}
	s.in, s.display = lines, lines.Output()
	return lines.Close, nil
}

// run moves datagrams both ways until the end.
func (s *datagramSession) run(ctx context.Context) error {
	s.touch()
	begun := time.Now()
	if s.p.cfg.pace.progress {
		s.tracker = s.p.progress.Start(s.p.ownName(s.socket), -1, s.p.progressStyle(true))
		defer s.tracker.End()
	}
	results := make(chan outcome, 3)
	first := make(chan struct{}) // closed when it is known whom to talk to
	if s.peer != "" {
		close(first)
	}
	running := 1
	go func() { results <- outcome{receiving, s.receive(ctx, first)} }()
	if s.in != nil {
		running++
		go func() { results <- outcome{sending, s.send(first)} }()
	}
	if s.out.Kind() == fdio.Pipe || s.out.Kind() == fdio.FIFO || s.out.Kind() == fdio.Socket {
		running++
		go func() { results <- outcome{watching, s.watchStdout()} }()
	}
	why, left, failed := s.wait(ctx, results, first)
	s.alarm.Fire()
	for range running - left {
		select {
		case <-results:
		case <-time.After(100 * time.Millisecond): // stuck in a stdout that nobody reads
		}
	}
	if failed != nil {
		why = "failed"
	}
	if ctx.Err() != nil {
		why = "interrupted"
	}
	s.tracker.End() // the last lines come after it
	sent, received := s.bytesSent.Load(), s.bytesReceived.Load()
	s.p.sayParting(parting{peer: s.peer, how: why, sent: sent, received: received, begun: begun,
		moved: fmt.Sprintf("sent %d datagrams of %d bytes, received %d of %d bytes", s.sent.Load(), sent, s.received.Load(), received)})
	return failed
}

// wait returns when the run is over: why, how many of the goroutines have
// ended, and the error if it failed.
func (s *datagramSession) wait(ctx context.Context, results <-chan outcome, first <-chan struct{}) (why string, ended int, failed error) {
	sendOpen, begun := s.in != nil, false
	idle := newAlarmClock(s.patience(sendOpen, begun))
	defer idle.timer.Stop()
	var quit *alarmClock
	var overdue int64
	for {
		select {
		case <-first:
			first, begun = nil, true
			idle.set(s.patience(sendOpen, begun))
		case o := <-results:
			ended++
			switch {
			case errors.Is(o.err, errReceiveLimit), errors.Is(o.err, lineedit.ErrQuit):
				return o.err.Error(), ended, nil
			case o.err != nil:
				return "", ended, o.err
			case s.p.cfg.sendOnly:
				return "stdin finished", ended, nil
			case s.p.cfg.quitAfter >= 0:
				quit = newAlarmClock(s.p.cfg.quitAfter)
			}
			sendOpen = false
			idle.set(s.patience(sendOpen, begun))
		case <-idle.rings():
			if !idle.over() {
				continue
			}
			limit := s.patience(sendOpen, begun)
			left := limit - time.Duration(time.Now().UnixNano()-s.active.Load())
			switch {
			case left <= 0 && s.printing.Load() && s.p.cfg.idleTimeout > 0:
				return "", ended, fmt.Errorf("write to stdout: idle for %v with datagrams not taken", limit)
			case left <= 0 && s.printing.Load():
				left = limit // what has arrived is not lost for a slow reader
			case left <= 0 && overdue != s.active.Load() && (s.socket.Arrived() || sendOpen && s.in.Ready()):
				// Held up until now, as ending.notTaken has it.
				overdue, left = s.active.Load(), limit
			case left <= 0:
				return fmt.Sprintf("idle for %v", limit), ended, nil
			}
			idle.set(left)
		case <-quit.rings():
			if !quit.over() {
				continue
			}
			return fmt.Sprintf("%v after the end of stdin", s.p.cfg.quitAfter), ended, nil
		case <-ctx.Done():
			return "", ended, context.Cause(ctx)
		}
	}
}

// watchStdout notices that the reader of stdout is gone even while nothing
// arrives.
func (s *datagramSession) watchStdout() error {
	if err := s.out.WaitBroken(); err != nil {
		return err
	}
	return fmt.Errorf("write to stdout: %w", syscall.EPIPE)
}

// patience is how long nothing may happen before the run ends: -w, or for a
// dialer that has said everything, a second for the reply. A listener waits
// for its first sender as long as it takes; --accept-timeout limits that.
func (s *datagramSession) patience(sendOpen, begun bool) time.Duration {
	const forever = 1<<63 - 1
	switch {
	case !begun && s.peer == "":
		return forever
	case s.p.cfg.idleTimeout > 0:
		return s.p.cfg.idleTimeout
	case s.peer == "" || sendOpen || s.p.cfg.noStdin || s.p.cfg.noShutdown || s.p.cfg.quitAfter >= 0:
		return forever
	}
	return replyWait
}

// close frees the session once its goroutines have ended.
func (s *datagramSession) close() {
	s.alarm.Close()
	s.socket.Close()
}

func (s *datagramSession) touch() { s.active.Store(time.Now().UnixNano()) }

// send makes a datagram of each read of stdin: a pipe's write, a terminal's
// line. A listener begins once it knows whom to answer.
func (s *datagramSession) send(first <-chan struct{}) error {
	select {
	case <-first:
	case <-s.alarm.Done():
		return fdio.ErrInterrupted
	}
	var toPeer io.Writer = datagramWriter{s}
	if s.p.cfg.interval > 0 {
		toPeer = &pacedWriter{Writer: toPeer, pause: func() error {
			s.active.Store(time.Now().Add(s.p.cfg.interval).UnixNano())
			return s.alarm.Sleep(s.p.cfg.interval)
		}}
	}
	var filters []copier.Filter
	if s.p.cfg.crlf {
		filters = append(filters, newCRLF())
	}
	if s.p.cfg.upper {
		filters = append(filters, upperFilter)
	}
	size := datagram.MaxPayload
	if s.p.cfg.crlf {
		size /= 2 // every byte may become two
	}
	if in, ok := s.in.(*fdio.File); ok {
		in.EnlargePipe()
	}
	w := copier.NewBuffer(toPeer, s.in, size, filters...)
	err := copier.Run(w, size, func(int) error { return nil })
	var move *fdio.CopyError
	switch {
	case err == nil || errors.Is(err, lineedit.ErrQuit):
		return err
	case errors.As(err, &move) && move.Reading:
		return fmt.Errorf("read from stdin: %w", move)
	}
	return s.sendError(err)
}

// A datagramWriter sends each Write as one datagram to the session's peer.
type datagramWriter struct{ s *datagramSession }

func (w datagramWriter) Write(b []byte) (int, error) {
	if err := w.s.admit(len(b)); err != nil {
		return 0, err
	}
	if err := w.s.socket.SendToPeer(b); err != nil {
		return 0, err
	}
	w.s.sent.Add(1)
	w.s.bytesSent.Add(int64(len(b)))
	w.s.p.traffic.sent.Add(int64(len(b)))
	w.s.tracker.Add(len(b))
	w.s.touch()
	return len(b), nil
}

// admit waits until --rate lets a datagram of n bytes out. The wait counts as
// activity.
func (s *datagramSession) admit(n int) error {
	d := s.p.limit.Book(n)
	if d == 0 {
		return nil
	}
	s.active.Store(time.Now().Add(d).UnixNano())
	return s.alarm.Sleep(d)
}

// sendError words what the socket said; a refusal is the peer's system
// answering by ICMP that nobody listens.
func (s *datagramSession) sendError(err error) error {
	name := s.peer
	if name == "" {
		name = s.socket.PeerName()
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("connect to %s (%s) failed: %s", name, s.p.cfg.network, sys.Strerror(err))
	}
	return fmt.Errorf("send to %s: %w", name, sys.Cause(err))
}

// receive prints datagrams. An empty one is a message like any other, and
// prints nothing.
func (s *datagramSession) receive(ctx context.Context, first chan struct{}) error {
	b := datagram.NewBatch(s.p.cfg.network, datagram.BatchSize)
	s.out.EnlargePipe()
	if s.p.cfg.acceptTimeout > 0 {
		s.socket.Deadline = time.Now().Add(s.p.cfg.acceptTimeout)
	}
	known, warned := s.peer != "", false
	for {
		n, err := s.socket.Receive(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && !known:
			return fmt.Errorf("receive on %s: nobody sent anything within %v", s.p.ownName(s.socket), s.p.cfg.acceptTimeout)
		case err != nil:
			return s.receiveError(err)
		}
		if !known {
			known = true
			s.socket.SetPeer(b, 0)
			s.socket.Deadline = time.Time{}
			s.p.greetSender(ctx, b, s.socket.Local)
			close(first)
		}
		if s.peer == "" {
			if s.p.cfg.keep {
				s.socket.SetPeer(b, n-1)
			} else if kept := s.socket.KeepPeer(b, n); kept < n {
				if !warned {
					s.p.log.warnf("a datagram of another sender than %s was ignored: -k hears everybody", s.socket.PeerName())
					warned = true
				}
				n = kept
			}
		}
		if err := s.print(b, n); err != nil {
			return err
		}
	}
}

// print writes n datagrams to stdout.
func (s *datagramSession) print(b *datagram.Batch, n int) error {
	if n == 0 {
		return nil
	}
	s.touch()
	reached := false
	if limit := int64(s.p.cfg.receiveLimit); limit > 0 && s.received.Load()+int64(n) >= limit {
		n, reached = int(limit-s.received.Load()), true
	}
	s.received.Add(int64(n))
	size := b.Size(n)
	s.bytesReceived.Add(int64(size))
	s.p.traffic.received.Add(int64(size))
	s.tracker.Add(size)
	if s.p.cfg.upper {
		b.Apply(n, upper)
	}
	s.printing.Store(true)
	defer func() {
		s.printing.Store(false)
		s.touch()
	}()
	var err error
	switch {
	case s.p.cfg.sendOnly:
	case s.display != nil:
		for i := 0; i < n && err == nil; i++ {
			_, err = s.display.Write(b.Data(i))
		}
	default:
		err = b.WriteTo(s.out, n)
	}
	if err != nil {
		return fmt.Errorf("write to stdout: %w", sys.Cause(err))
	}
	if reached {
		return errReceiveLimit
	}
	return nil
}

func (s *datagramSession) receiveError(err error) error {
	switch {
	case fdio.ClosedHere(err):
		return fdio.ErrInterrupted
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.sendError(err)
	case s.peer != "":
		return fmt.Errorf("receive from %s: %w", s.peer, sys.Cause(err))
	}
	return fmt.Errorf("receive on %s: %w", s.p.ownName(s.socket), sys.Cause(err))
}
