package main

import (
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
	"purr/internal/filter"
	"purr/internal/idle"
	"purr/internal/lineedit"
	"purr/internal/sys"
	"purr/internal/tunnel"
)

// replyWait is how long a dialer waits for a reply after the last datagram once
// stdin has ended, unless -w changes it.
const replyWait = time.Second

// A datagramEnd is the socket of a conversation of datagrams.
type datagramEnd struct {
	conn datagram.Conn // closed by the conversation
	peer string        // that was dialled, as messages name it; empty for a listener
	name string        // of the socket, in messages

	// accepted is called with the sender of the first datagram, which is not valid
	// for a Unix socket.
	accepted func(ctx context.Context, from netip.AddrPort, local net.Addr)

	permits func(from netip.AddrPort) bool // nil: any sender
}

// A datagramSession is one run with -u: a socket, and stdin and stdout. One
// goroutine sends, one receives. A timeout, a limit, an error or a signal ends
// it, for datagrams have no end of their own.
type datagramSession struct {
	*conversation
	end       datagramEnd
	socket    *datagram.Socket
	interrupt *fdio.Interrupt
	in        fdio.Source // nil: nothing is sent
	out       *fdio.File
	command   *child.Pipes  // of --exec; nil: none
	display   io.Writer     // shows received bytes, in place of out: the line editor
	heard     chan struct{} // closed when there is a peer
	first     chan struct{} // closed when there is one that stdin can be sent to
	hasFirst  bool          // whether first is closed
	warned    bool          // whether another sender's datagram was mentioned
	printing  atomic.Bool   // whether stdout is to take datagrams
	sending   atomic.Bool   // whether the peer is to take one
	lost      losses
}

// losses are datagrams that were dropped. The first is logged, and the next
// only under -v: clients can cause any number of them. Any goroutine may use
// it.
type losses struct {
	log      *logger
	n, loops atomic.Int64
}

// add counts a datagram to or from a peer that was dropped. The first of all is
// a warning, later ones are logged under -v, and those for a full queue only
// counted. A peer that begins to loop (datagram.ErrLoop) is a warning as well,
// up to mostLoopLines of them; what it sends after that (datagram.ErrInLoop) is
// only counted.
func (l *losses) add(peer string, err error) {
	what := "send to"
	if _, rejected := errors.AsType[tunnel.Rejected](err); rejected || errors.Is(err, datagram.ErrTooLong) {
		what = "receive from"
	}
	switch n := l.n.Add(1); {
	case errors.Is(err, datagram.ErrLoop) && l.loops.Add(1) <= mostLoopLines:
		l.log.warnf("%s %s: %v, and is not answered any more (--echo-any answers it)", what, peer, err)
	case errors.Is(err, datagram.ErrInLoop), errors.Is(err, datagram.ErrQueueFull) && n > 1:
	case n == 1:
		l.log.warnf("%s %s: %v (further datagrams that are dropped are counted under -v)", what, peer, sys.Cause(err))
	default:
		l.log.verbosef("%s %s: %v", what, peer, sys.Cause(err))
	}
}

// mostLoopLines is the number of peers in loops that are logged without -v:
// forged senders can be any number.
const mostLoopLines = 16

// String returns the number for the end of a sentence; nothing if it is 0.
func (l *losses) String() string {
	if n := l.n.Load(); n > 0 {
		return fmt.Sprintf(", dropped %d", n)
	}
	return ""
}

// talkDatagrams holds the conversation of a datagram socket.
func talkDatagrams(ctx context.Context, t *talker, end datagramEnd) error {
	stop, err := fdio.NewInterrupt()
	if err != nil {
		return err
	}
	defer stop.Close()
	socket, err := datagram.Open(end.conn, stop)
	if err != nil {
		return err
	}
	defer socket.Close()
	socket.Permits = end.permits
	if t.tunnel != nil || t.exec != nil && t.keep {
		return passDatagrams(ctx, t, end, socket, stop)
	}
	c := newConversation(t, end.peer)
	c.sleep = stop.Sleep
	if end.peer == "" {
		c.dump.Follow(socket.PeerName)
	}
	if t.echo {
		return echoDatagrams(ctx, &datagramEcho{conversation: c, end: end, socket: socket, interrupt: stop})
	}
	if end.peer == "" && !t.keep {
		socket.ReportErrors()
	}
	s := &datagramSession{conversation: c, end: end, socket: socket, interrupt: stop, out: t.meter.openStdout(t.stdout, stop),
		heard: make(chan struct{}), first: make(chan struct{}), lost: losses{log: t.log}}
	socket.Lost = s.lost.add
	closeInput, err := s.openInput()
	if err != nil {
		return err
	}
	defer closeInput()
	if err = s.run(ctx); s.command != nil {
		err = t.endCommand(ctx, c, s.command, s.end.name, err)
	}
	return err
}

// openInput sets what is sent: stdin, its lines for --interactive and
// --quit-word, or a command's output. The caller calls closeInput.
func (s *datagramSession) openInput() (closeInput func(), err error) {
	if s.t.exec != nil {
		return s.openCommand()
	}
	in := fdio.NewReader(s.t.stdin, s.interrupt)
	if !s.t.hasInput(in.Kind()) {
		return func() {}, nil
	}
	if s.in = in; !s.t.interactive && s.t.quitWord == "" {
		return func() {}, nil
	}
	lines, err := newLineReader(s.t, s.interrupt)
	if err != nil {
		return nil, err
	}
	s.in, s.display = lines, lines.Output()
	return lines.Close, nil
}

// run moves datagrams both ways until supervise returns, and logs the end.
func (s *datagramSession) run(ctx context.Context) error {
	s.Restart()
	s.showProgress(s.end.name, -1)
	defer s.progress.End()
	results := make(chan outcome, 3)
	if s.peer != "" {
		close(s.first)
	}
	running := 1
	go func() { results <- outcome{receiving, s.receive(ctx)} }()
	if s.in != nil {
		running++
		go func() { results <- outcome{sending, s.send()} }()
	}
	if s.out.Kind().HasReader() {
		running++
		go func() { results <- outcome{watching, s.watchStdout()} }()
	}
	reason, ended, failed := s.supervise(ctx, results)
	s.interrupt.Fire()
	drain(results, running-ended)
	if failed != nil {
		reason = "failed"
	}
	if ctx.Err() != nil {
		reason = interrupted
	}
	s.conversation.end(reason, fmt.Sprintf("sent %d datagrams of %d bytes, received %d of %d bytes%v",
		s.sent.units.Load(), s.sent.bytes.Load(), s.received.units.Load(), s.received.bytes.Load(), &s.lost))
	return failed
}

// A datagramState is the part of a session's state that its idle timeout
// depends on.
type datagramState struct {
	sendOpen bool // whether stdin goes on
	hasPeer  bool // whether there is a peer to send to
}

// idleTimeout returns how long nothing may happen before the run ends, 0 for no
// limit: the time of -w, else replyWait for a dialer whose stdin has ended. A
// listener without a peer has none: --accept-timeout limits that wait.
func (d datagramState) idleTimeout(o *talkOptions, dialled bool) time.Duration {
	switch {
	case !d.hasPeer:
		return 0
	case o.idleTimeout > 0:
		return o.idleTimeout
	case !dialled, d.sendOpen, o.noStdin, o.noShutdown, o.quitAfter >= 0:
		return 0
	}
	return replyWait
}

// supervise returns when the run is over: with the reason, the number of
// goroutines that have ended, and the error if it failed.
func (s *datagramSession) supervise(ctx context.Context, results <-chan outcome) (reason string, ended int, failed error) {
	d := datagramState{sendOpen: s.in != nil, hasPeer: s.peer != ""}
	limit := func() time.Duration { return d.idleTimeout(&s.t.talkOptions, s.peer != "") }
	timer := idle.New(limit())
	defer timer.Stop()
	var quit *idle.Timer
	defer func() { quit.Stop() }()
	heard := s.heard
	for {
		select {
		case <-heard:
			heard, d.hasPeer = nil, true
			timer.Restart(limit())
		case o := <-results:
			ended++
			switch {
			case errors.Is(o.err, errReceiveLimit), errors.Is(o.err, lineedit.ErrQuit):
				return o.err.Error(), ended, nil
			case o.err != nil:
				return "", ended, o.err
			case s.t.sendOnly, s.t.quitAtOnce, s.command != nil:
				return "stdin finished", ended, nil
			case s.t.quitAfter >= 0:
				quit = idle.New(s.t.quitAfter)
			}
			d.sendOpen = false
			timer.Restart(limit())
		case <-timer.Fired():
			if timer.Expired(func() (time.Duration, bool) { return s.checkIdle(timer.Period, d.sendOpen) }) {
				if s.printing.Load() {
					return "", ended, fmt.Errorf("write to stdout: idle for %v with datagrams not taken", timer.Period)
				}
				if s.sending.Load() {
					return "", ended, s.sendError(fmt.Errorf("idle for %v with a datagram not taken", timer.Period))
				}
				if s.t.idleFails && s.t.idleTimeout > 0 {
					return "", ended, idleError{fmt.Errorf("%s: idle for %v", s.end.name, timer.Period)}
				}
				return fmt.Sprintf("idle for %v", timer.Period), ended, nil
			}
		case <-quit.Fired():
			if quit.Expired(nil) {
				return fmt.Sprintf("%v after the end of stdin", s.t.quitAfter), ended, nil
			}
		case <-ctx.Done():
			return "", ended, context.Cause(ctx)
		}
	}
}

// checkIdle returns the rest of the idle timeout, and whether input is pending.
// Without -w the timeout does not expire during a write to stdout, so that a
// slow reader loses no datagrams that have arrived.
func (s *datagramSession) checkIdle(limit time.Duration, sendOpen bool) (left time.Duration, pending bool) {
	left = limit - s.Idle()
	if s.printing.Load() {
		if left <= 0 && s.t.idleTimeout == 0 {
			left = limit
		}
		return left, false
	}
	return left, s.socket.Arrived() || sendOpen && s.in.Ready()
}

// watchStdout returns an error when the reader of stdout is gone, also while
// nothing arrives.
func (s *datagramSession) watchStdout() error {
	if err := s.out.WaitBroken(); err != nil {
		return err
	}
	return localError{fmt.Errorf("write to stdout: %w", syscall.EPIPE)}
}

// send makes a datagram of each read of stdin: a pipe's write, a terminal's
// line. A listener begins once it has a peer.
func (s *datagramSession) send() error {
	select {
	case <-s.first:
	case <-s.interrupt.Done():
		return fdio.ErrInterrupted
	}
	size := datagram.MaxPayload
	if s.t.crlf {
		size /= 2 // every byte may become two
	}
	if in, ok := s.in.(*fdio.File); ok {
		in.EnlargePipe()
	}
	c := copier.NewBuffer(s.byLine(datagramWriter{s}), s.in, size, s.t.sendFilters(s.dump)...)
	err := copier.Run(c, size, func(int) error { return s.pause() })
	var copying *fdio.CopyError
	switch {
	case err == nil || errors.Is(err, lineedit.ErrQuit):
		return err
	case errors.As(err, &copying) && copying.Reading:
		return localError{fmt.Errorf("read from stdin: %w", copying)}
	}
	return s.sendError(err)
}

// fullQueue is how long -k waits for the queue of a Unix client that does not
// keep up, before it drops a datagram of stdin's.
const fullQueue = time.Second

// A datagramWriter sends each Write as one datagram to the session's peer. With
// -k a client that cannot be reached any more only loses its datagrams.
type datagramWriter struct{ s *datagramSession }

// Write sends b as one datagram, as soon as --rate admits it.
func (w datagramWriter) Write(b []byte) (int, error) {
	if err := w.s.admit(len(b)); err != nil {
		return 0, err
	}
	var limit time.Duration
	if w.s.t.keep {
		limit = fullQueue
	}
	w.s.sending.Store(true)
	err := w.s.socket.SendToPeer(b, limit)
	w.s.sending.Store(false)
	switch {
	case err == nil:
	case w.s.t.keep && !fdio.ClosedHere(err):
		w.s.lost.add(w.s.socket.PeerName(), err)
		return len(b), nil
	default:
		return 0, err
	}
	w.s.countSent(len(b), 1)
	w.s.Touch()
	return len(b), nil
}

// sendError describes an error of the socket. ECONNREFUSED is the answer of the
// peer's system by ICMP that the port is closed.
func (s *datagramSession) sendError(err error) error {
	name := s.peer
	if name == "" {
		name = s.socket.PeerName()
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("connect to %s (%s) failed: %s", name, s.t.network, sys.Strerror(err))
	}
	return fmt.Errorf("send to %s: %w", name, sys.Cause(err))
}

// receive prints datagrams until an error, which is errReceiveLimit for -W. An
// empty datagram is a message like any other, and prints nothing.
func (s *datagramSession) receive(ctx context.Context) error {
	b := datagram.NewBatch(s.t.network, s.t.batchSize())
	s.out.EnlargePipe()
	if s.t.acceptTimeout > 0 {
		s.socket.Deadline = time.Now().Add(s.t.acceptTimeout)
	}
	for hasPeer := s.peer != ""; ; {
		n, err := s.socket.Receive(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && !hasPeer:
			return fmt.Errorf("receive on %s: nobody sent anything within %v", s.end.name, s.t.acceptTimeout)
		case err != nil:
			return s.receiveError(err)
		}
		if s.peer == "" {
			n = s.choosePeer(b, n, !hasPeer)
		}
		if n > 0 && !hasPeer {
			hasPeer = true
			s.socket.Deadline = time.Time{}
			s.end.accepted(ctx, b.Sender(0), s.socket.Local)
			close(s.heard)
		}
		if err := s.print(b, n); err != nil {
			return err
		}
		if err := s.pause(); err != nil {
			return err
		}
	}
}

// choosePeer makes a sender of n datagrams the peer that stdin is sent to: with
// -k the last one, else the first one, if first is true. Without -k it drops
// the datagrams of other senders. It returns the number of datagrams to print.
func (s *datagramSession) choosePeer(b *datagram.Batch, n int, first bool) int {
	answerable := true
	if s.t.keep {
		answerable = s.socket.SetLastPeer(b, n)
	} else {
		if first {
			n = s.socket.SetFirstPeer(b, n)
		}
		if n == 0 {
			return 0
		}
		kept := s.socket.KeepPeer(b, n)
		if kept < n && !s.warned {
			s.t.log.warnf("a datagram of another sender than %s was ignored: -k hears everybody", s.socket.PeerName())
			s.warned = true
		}
		n = kept
	}
	if answerable && !s.hasFirst {
		s.hasFirst = true
		close(s.first)
	}
	return n
}

// print writes n datagrams to stdout. It returns errReceiveLimit at that of -W.
func (s *datagramSession) print(b *datagram.Batch, n int) error {
	if n == 0 {
		return nil
	}
	s.Touch()
	n = s.withinLimit(n)
	limit := s.countReceived(b.Size(n), n)
	s.printing.Store(true)
	defer func() {
		s.printing.Store(false)
		s.Touch()
	}()
	s.dump.ReceivedBatch(b, n)
	if s.t.upper {
		b.Apply(n, filter.Upper)
	}
	var err error
	switch {
	case s.t.sendOnly:
	case s.display != nil:
		for i := 0; i < n && err == nil; i++ {
			_, err = s.display.Write(b.Data(i))
		}
	default:
		err = b.WriteTo(s.out, n)
	}
	if err != nil {
		return localError{fmt.Errorf("write to stdout: %w", sys.Cause(err))}
	}
	return limit
}

// receiveError words an error of receiving. It is fdio.ErrInterrupted if this
// end has closed the socket.
func (s *datagramSession) receiveError(err error) error {
	switch {
	case fdio.ClosedHere(err):
		return fdio.ErrInterrupted
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.sendError(err)
	case s.peer != "":
		return fmt.Errorf("receive from %s: %w", s.peer, sys.Cause(err))
	}
	return fmt.Errorf("receive on %s: %w", s.end.name, sys.Cause(err))
}
