package scan

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"purr/internal/payload"
)

// PingOptions are the options of Ping. The zero value is ready to use.
type PingOptions struct {
	Payload payload.Choice // of several payloads the first is sent
	Secret  []byte         // of the services that need one
	Source  netip.AddrPort // bound to if valid

	Count    int           // requests; 0: until ctx ends
	Interval time.Duration // between requests; 0: 1 s
	Wait     time.Duration // for an answer; 0: DefaultUDPWait
}

// A PingKind is the fate of a request.
type PingKind string

const (
	PingAnswer    PingKind = "answer"    // in time
	PingDuplicate PingKind = "duplicate" // a further answer
	PingLate      PingKind = "late"      // after PingOptions.Wait; the request counts as lost
	PingRejected  PingKind = "rejected"  // by ICMP
)

// A PingEvent is an answer to a request or an error about one.
type PingEvent struct {
	Kind      PingKind
	Seq       int // of the request, from 1
	RTT       time.Duration
	KernelRTT bool   // RTT was measured by the kernel
	Reordered bool   // a later request was answered before (RFC 4737 3.3)
	Fact      string // one line of printable ASCII about the answer; may be empty
	State     State  // of PingRejected: Closed or Filtered
	ICMP      *ICMP  // of PingRejected; nil if the system does not report it
}

// pingWindow is the number of requests remembered, for late and duplicate
// answers.
const pingWindow = 1024

// A pingRequest is a request that may still be answered.
type pingRequest struct {
	request
	seq      int
	at       time.Time
	answered bool
}

// A ping is one call of Ping.
type ping struct {
	*requester
	o       *PingOptions
	payload *payload.Payload
	session string
	sent    []pingRequest // the last pingWindow, oldest first
	stats   PingStats
	each    func(*PingEvent)
}

// Ping sends requests at a fixed interval and calls each with the answers and
// errors as they arrive. It returns when all requests are answered, or when
// PingOptions.Wait has passed since the last one, or when ctx ends.
func Ping(ctx context.Context, target Target, o PingOptions, each func(*PingEvent)) PingStats {
	target.Addr = loopback(target.Addr)
	o.Interval, o.Wait = cmp.Or(o.Interval, time.Second), cmp.Or(o.Wait, DefaultUDPWait)
	payloads, _ := o.Payload.Payloads(target.Addr.Port(), &payload.Expect{}, len(o.Secret) > 0)
	p := &ping{o: &o, each: each, session: payload.NewPingSession(), payload: payloads[0]}
	p.stats.Addr, p.stats.Payload = target.Addr, p.payload.Name
	var err error
	if p.requester, err = newRequester(ctx, target, o.Source, &o.Payload, o.Secret); err != nil {
		p.stats.Err = err
		return p.stats
	}
	defer p.sock.close()
	if err := p.run(ctx); ctx.Err() == nil {
		p.stats.Err = err
	}
	return p.stats
}

// Answering returns the address to ping: of several the first that answers one
// datagram within a second, or the first of all if none does. Only the payload,
// the secret and the source of o count.
func Answering(ctx context.Context, host string, addrs []netip.Addr, port uint16, o UDPOptions) netip.Addr {
	o.Sends, o.Wait = []time.Duration{0}, time.Second
	for _, addr := range addrs {
		if len(addrs) == 1 {
			break
		}
		target := Target{Host: host, Addr: netip.AddrPortFrom(addr.Unmap(), port)}
		answered := false
		UDP(ctx, []Target{target}, o, func(r *Result) { answered = r.State == Open })
		if answered {
			return addr.Unmap()
		}
	}
	return addrs[0].Unmap()
}

// run sends and receives until all requests are answered or lost.
func (p *ping) run(ctx context.Context) error {
	start := time.Now()
	for {
		more := p.o.Count == 0 || p.stats.Sent < p.o.Count
		// Counted from the start, so that delays do not add up.
		next := start.Add(time.Duration(p.stats.Sent) * p.o.Interval)
		if more && !time.Now().Before(next) {
			if err := p.ask(); err != nil {
				return err
			}
			continue
		}
		if !more {
			if p.stats.Answered+p.stats.Late >= p.stats.Sent {
				return nil
			}
			next = p.sent[len(p.sent)-1].at.Add(p.o.Wait)
		}
		e, err := p.sock.receive(ctx, next)
		switch {
		case err == nil:
			p.event(&e)
		case !timedOut(err):
			return err
		case !more:
			return nil
		}
	}
}

// ask sends the next request and remembers it for its answer.
func (p *ping) ask() error {
	seq := p.stats.Sent + 1
	var sent request
	var err error
	if p.payload.Name == "echo" {
		sent, err = p.sendBytes(p.payload, payload.NewPing(p.session, uint32(seq)), p.to.Addr)
	} else {
		sent, err = p.send(p.payload)
	}
	if err != nil {
		return err
	}
	p.stats.Sent = seq
	if len(p.sent) == pingWindow {
		p.sent = slices.Delete(p.sent, 0, 1)
	}
	p.sent = append(p.sent, pingRequest{request: sent, seq: seq, at: time.Now()})
	return nil
}

// event handles an answer of the target or an ICMP error. Anything else is
// ignored.
func (p *ping) event(e *event) {
	target := p.to.Addr.Addr()
	if state, failed := e.state(target); failed {
		sent := p.quoted(e.quoted)
		left, arrived, kernel := p.sock.clock.between(sent.number, e)
		p.stats.Rejected++
		p.stats.Verdict = state
		p.each(&PingEvent{Kind: PingRejected, Seq: sent.seq, RTT: arrived.Sub(left), KernelRTT: kernel, ICMP: e.icmp, State: state})
		return
	}
	if e.from.IsValid() && e.from.Addr().WithZone("") == target.WithZone("") {
		p.reply(e)
	}
}

// quoted returns the request that an ICMP error is about. If its quotation b
// begins none of the requests, or is empty, that is the last one.
func (p *ping) quoted(b []byte) *pingRequest {
	for i := len(p.sent) - 1; i >= 0; i-- {
		if p.sent[i].quotes(b) {
			return &p.sent[i]
		}
	}
	return &p.sent[len(p.sent)-1]
}

// reply finds the request that the datagram e answers and counts the answer. A
// datagram that answers none is ignored. For a payload without a matcher, it is
// the oldest request that still waits for its answer.
func (p *ping) reply(e *event) {
	for i := len(p.sent) - 1; i >= 0; i-- {
		s := &p.sent[i]
		x, kernel := p.exchange(&s.request, e)
		var answer payload.Answer
		if s.payload.Match != nil {
			var ok bool
			if answer, ok = s.payload.Match(x); !ok {
				continue
			}
		} else if s.answered || i > 0 && !p.sent[i-1].answered && x.Received.Sub(p.sent[i-1].at) < p.o.Wait {
			continue
		}
		p.answered(s, &PingEvent{Kind: PingAnswer, Seq: s.seq, RTT: x.Received.Sub(x.Sent), KernelRTT: kernel, Fact: answer.Fact}, e.data)
		return
	}
}

// answered counts the answer data to s as in time, late or duplicate, completes
// e accordingly and passes it to each.
func (p *ping) answered(s *pingRequest, e *PingEvent, data []byte) {
	st := &p.stats
	switch {
	case s.answered:
		e.Kind = PingDuplicate
		st.Duplicate++
	case e.RTT > p.o.Wait:
		e.Kind = PingLate
		st.Late++
	default:
		st.add(e.RTT)
		st.UserClock = st.UserClock || !e.KernelRTT
	}
	s.answered = true
	if e.Kind != PingDuplicate {
		if s.seq < st.highest {
			e.Reordered = true
			st.Reordered++
		}
		if count, ok := payload.PingCount(data); ok && count > 0 {
			st.count(s.seq, int(count))
		}
	}
	st.highest = max(st.highest, s.seq)
	p.each(e)
}
