package scan

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"purr/internal/payload"
)

// defaultSends are the times of the requests to a port, from the first one.
// They end long before DefaultUDPWait, because Linux routers report a host that
// does not answer ARP after 3.07 s.
var defaultSends = []time.Duration{0, 500 * time.Millisecond, 1500 * time.Millisecond}

// replyGrace is the time in which a better reply may follow one that does not
// match, or is not as expected.
const replyGrace = 500 * time.Millisecond

// A requester builds requests to one target and sends them.
type requester struct {
	sock   *socket
	to     payload.Target
	choice *payload.Choice
	secret []byte
}

// A request is a datagram that was sent.
type request struct {
	payload *payload.Payload
	bytes   []byte
	number  uint32 // for the socket's clock
}

// newRequester returns a requester with an open socket. The caller closes the
// socket.
func newRequester(ctx context.Context, target Target, source netip.AddrPort, choice *payload.Choice, secret []byte) (*requester, error) {
	sock, err := openSocket(ctx, target.Addr, source)
	if err != nil {
		return nil, err
	}
	to := payload.Target{Host: target.name(), Addr: target.Addr}
	return &requester{sock: sock, to: to, choice: choice, secret: secret}, nil
}

// send builds a fresh request of the payload p and sends it to the target. The
// secret is passed to p only if the choice permits it.
func (r *requester) send(p *payload.Payload) (request, error) {
	b := []byte{}
	if p.Build != nil {
		to := r.to
		if r.choice.GetsSecret(p) {
			to.Secret = r.secret
		}
		if p.NeedsLocal {
			to.Local = r.local()
		}
		b = p.Build(&to)
	}
	return r.sendBytes(p, b, r.to.Addr)
}

// sendBytes sends the datagram b to an address, and returns it as a request of
// the payload p.
func (r *requester) sendBytes(p *payload.Payload, b []byte, to netip.AddrPort) (request, error) {
	number, err := r.sock.sendTo(b, to)
	return request{p, b, number}, err
}

// local returns the source address of datagrams to the target, with the port
// that receives the answers.
func (r *requester) local() netip.AddrPort {
	bound := r.sock.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if !bound.Addr().IsUnspecified() {
		return unmap(bound)
	}
	// Connecting a UDP socket chooses the source address and sends nothing.
	route, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.to.Addr))
	if err != nil {
		return bound
	}
	defer route.Close()
	return netip.AddrPortFrom(route.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone(""), bound.Port())
}

// exchange returns the request sent and the datagram e, with their times, for
// the matcher of a payload. kernel reports whether both times are the kernel's.
func (r *requester) exchange(sent *request, e *event) (x *payload.Exchange, kernel bool) {
	x = &payload.Exchange{Request: sent.bytes, Reply: e.data, Secret: r.secret}
	x.Sent, x.Received, kernel = r.sock.clock.between(sent.number, e)
	return x, kernel
}

// quotes reports whether quoted, the part of a datagram in an ICMP error, is
// the beginning of the request. It may have any length but 0.
func (s *request) quotes(quoted []byte) bool {
	n := min(len(quoted), len(s.bytes))
	return n > 0 && string(quoted[:n]) == string(s.bytes[:n])
}

// A probe asks one port.
type probe struct {
	*requester
	o        *UDPOptions
	payloads []*payload.Payload
	loose    bool // any reply is as good as a match
	sent     []request
	first    time.Time // when the first request left
	giveUp   time.Time
	held     bool // the result has a reply, and giveUp is for a better one
	res      Result
}

// probePort asks one port and returns its result. It takes o.Wait if nothing
// arrives, and less as soon as the state is known. The pacer delays each
// request; it may be nil. The end of ctx is a local error.
func probePort(ctx context.Context, target Target, o *UDPOptions, pace *pacer) *Result {
	target.Addr = loopback(target.Addr)
	p := &probe{o: o, res: Result{Target: target, State: NoAnswer, UDP: &Probe{}}}
	p.payloads, p.loose = o.Payload.Payloads(target.Addr.Port(), &o.Expect, len(o.Secret) > 0)
	err := p.run(ctx, pace)
	if err != nil {
		p.res.State, p.res.Err = LocalError, err
	}
	p.complete()
	res := p.res // a pointer into the probe would keep its requests and buffers
	return &res
}

// complete fills in the fields that every result has.
func (p *probe) complete() {
	d := p.res.UDP
	d.Sent = len(p.sent)
	if d.Payload == "" {
		d.Payload = p.asked()
	}
	if !p.first.IsZero() {
		d.Waited = time.Since(p.first)
	}
	if silent := p.payloads[0]; p.res.State == NoAnswer && silent.Silent != "" {
		d.Silent, d.NeedsSecret = silent.Silent, silent.NeedsSecret
	}
}

// asked returns the names of the payloads that were sent, joined by "+"; the
// first one to send if none was.
func (p *probe) asked() string {
	var names []string
	for _, s := range p.sent {
		if !slices.Contains(names, s.payload.Name) {
			names = append(names, s.payload.Name)
		}
	}
	if len(names) == 0 {
		names = []string{p.payloads[0].Name}
	}
	return strings.Join(names, "+")
}

// run sends and receives until the state is known or the time is over. An error
// means that this machine could not ask.
func (p *probe) run(ctx context.Context, pace *pacer) (err error) {
	p.requester, err = newRequester(ctx, p.res.Target, p.o.Source, &p.o.Payload, p.o.Secret)
	if err != nil {
		return err
	}
	defer p.sock.close()
	sends, wait := p.o.Sends, p.o.Wait
	if len(sends) == 0 {
		sends = defaultSends
	}
	if wait == 0 {
		wait = DefaultUDPWait
	}
	for asked := 0; ; {
		if asked == 0 || p.mayAsk(sends[asked:]) && !time.Now().Before(p.first.Add(sends[asked])) {
			if err := pace.wait(ctx); err != nil {
				return err
			}
			if asked == 0 {
				p.first = time.Now()
				p.giveUp = p.first.Add(wait)
			}
			sent, err := p.send(p.payloads[asked%len(p.payloads)])
			if err != nil {
				return err
			}
			p.sent = append(p.sent, sent)
			asked++
		}
		deadline := p.giveUp
		if p.mayAsk(sends[asked:]) {
			if next := p.first.Add(sends[asked]); next.Before(deadline) {
				deadline = next
			}
		}
		e, err := p.sock.receive(ctx, deadline)
		switch {
		case err == nil:
			if done, err := p.event(&e); done || err != nil {
				return err
			}
		case !timedOut(err):
			return err
		}
		if !time.Now().Before(p.giveUp) {
			return nil
		}
	}
}

// mayAsk reports whether another request is to be sent: left, the times of the
// remaining requests, is not empty, and no reply is held.
func (p *probe) mayAsk(left []time.Duration) bool { return len(left) > 0 && !p.held }

// event handles an event of the socket. done reports whether the state is
// known. An error is that of sending a request.
func (p *probe) event(e *event) (done bool, err error) {
	target := p.to.Addr.Addr()
	state, failed := e.state(target)
	switch {
	case failed && p.held: // a reply has come, so the port is open
		return false, nil
	case failed:
		p.res.State, p.res.ICMP = state, e.icmp
		p.timed(p.quoted(e.quoted), e)
		return true, nil
	case e.err != nil:
		return false, fmt.Errorf("send: %w", e.err)
	case !e.from.IsValid():
		return false, nil
	}
	multicast := target.IsMulticast() || target == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if !multicast && e.from.Addr().WithZone("") != target.WithZone("") {
		return false, nil // not an answer
	}
	for i := len(p.sent) - 1; i >= 0; i-- {
		if answer, ok := p.match(i, e); ok {
			return p.answered(i, e, answer), nil
		}
	}
	return p.other(e), nil
}

// quoted returns the request that an ICMP error is about. If its quotation b
// begins none of the requests, or is empty, that is the last one.
func (p *probe) quoted(b []byte) *request {
	for i := len(p.sent) - 1; i >= 0; i-- {
		if p.sent[i].quotes(b) {
			return &p.sent[i]
		}
	}
	return &p.sent[len(p.sent)-1]
}

// timed sets the round trip time of the result, from the request s to e.
func (p *probe) timed(s *request, e *event) {
	sent, received, kernel := p.sock.clock.between(s.number, e)
	p.res.RTT, p.res.UDP.KernelRTT = received.Sub(sent), kernel
}

// match reports whether a datagram from the target answers request i.
func (p *probe) match(i int, e *event) (payload.Answer, bool) {
	s := &p.sent[i]
	if s.payload.Match == nil {
		return payload.Answer{}, false
	}
	x, _ := p.exchange(s, e)
	return s.payload.Match(x)
}

// answered makes the datagram e, which answers request i, the result. If the
// answer asks for a follow-up (answer.Next), answered sends it. done is false
// if the probe is to wait: for the answer to the follow-up, or for a reply as
// expected. An answer to a follow-up keeps the round trip time of the first
// answer.
func (p *probe) answered(i int, e *event, answer payload.Answer) (done bool) {
	s, d := p.sent[i], p.res.UDP
	again := p.held && d.Payload == s.payload.Name && !d.Unexpected
	if !again { // the answer to a follow-up keeps the first round trip time
		p.timed(&s, e)
	}
	p.record(&s, e, s.payload.Name, answer.Fact)
	if answer.Next == nil {
		return p.settled()
	}
	next, err := p.sendBytes(s.payload, answer.Next, e.from)
	if err != nil || answer.Final {
		return p.settled() // the answer stands even if the follow-up fails
	}
	p.sent = append(p.sent, next)
	p.hold(2 * replyGrace)
	return false
}

// other handles a datagram from the target that matches no request. done
// reports whether it ends the probe. It is ignored if a reply is held, or if it
// comes from another port although the service is known. Otherwise it becomes
// the result, and is held if a better reply may follow.
func (p *probe) other(e *event) (done bool) {
	if p.held {
		return false // the reply in hand is at least as good
	}
	if e.from.Port() != p.to.Addr.Port() && !p.loose && !p.o.Payload.Custom() {
		return false
	}
	last := &p.sent[len(p.sent)-1]
	size, text := len(e.data), payload.Quote(e.data, 40)
	fact := fmt.Sprintf("%d bytes %s", size, text)
	if last.payload.Match != nil {
		fact = fmt.Sprintf("%d bytes, not %s: %s", size, p.asked(), text)
	}
	p.timed(last, e)
	p.record(last, e, "", fact)
	if last.payload.Match != nil && !p.loose && !p.o.Expect.Given() {
		p.hold(replyGrace)
		return false
	}
	return p.settled()
}

// record makes the datagram e, a reply to s, the result: the port is open. name
// is the payload that matches, "" if none does; fact describes the reply.
func (p *probe) record(s *request, e *event, name, fact string) {
	p.res.State, p.res.Reply = Open, append([]byte(nil), e.data...)
	x, _ := p.exchange(s, e)
	d := p.res.UDP
	d.Payload, d.Fact, d.Unexpected = name, fact, !p.o.Expect.Holds(x)
	d.Request, d.From = s.bytes, e.from
}

// settled reports whether the reply that was recorded ends the probe. A reply
// that is not as expected does not: it is held, as a better one may follow.
func (p *probe) settled() bool {
	if p.res.UDP.Unexpected && !p.held {
		p.hold(replyGrace)
	}
	return !p.res.UDP.Unexpected
}

// hold makes run wait for a better reply than the one that was recorded: for at
// most d, and not beyond the time of the probe. If none comes, the recorded one
// stays the result. No more requests are sent.
func (p *probe) hold(d time.Duration) {
	p.held = true
	if until := time.Now().Add(d); until.Before(p.giveUp) {
		p.giveUp = until
	}
}
