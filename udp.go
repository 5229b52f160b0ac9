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
)

// maxDatagram is the most that one read of stdin puts into a datagram: what
// IPv4 carries, 65,535 bytes less its header and UDP's (RFC 768, RFC 791).
const maxDatagram = 65507

// replyWait is how long a dialer waits for a reply after the last datagram
// once stdin has ended, unless -w says otherwise.
const replyWait = time.Second

// A datagramSession is one run with -u: a socket, and stdin and stdout. One
// goroutine sends, one receives; the run ends by a timeout, a limit, an error
// or a signal, for datagrams have no end of their own.
type datagramSession struct {
	p       *purr
	socket  *packetSocket
	alarm   *alarm
	in      source
	out     *stdio
	display io.Writer // shows what comes in, in place of out: the line editor
	peer    string    // the dialled peer as messages name it; empty for a listener

	printing       atomic.Bool  // whether stdout is to take some
	sent, received atomic.Int64 // datagrams
	active         atomic.Int64 // when the last one came or went, in Unix nanoseconds
}

// dialPackets sends stdin to one peer, a datagram for each read, and prints
// what comes back.
func (p *purr) dialPackets(ctx context.Context) error {
	if p.cfg.unix {
		return p.dialUnixgram(ctx)
	}
	ports := p.cfg.ports
	if p.cfg.shuffle {
		ports = shuffled(ports)
	}
	for i, port := range ports {
		if i > 0 && !sleep(ctx, p.cfg.interval) {
			return context.Cause(ctx)
		}
		if err := p.dialUDP(ctx, port); err != nil {
			return err
		}
	}
	return nil
}

func (p *purr) dialUDP(ctx context.Context, port int) error {
	addrs, err := p.resolve(ctx, p.cfg.host, port)
	if err != nil {
		return err
	}
	local, err := p.localAddr(ctx)
	if err != nil {
		return err
	}
	dialer := net.Dialer{Control: p.cfg.setOptions}
	if local.Addr().IsValid() {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(local)
		addrs = sameFamily(addrs, local.Addr())
	} else if local.Port() != 0 {
		dialer.LocalAddr = &net.UDPAddr{Port: int(local.Port())}
	}
	err = fmt.Errorf("connect to %s port %d (udp) failed: Address family for hostname not supported", p.cfg.host, port)
	for _, addr := range addrs { // connecting a UDP socket only asks for a route
		network := "udp4"
		if addr.Is6() {
			network = "udp6"
		}
		remote := netip.AddrPortFrom(addr, uint16(port))
		conn, dialErr := dialer.DialContext(ctx, network, remote.String())
		if dialErr != nil {
			err = p.connectError(remote, dialErr)
			continue
		}
		defer conn.Close()
		p.log.notef(1, "sending to %s port %d [%s]: nothing is known of a UDP port until it answers", p.target(addr), port, p.cfg.serviceName(port))
		return p.exchange(ctx, conn.(packetConn), peerName(conn.RemoteAddr()))
	}
	return err
}

// exchange runs a dialled datagram conversation to its end.
func (p *purr) exchange(ctx context.Context, conn packetConn, peer string) error {
	if p.cfg.echo {
		return p.echoPackets(ctx, conn)
	}
	s, err := p.newDatagramSession(conn, peer)
	if err != nil {
		return err
	}
	defer s.close()
	restore, err := s.openInput()
	if err != nil {
		return err
	}
	defer restore()
	return s.run(ctx)
}

// newDatagramSession takes conn over. The caller frees the session with close.
func (p *purr) newDatagramSession(conn packetConn, peer string) (*datagramSession, error) {
	a, err := newAlarm()
	if err != nil {
		return nil, err
	}
	socket, err := newPacketSocket(conn, a)
	if err != nil {
		return nil, err
	}
	return &datagramSession{p: p, socket: socket, alarm: a, out: newStdio(p.stdout, a), peer: peer}, nil
}

// listenPackets hears datagrams: without -k those of the first sender, which
// stdin answers; with -k everybody's, and stdin answers the last one.
func (p *purr) listenPackets(ctx context.Context) error {
	conn, err := p.openPackets(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if p.cfg.echo {
		return p.echoPackets(ctx, conn)
	}
	s, err := p.newDatagramSession(conn, "")
	if err != nil {
		return err
	}
	defer s.close()
	if !p.cfg.keep {
		s.socket.hearErrors()
	}
	restore, err := s.openInput()
	if err != nil {
		return err
	}
	defer restore()
	return s.run(ctx)
}

// openInput finds what is sent: stdin, or its lines. The terminal is put back
// by restore.
func (s *datagramSession) openInput() (restore func(), err error) {
	in := newStdio(s.p.stdin, s.alarm)
	if !s.p.hasInput(in.kind) {
		return func() {}, nil
	}
	if s.in = in; !s.p.cfg.interactive && s.p.cfg.quitWord == "" {
		return func() {}, nil
	}
	lines, restore, err := s.p.newLineSource(s.alarm)
	if err != nil {
		return nil, err
	}
	s.in = lines
	if lines.editor != nil {
		s.display = lines.editor
	}
	return restore, nil
}

// openPackets binds the listening socket. The caller closes it.
func (p *purr) openPackets(ctx context.Context) (packetConn, error) {
	config := net.ListenConfig{Control: func(network, addr string, raw syscall.RawConn) error {
		if p.cfg.host == "" && !p.cfg.unix {
			askForDestination(raw)
		}
		return p.cfg.setOptions(network, addr, raw)
	}}
	network, addr := p.cfg.network, p.cfg.path
	name := p.cfg.path
	if p.cfg.unix {
		if err := clearPath(ctx, network, addr); err != nil {
			return nil, fmt.Errorf("bind to %s: %w", name, err)
		}
	} else {
		var err error
		if network, addr, err = p.listenAddr(ctx); err != nil {
			return nil, err
		}
		name = p.listenName(p.cfg.ports[0])
	}
	conn, err := config.ListenPacket(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("bind to %s: %w", name, cause(err))
	}
	if p.cfg.unix {
		p.removeAtExit(p.cfg.path)
		p.log.sayf("Bound on %s", p.cfg.path)
	} else {
		p.saysListening(conn.LocalAddr())
	}
	if err := p.announceReady(conn.LocalAddr()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn.(packetConn), nil
}

// run moves datagrams both ways until the end.
func (s *datagramSession) run(ctx context.Context) error {
	s.touch()
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
	if s.out.kind == kindPipe || s.out.kind == kindFIFO || s.out.kind == kindSocket {
		running++
		go func() { results <- outcome{watching, s.watchStdout()} }()
	}
	why, left, failed := s.wait(ctx, results, first)
	s.alarm.ring()
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
	s.p.log.notef(1, "%s; sent %d datagrams, received %d", why, s.sent.Load(), s.received.Load())
	return failed
}

// wait returns when the run is over: why, how many of the goroutines have
// ended, and the error if it failed.
func (s *datagramSession) wait(ctx context.Context, results <-chan outcome, first <-chan struct{}) (why string, ended int, failed error) {
	sendOpen, begun := s.in != nil, false
	idle := time.NewTimer(s.patience(sendOpen, begun))
	defer idle.Stop()
	var quit <-chan time.Time
	for {
		select {
		case <-first:
			first, begun = nil, true
			idle.Reset(s.patience(sendOpen, begun))
		case o := <-results:
			ended++
			switch {
			case errors.Is(o.err, errReceiveLimit), errors.Is(o.err, errQuitWord):
				return o.err.Error(), ended, nil
			case o.err != nil:
				return "", ended, o.err
			case s.p.cfg.sendOnly:
				return "stdin finished", ended, nil
			case s.p.cfg.quitAfter >= 0:
				quit = time.After(s.p.cfg.quitAfter)
			}
			sendOpen = false
			idle.Reset(s.patience(sendOpen, begun))
		case <-idle.C:
			limit := s.patience(sendOpen, begun)
			left := limit - time.Duration(time.Now().UnixNano()-s.active.Load())
			switch {
			case left <= 0 && s.printing.Load() && s.p.cfg.idleTimeout > 0:
				return "", ended, fmt.Errorf("write to stdout: idle for %v with datagrams not taken", limit)
			case left <= 0 && s.printing.Load():
				left = limit // what has arrived is not lost for a slow reader
			case left <= 0:
				return fmt.Sprintf("idle for %v", limit), ended, nil
			}
			idle.Reset(left)
		case <-quit:
			return fmt.Sprintf("%v after the end of stdin", s.p.cfg.quitAfter), ended, nil
		case <-ctx.Done():
			return "", ended, context.Cause(ctx)
		}
	}
}

// watchStdout notices that the reader of stdout is gone even while nothing
// arrives.
func (s *datagramSession) watchStdout() error {
	if err := s.out.waitBroken(); err != nil {
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
	s.alarm.close()
	s.socket.close()
}

func (s *datagramSession) touch() { s.active.Store(time.Now().UnixNano()) }

// send makes a datagram of each read of stdin: a pipe's write, a terminal's
// line. A listener begins once it knows whom to answer.
func (s *datagramSession) send(first <-chan struct{}) error {
	select {
	case <-first:
	case <-s.alarm.rung:
		return errStopped
	}
	var toPeer io.Writer = datagramWriter{s}
	if s.p.cfg.interval > 0 {
		toPeer = &pacedWriter{Writer: toPeer, pause: func() error {
			s.active.Store(time.Now().Add(s.p.cfg.interval).UnixNano())
			return s.alarm.sleep(s.p.cfg.interval)
		}}
	}
	var filters []filter
	if s.p.cfg.crlf {
		filters = append(filters, newCRLF())
	}
	if s.p.cfg.upper {
		filters = append(filters, upperFilter)
	}
	size := maxDatagram
	if s.p.cfg.crlf {
		size /= 2 // every byte may become two
	}
	if in, ok := s.in.(*stdio); ok {
		in.enlarge()
	}
	w := &bufferWay{dst: toPeer, src: s.in, filters: filters, buf: make([]byte, size)}
	err := pump(w, func(int) error { return nil })
	var move *moveError
	switch {
	case err == nil || errors.Is(err, errQuitWord):
		return err
	case errors.As(err, &move) && move.reading:
		return fmt.Errorf("read from stdin: %w", move)
	}
	return s.sendError(err)
}

// A datagramWriter sends each Write as one datagram to the session's peer.
type datagramWriter struct{ s *datagramSession }

func (w datagramWriter) Write(b []byte) (int, error) {
	if err := w.s.socket.sendToPeer(b); err != nil {
		return 0, err
	}
	w.s.sent.Add(1)
	w.s.touch()
	return len(b), nil
}

// sendError words what the socket said; a refusal is the peer's system
// answering by ICMP that nobody listens.
func (s *datagramSession) sendError(err error) error {
	name := s.peer
	if name == "" {
		name = s.socket.peerName()
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("connect to %s (%s) failed: %s", name, s.p.cfg.network, strerror(err))
	}
	return fmt.Errorf("send to %s: %w", name, cause(err))
}

// receive prints datagrams. An empty one is a message like any other, and
// prints nothing.
func (s *datagramSession) receive(ctx context.Context, first chan struct{}) error {
	b := newBatch(s.p.cfg.network)
	s.out.enlarge()
	if s.p.cfg.acceptTimeout > 0 {
		s.socket.deadline = time.Now().Add(s.p.cfg.acceptTimeout)
	}
	known, warned := s.peer != "", false
	for {
		n, err := s.socket.receive(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && !known:
			return fmt.Errorf("receive on %s: nobody sent anything within %v", s.p.ownName(s.socket), s.p.cfg.acceptTimeout)
		case err != nil:
			return s.receiveError(err)
		}
		if !known {
			known = true
			s.socket.setPeer(b, 0)
			s.socket.deadline = time.Time{}
			s.p.greetSender(ctx, b)
			close(first)
		}
		if s.peer == "" {
			if s.p.cfg.keep {
				s.socket.setPeer(b, n-1)
			} else if kept := s.socket.keepPeer(b, n); kept < n {
				if !warned {
					s.p.log.warnf("a datagram of another sender than %s was ignored: -k hears everybody", s.socket.peerName())
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
func (s *datagramSession) print(b *batch, n int) error {
	if n == 0 {
		return nil
	}
	s.touch()
	reached := false
	if limit := int64(s.p.cfg.receiveLimit); limit > 0 && s.received.Load()+int64(n) >= limit {
		n, reached = int(limit-s.received.Load()), true
	}
	s.received.Add(int64(n))
	if s.p.cfg.upper {
		b.upper(n)
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
			_, err = s.display.Write(b.data(i))
		}
	default:
		err = b.writeTo(s.out, n)
	}
	if err != nil {
		return fmt.Errorf("write to stdout: %w", cause(err))
	}
	if reached {
		return errReceiveLimit
	}
	return nil
}

func (s *datagramSession) receiveError(err error) error {
	switch {
	case isClosedByUs(err):
		return errStopped
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.sendError(err)
	case s.peer != "":
		return fmt.Errorf("receive from %s: %w", s.peer, cause(err))
	}
	return fmt.Errorf("receive on %s: %w", s.p.ownName(s.socket), cause(err))
}

// greetSender prints nc's line about the first sender.
func (p *purr) greetSender(ctx context.Context, b *batch) {
	if p.log.level == 0 {
		return
	}
	if from := b.sender(0); from.IsValid() {
		p.log.sayf("Connection received on %s %d", p.cfg.hostName(ctx, from.Addr()), from.Port())
		return
	}
	p.log.sayf("Connection received on %s", p.cfg.path)
}

// ownName names a socket that receives in messages: a listener by its own
// address, a dialer by its peer's.
func (p *purr) ownName(s *packetSocket) string {
	if s.remote != nil {
		return peerName(s.remote)
	}
	if p.cfg.unix {
		return p.cfg.path
	}
	return p.listenName(int(addrPort(s.local).Port()))
}

// dialUnixgram talks to a Unix datagram socket. To get replies it needs a name
// of its own: -s PATH, or one that is made for this run.
func (p *purr) dialUnixgram(ctx context.Context) error {
	own := p.cfg.source
	if own == "" {
		own = temporarySocketName()
	}
	if err := clearPath(ctx, "unixgram", own); err != nil {
		return fmt.Errorf("bind to %s: %w", own, err)
	}
	dialer := net.Dialer{Control: p.cfg.setOptions, LocalAddr: &net.UnixAddr{Name: own, Net: "unixgram"}}
	conn, err := dialer.DialContext(ctx, "unixgram", p.cfg.path)
	if err != nil {
		_ = clearPath(ctx, "unixgram", own)
		return fmt.Errorf("connect to %s failed: %s", p.cfg.path, strerror(err))
	}
	defer conn.Close()
	p.removeAtExit(own)
	return p.exchange(ctx, conn.(packetConn), p.cfg.path)
}
