package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"purr/internal/payload"
	"slices"
	"strings"
	"time"
)

// A probeState is what is known of a UDP port after asking. The words are stable: scripts and --json use them.
type probeState string

const (
	probeOpen     probeState = "open"        // it answered
	probeClosed   probeState = "closed"      // the target itself said "port unreachable"
	probeFiltered probeState = "filtered"    // somebody sent any other ICMP error
	probeSilent   probeState = "no-answer"   // open and silent, or dropped on the way: nobody can tell
	probeFailed   probeState = "local-error" // nothing left this machine
)

const (
	probeLargest    = 65535                  // bytes of a datagram
	probeMostEvents = 256                    // errors kept between two calls of receive
	probeMostStamps = 4096                   // datagrams whose time of sending is known
	probeGrace      = 500 * time.Millisecond // how long a reply that is not what was hoped for leaves for a better one
)

// probeSchedule is when the datagrams of a single port leave, and probeWait when it is given up. Linux routers report a
// host that does not answer ARP after 3.07 s.
var probeSchedule = []time.Duration{0, 500 * time.Millisecond, 1500 * time.Millisecond}

const probeWait = 4 * time.Second

// lateRead is how late a process can be without having been held up, and how long one that was reads once more: Go reads
// nothing after a deadline, though an answer may have come in time.
const lateRead = time.Millisecond

// probeOptions says how to probe. The zero value probes a single port with what fits its number.
type probeOptions struct {
	payload payload.Choice
	expect  payload.Expect
	secret  []byte          // from --secret-file
	source  netip.AddrPort  // bound to if valid
	sends   []time.Duration // when to send, from the first; nil: probeSchedule
	wait    time.Duration   // when to give up, from the first; 0: probeWait
	// pace is called before each datagram and returns when it may leave. It may be nil.
	pace func(context.Context) error
}

// probeICMP is an ICMP or ICMPv6 error and who sent it.
type probeICMP struct {
	Type int        `json:"type"`
	Code int        `json:"code"`
	From netip.Addr `json:"from"`
	v6   bool
}

// probeResult is the outcome for one port.
type probeResult struct {
	host    string // as the user wrote it; may be empty
	target  netip.AddrPort
	state   probeState
	payload string        // what was answered, or else what was sent, joined by "+"
	sent    int           // datagrams
	rtt     time.Duration // from the datagram that was answered; 0 without answer or error
	kernel  bool          // rtt was measured by the kernel
	waited  time.Duration // from the first datagram to the verdict
	icmp    *probeICMP    // nil for closed on systems that do not tell who said so
	request []byte        // what reply answers
	reply   []byte
	from    netip.AddrPort // where reply came from
	fact    string         // the one thing worth knowing about the answer; printable
	wrong   bool           // it answered, but not as --expect said
	silent  string         // why no answer was to be hoped for
	err     error          // of local-error
}

// status returns the exit status for this port alone.
func (r *probeResult) status() int {
	switch {
	case r.state == probeOpen && r.wrong:
		return 5
	case r.state == probeOpen:
		return 0
	case r.state == probeFiltered:
		return 4
	case r.state == probeSilent:
		return 3
	}
	return 1
}

// probeStatus returns the exit status for several ports: the highest; with any, 0 if at least one is open. For no results at
// all it is 1.
func probeStatus(results []probeResult, any bool) int {
	highest := 0
	if len(results) == 0 {
		highest = 1
	}
	for i := range results {
		status := results[i].status()
		if any && status == 0 {
			return 0
		}
		highest = max(highest, status)
	}
	return highest
}

// probeEvent is something that a probe socket received: a datagram, or an error about one.
type probeEvent struct {
	user    time.Time // when we saw it
	kernel  time.Time // when the kernel did; may be zero
	data    []byte
	from    netip.AddrPort // valid for a datagram
	icmp    *probeICMP
	quoted  []byte // the beginning of our datagram that icmp is about; may be empty
	refused bool   // port unreachable, and nothing more is known
	err     error
}

// probeClock knows when the last probeMostStamps datagrams left.
type probeClock struct {
	next         uint32
	user, kernel map[uint32]time.Time
}

// sending notes that the next datagram is about to leave and returns its number.
func (c *probeClock) sending() uint32 {
	if c.user == nil {
		c.user, c.kernel = map[uint32]time.Time{}, map[uint32]time.Time{}
	}
	n := c.next
	c.next++
	c.user[n] = time.Now()
	delete(c.user, n-probeMostStamps)
	delete(c.kernel, n-probeMostStamps)
	return n
}

// left notes the kernel's time stamp of a datagram.
func (c *probeClock) left(n uint32, at time.Time) {
	if _, known := c.user[n]; known && !at.IsZero() {
		c.kernel[n] = at
	}
}

// between returns the times from datagram n to e on one clock, and whether that is the kernel's. Both zero: n is not known.
// The kernel's stamps are not used where they contradict our own clock, which brackets them.
func (c *probeClock) between(n uint32, e *probeEvent) (sent, received time.Time, kernel bool) {
	const slack = time.Millisecond // the two clocks are read at different moments
	sent = c.user[n]
	if sent.IsZero() {
		return sent, sent, false
	}
	k := c.kernel[n]
	if d := e.kernel.Sub(k); !k.IsZero() && !e.kernel.IsZero() && d >= 0 && d <= e.user.Sub(sent)+slack {
		return k, e.kernel, true
	}
	return sent, e.user, false
}

// probeUnmap returns a with an IPv4 address instead of one mapped into IPv6.
func probeUnmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// probeLoopback replaces the unspecified address, which means this machine, so that answers come from where we ask.
func probeLoopback(a netip.AddrPort) netip.AddrPort {
	a = probeUnmap(a)
	switch a.Addr() {
	case netip.IPv4Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	case netip.IPv6Unspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
	}
	return a
}

// probeRun is one port being probed.
type probeRun struct {
	o      *probeOptions
	sock   *probeSocket
	to     payload.Target
	tries  []*payload.Payload
	loose  bool // the port is not one the table knows: any reply is as good as one to a try
	sent   []probeSent
	first  time.Time // when the first datagram left
	giveUp time.Time
	held   bool // res holds a reply, and a better one is waited for until giveUp
	res    probeResult
}

// probeSent is a datagram that was sent.
type probeSent struct {
	payload *payload.Payload
	request []byte
	number  uint32
}

// probeUDP asks one port and returns what is known of it. It takes as long as o.wait when nobody says anything, and
// less as soon as somebody does. A cancelled ctx ends it as a local error.
func probeUDP(ctx context.Context, host string, target netip.AddrPort, o *probeOptions) probeResult {
	target = probeLoopback(target)
	r := &probeRun{o: o, res: probeResult{host: host, target: target, state: probeSilent}}
	r.tries, r.loose = o.payload.Payloads(target.Port(), &o.expect, len(o.secret) > 0)
	if host == "" {
		host = target.Addr().String()
	}
	r.to = payload.Target{Host: host, Addr: target}
	var err error
	if r.sock, err = openProbeSocket(target, o.source); err != nil {
		return r.failed(err)
	}
	defer r.sock.close()
	stop := context.AfterFunc(ctx, r.sock.wake)
	defer stop()
	if err := r.run(ctx); err != nil {
		return r.failed(err)
	}
	r.finish()
	return r.res
}

// failed returns the result of an error on this machine.
func (r *probeRun) failed(err error) probeResult {
	r.res.state, r.res.err = probeFailed, err
	r.finish()
	return r.res
}

// finish fills in what the result says in every state.
func (r *probeRun) finish() {
	r.res.sent = len(r.sent)
	if r.res.payload == "" {
		r.res.payload = r.asked()
	}
	if !r.first.IsZero() {
		r.res.waited = time.Since(r.first)
	}
	if r.res.state == probeSilent && len(r.tries) > 0 {
		if r.res.silent = r.tries[0].Silent; r.res.silent != "" && r.tries[0].NeedsSecret {
			r.res.silent += ": give it with --secret-file"
		}
	}
}

// asked names what was sent, or would have been.
func (r *probeRun) asked() string {
	var names []string
	for _, s := range r.sent {
		if !slices.Contains(names, s.payload.Name) {
			names = append(names, s.payload.Name)
		}
	}
	if len(names) == 0 && len(r.tries) > 0 {
		names = []string{r.tries[0].Name}
	}
	return strings.Join(names, "+")
}

// run sends and receives until the verdict is in r.res.
func (r *probeRun) run(ctx context.Context) error {
	sends, wait := r.o.sends, r.o.wait
	if sends == nil {
		sends = probeSchedule
	}
	if wait == 0 {
		wait = probeWait
	}
	for asked := 0; ; {
		now := time.Now()
		if asked < len(sends) && !r.held && (asked == 0 || !now.Before(r.first.Add(sends[asked]))) {
			if r.o.pace != nil {
				if err := r.o.pace(ctx); err != nil {
					return err
				}
			}
			if asked == 0 {
				r.first = time.Now()
				r.giveUp = r.first.Add(wait)
			}
			if err := r.ask(r.tries[asked%len(r.tries)]); err != nil {
				return err
			}
			asked++
		}
		deadline := r.giveUp
		if asked < len(sends) && !r.held {
			if next := r.first.Add(sends[asked]); next.Before(deadline) {
				deadline = next
			}
		}
		e, err := r.sock.receive(deadline, ctx.Err)
		switch {
		case err == nil:
			if done, err := r.event(&e); done || err != nil {
				return err
			}
		case !probeTimedOut(err) || ctx.Err() != nil:
			return err
		}
		if !time.Now().Before(r.giveUp) {
			return nil
		}
	}
}

// ask sends a fresh request.
func (r *probeRun) ask(p *payload.Payload) error {
	request := []byte{}
	if p.Build != nil {
		to := r.to
		if r.o.payload.GetsSecret(p) {
			to.Secret = r.o.secret
		}
		if p.NeedsLocal {
			to.Local = r.local()
		}
		request = p.Build(&to)
	}
	number, err := r.sock.send(request)
	if err != nil {
		return err
	}
	r.sent = append(r.sent, probeSent{p, request, number})
	return nil
}

// local returns our address on the way to the target, with the port that answers come back to.
func (r *probeRun) local() netip.AddrPort {
	bound := r.sock.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if !bound.Addr().IsUnspecified() {
		return probeUnmap(bound)
	}
	// Connecting a UDP socket chooses the source address and sends nothing.
	way, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.to.Addr))
	if err != nil {
		return bound
	}
	defer way.Close()
	return netip.AddrPortFrom(way.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone(""), bound.Port())
}

// event takes in what the socket received and says whether that settles it.
func (r *probeRun) event(e *probeEvent) (done bool, err error) {
	switch {
	case e.icmp != nil:
		if r.held || e.icmp.tooBig() { // the kernel has learnt the size, and the next datagram is cut to it
			return false, nil
		}
		r.res.state, r.res.icmp = probeFiltered, e.icmp
		if e.icmp.closes(r.to.Addr.Addr()) {
			r.res.state = probeClosed
		}
		r.timed(r.quoted(e.quoted), e)
		return true, nil
	case e.refused:
		r.res.state = probeClosed
		r.timed(len(r.sent)-1, e)
		return true, nil
	case e.err != nil:
		return false, fmt.Errorf("send: %w", e.err)
	}
	multicast := r.to.Addr.Addr().IsMulticast() || r.to.Addr.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if !multicast && e.from.Addr().WithZone("") != r.to.Addr.Addr().WithZone("") {
		return false, nil // not from whom we asked
	}
	return r.reply(e)
}

// quoted returns which of the requests an ICMP error is about: it quotes the beginning. If it quotes too little, the last.
func (r *probeRun) quoted(b []byte) int {
	for i := len(r.sent) - 1; i >= 0 && len(b) > 0; i-- {
		n := min(len(b), len(r.sent[i].request))
		if n > 0 && string(b[:n]) == string(r.sent[i].request[:n]) {
			return i
		}
	}
	return len(r.sent) - 1
}

// timed sets the round trip time from request i to e.
func (r *probeRun) timed(i int, e *probeEvent) {
	if i >= 0 && i < len(r.sent) {
		sent, received, kernel := r.sock.clock.between(r.sent[i].number, e)
		r.res.rtt, r.res.kernel = received.Sub(sent), kernel
	}
}

// reply takes a datagram from the target: the answer to one of the requests, or else something that is kept in case
// nothing better comes.
func (r *probeRun) reply(e *probeEvent) (done bool, err error) {
	for i := len(r.sent) - 1; i >= 0; i-- {
		s := &r.sent[i]
		sent, received, _ := r.sock.clock.between(s.number, e)
		x := &payload.Exchange{Request: s.request, Reply: e.data, Sent: sent, Received: received, Secret: r.o.secret}
		if s.payload.Match == nil {
			continue
		}
		answer, ok := s.payload.Match(x)
		if !ok {
			continue
		}
		again := r.held && r.res.payload == s.payload.Name && !r.res.wrong
		if !again {
			r.timed(i, e)
		}
		r.take(e, s.payload.Name, answer.Fact, x, r.o.expect.Holds(x))
		if answer.Next == nil {
			return r.settled(), nil
		}
		number, err := r.sock.sendTo(answer.Next, e.from)
		if err != nil || answer.Final {
			return r.settled(), nil // the answer stands, whatever became of our good-bye
		}
		r.sent = append(r.sent, probeSent{s.payload, answer.Next, number})
		r.hold(2 * probeGrace)
		return false, nil
	}
	if r.held {
		return false, nil // what is held is at least as good
	}
	if e.from.Port() != r.to.Addr.Port() && !r.loose && !r.o.payload.Custom() {
		return false, nil
	}
	last := &r.sent[len(r.sent)-1]
	x := &payload.Exchange{Request: last.request, Reply: e.data, Secret: r.o.secret}
	fact := fmt.Sprintf("%d bytes %s", len(e.data), payload.Quote(e.data, 40))
	known := last.payload.Match != nil && !r.loose
	if last.payload.Match != nil {
		fact = fmt.Sprintf("%d bytes, not %s: %s", len(e.data), r.asked(), payload.Quote(e.data, 40))
	}
	r.timed(len(r.sent)-1, e)
	r.take(e, "", fact, x, r.o.expect.Holds(x))
	if known && !r.o.expect.Given() {
		r.hold(probeGrace)
		return false, nil
	}
	return r.settled(), nil
}

// take puts a reply into the result.
func (r *probeRun) take(e *probeEvent, name, fact string, x *payload.Exchange, expected bool) {
	r.res.state, r.res.payload, r.res.fact, r.res.wrong = probeOpen, name, fact, !expected
	r.res.request, r.res.reply, r.res.from = x.Request, append([]byte(nil), e.data...), e.from
}

// settled says whether the reply in hand ends the probe. One that is not as expected is held for a while: a better one
// may follow.
func (r *probeRun) settled() bool {
	if !r.res.wrong {
		return true
	}
	if !r.held {
		r.hold(probeGrace)
	}
	return false
}

// hold keeps the reply in hand for d at most, and sends no more.
func (r *probeRun) hold(d time.Duration) {
	r.held = true
	if until := time.Now().Add(d); until.Before(r.giveUp) {
		r.giveUp = until
	}
}
