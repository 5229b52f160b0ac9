package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/netip"
	"purr/internal/payload"
	"slices"
	"time"
)

const (
	pingWindow   = 1024   // requests remembered, for late and duplicate answers
	pingMostRTTs = 100000 // round trip times kept for percentiles: the last ones
)

// pingOptions says how to ping.
type pingOptions struct {
	probeOptions
	count    int           // requests; 0: until ctx ends
	interval time.Duration // between requests; 0: 1 s
}

// A pingKind is what became of a request.
type pingKind string

const (
	pingAnswer    pingKind = "answer"
	pingDuplicate pingKind = "duplicate" // answered before
	pingLate      pingKind = "late"      // after the time to wait; counts as lost
	pingRejected  pingKind = "rejected"  // by ICMP
)

// pingEvent is one line of a ping.
type pingEvent struct {
	kind      pingKind
	seq       int // from 1
	rtt       time.Duration
	kernel    bool
	reordered bool // a later request was answered before
	fact      string
	icmp      *probeICMP
	state     probeState // closed or filtered, of pingRejected
}

// pingStats are the sums of a ping.
type pingStats struct {
	target                               netip.AddrPort
	payload                              string
	sent, answered                       int
	duplicate, late, reordered, rejected int
	min, max, jitter                     time.Duration
	mean, squares                        float64 // of the round trip times in ns, and the sum of squared distances (Welford)
	rtts                                 []time.Duration
	user                                 bool // not every time is the kernel's
	counted                              bool // the far end counts: there and back mean something
	recounted                            bool // it has begun anew meanwhile: they do not
	countHighest, countSeq               int
	last                                 time.Duration // the previous round trip time
	highest                              int
	verdict                              probeState // what the last ICMP said, without any answer
	err                                  error      // why it ended early
}

// lost returns the share of requests without an answer in time, 0 to 1. What is still under way counts as lost.
func (s *pingStats) lost() float64 {
	if s.sent == 0 {
		return 0
	}
	return float64(s.sent-s.answered) / float64(s.sent)
}

// directions returns how many requests were lost on the way there and how many answers on the way back, of the requests
// up to the last answered one. What was lost after that is of neither: nobody counted it.
func (s *pingStats) directions() (of, there, back int, known bool) {
	if !s.counted || s.recounted {
		return 0, 0, 0, false
	}
	return s.countSeq, max(0, s.countSeq-s.countHighest), max(0, s.countHighest-s.answered-s.late), true
}

// status returns the exit status: 0 with any answer in time.
func (s *pingStats) status() int {
	switch {
	case s.answered > 0:
		return 0
	case s.err != nil || s.verdict == probeClosed:
		return 1
	case s.verdict == probeFiltered:
		return 4
	}
	return 3
}

// percentile returns the p-th percentile of the round trip times kept.
func (s *pingStats) percentile(p float64) time.Duration {
	if len(s.rtts) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.rtts))
	return sorted[min(len(sorted)-1, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}

// sdev returns the standard deviation of all round trip times.
func (s *pingStats) sdev() time.Duration {
	if s.answered == 0 {
		return 0
	}
	return time.Duration(math.Sqrt(s.squares / float64(s.answered)))
}

// add takes in the round trip time of an answer.
func (s *pingStats) add(rtt time.Duration) {
	s.answered++
	if s.answered == 1 {
		s.min, s.max = rtt, rtt
	} else {
		// RFC 3550 6.4.1; the difference of two transit times is that of the round trip times, there and back together.
		s.jitter += ((rtt - s.last).Abs() - s.jitter) / 16
	}
	s.last, s.min, s.max = rtt, min(s.min, rtt), max(s.max, rtt)
	delta := float64(rtt) - s.mean
	s.mean += delta / float64(s.answered)
	s.squares += delta * (float64(rtt) - s.mean)
	if len(s.rtts) < pingMostRTTs {
		s.rtts = append(s.rtts, rtt)
	} else {
		s.rtts[s.answered%pingMostRTTs] = rtt
	}
}

// pingSent is a request that may still be answered.
type pingSent struct {
	probeSent
	seq      int
	at       time.Time
	answered bool
}

// pingRun is one ping.
type pingRun struct {
	o       *pingOptions
	sock    *probeSocket
	run     probeRun // for its ways to build a request
	payload *payload.Payload
	session string
	sent    []pingSent // the last pingWindow, oldest first
	stats   pingStats
	wait    time.Duration
	each    func(*pingEvent)
}

// pingUDP sends requests at a fixed interval and calls each with what comes back, in that order. It returns when all
// are answered or o.wait after the last; or when ctx ends, which is no error.
func pingUDP(ctx context.Context, host string, target netip.AddrPort, o *pingOptions, each func(*pingEvent)) pingStats {
	target = probeLoopback(target)
	p := &pingRun{o: o, each: each, wait: o.wait, session: payload.NewPingSession()}
	if p.wait == 0 {
		p.wait = probeWait
	}
	tries, _ := o.payload.Payloads(target.Port(), &o.expect, len(o.secret) > 0)
	p.payload = tries[0]
	p.stats.target, p.stats.payload = target, p.payload.Name
	var err error
	if p.sock, err = openProbeSocket(target, o.source); err != nil {
		p.stats.err = err
		return p.stats
	}
	defer p.sock.close()
	p.run = probeRun{o: &o.probeOptions, sock: p.sock, to: payload.Target{Host: host, Addr: target}}
	stop := context.AfterFunc(ctx, p.sock.wake)
	defer stop()
	p.loop(ctx)
	return p.stats
}

// loop sends and receives until it is over.
func (p *pingRun) loop(ctx context.Context) {
	interval := p.o.interval
	if interval <= 0 {
		interval = time.Second
	}
	start := time.Now()
	for {
		more := p.o.count == 0 || p.stats.sent < p.o.count
		// Counted from the start, so that delays do not add up.
		next := start.Add(time.Duration(p.stats.sent) * interval)
		if more && !time.Now().Before(next) {
			if p.stats.err = p.ask(); p.stats.err != nil {
				return
			}
			continue
		}
		if !more {
			if p.stats.answered+p.stats.late >= p.stats.sent {
				return
			}
			next = p.sent[len(p.sent)-1].at.Add(p.wait)
		}
		e, err := p.sock.receive(next, ctx.Err)
		switch {
		case err == nil:
			p.event(&e)
		case ctx.Err() != nil:
			return
		case !probeTimedOut(err):
			p.stats.err = err
			return
		case !more:
			return
		}
	}
}

// ask sends the next request.
func (p *pingRun) ask() error {
	seq := p.stats.sent + 1
	if p.payload.Name == "echo" {
		request := payload.NewPing(p.session, uint32(seq))
		number, err := p.sock.send(request)
		if err != nil {
			return err
		}
		p.run.sent = []probeSent{{p.payload, request, number}}
	} else {
		p.run.sent = p.run.sent[:0]
		if err := p.run.ask(p.payload); err != nil {
			return err
		}
	}
	p.stats.sent = seq
	if len(p.sent) == pingWindow {
		p.sent = slices.Delete(p.sent, 0, 1)
	}
	p.sent = append(p.sent, pingSent{probeSent: p.run.sent[0], seq: seq, at: time.Now()})
	return nil
}

// event takes in what the socket received.
func (p *pingRun) event(e *probeEvent) {
	last := &p.sent[len(p.sent)-1]
	switch {
	case e.icmp != nil && !e.icmp.tooBig(), e.refused:
		state := probeFiltered
		if e.refused || e.icmp.closes(p.stats.target.Addr()) {
			state = probeClosed
		}
		for i := len(p.sent) - 1; i >= 0; i-- {
			if r := p.sent[i].request; len(e.quoted) > 0 && bytes.HasPrefix(r, e.quoted[:min(len(r), len(e.quoted))]) {
				last = &p.sent[i]
				break
			}
		}
		sent, received, kernel := p.sock.clock.between(last.number, e)
		p.stats.rejected++
		p.stats.verdict = state
		p.each(&pingEvent{kind: pingRejected, seq: last.seq, rtt: received.Sub(sent), kernel: kernel, icmp: e.icmp, state: state})
	case e.from.IsValid() && e.from.Addr().WithZone("") == p.stats.target.Addr().WithZone(""):
		p.reply(e)
	}
}

// reply finds the request that a datagram answers. Without a matcher it is the oldest one that waits.
func (p *pingRun) reply(e *probeEvent) {
	for i := len(p.sent) - 1; i >= 0; i-- {
		s := &p.sent[i]
		sent, received, kernel := p.sock.clock.between(s.number, e)
		x := &payload.Exchange{Request: s.request, Reply: e.data, Sent: sent, Received: received, Secret: p.o.secret}
		var answer payload.Answer
		if s.payload.Match != nil {
			var ok bool
			if answer, ok = s.payload.Match(x); !ok {
				continue
			}
		} else if s.answered || i > 0 && !p.sent[i-1].answered && received.Sub(p.sent[i-1].at) < p.wait {
			continue
		}
		p.answer(s, &pingEvent{kind: pingAnswer, seq: s.seq, rtt: received.Sub(sent), kernel: kernel, fact: answer.Fact}, e.data)
		return
	}
}

// answer counts the answer to s.
func (p *pingRun) answer(s *pingSent, ev *pingEvent, data []byte) {
	st := &p.stats
	switch {
	case s.answered:
		ev.kind = pingDuplicate
		st.duplicate++
	case ev.rtt > p.wait:
		ev.kind = pingLate
		st.late++
	default:
		st.add(ev.rtt)
		st.user = st.user || !ev.kernel
	}
	s.answered = true
	if ev.kind != pingDuplicate && s.seq < st.highest { // RFC 4737 3.3
		ev.reordered = true
		st.reordered++
	}
	st.highest = max(st.highest, s.seq)
	if count, ok := payload.PingCount(data); ok && count > 0 && ev.kind != pingDuplicate {
		st.counted = true
		if s.seq > st.countSeq && int(count) <= st.countHighest {
			st.recounted = true // the far end has started again, or forgotten us among others
		}
		st.countHighest, st.countSeq = max(st.countHighest, int(count)), max(st.countSeq, s.seq)
	}
	p.each(ev)
}

// writePing writes the line of one event: "seq=3 0.42 ms".
func writePing(w io.Writer, e *pingEvent) error {
	line := fmt.Sprintf("seq=%d %s", e.seq, probeDuration(e.rtt))
	switch {
	case e.kind == pingRejected && e.icmp != nil:
		line += fmt.Sprintf(" %s %v", e.state, e.icmp)
	case e.kind == pingRejected:
		line += fmt.Sprintf(" %s (no detail)", e.state)
	case e.kind != pingAnswer:
		line += " " + string(e.kind)
	case e.reordered:
		line += " reordered"
	}
	if e.fact != "" {
		line += " " + e.fact
	}
	_, err := io.WriteString(w, line+"\n")
	return err
}

// writePingStats writes the sums, and a second line about the directions if the far end counts.
func writePingStats(w io.Writer, s *pingStats) error {
	line := fmt.Sprintf("%d sent, %d answered, %.4g %% lost, %d duplicate, %d late, %d reordered", s.sent, s.answered,
		100*s.lost(), s.duplicate, s.late, s.reordered)
	if s.rejected > 0 {
		line += fmt.Sprintf(", %d rejected", s.rejected)
	}
	if s.answered > 0 {
		ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
		line += fmt.Sprintf("; rtt min/avg/p50/p95/max/sdev %s/%s/%s/%s/%s/%s ms; jitter %s ms (RFC 3550 6.4.1)", ms(s.min),
			ms(time.Duration(s.mean)), ms(s.percentile(50)), ms(s.percentile(95)), ms(s.max), ms(s.sdev()), ms(s.jitter))
		if s.user {
			line += "; clock=user"
		}
	}
	if of, there, back, known := s.directions(); known {
		line += fmt.Sprintf("\nof the first %d: %d lost on the way there, %d on the way back", of, there, back)
	}
	_, err := io.WriteString(w, line+"\n")
	return err
}
