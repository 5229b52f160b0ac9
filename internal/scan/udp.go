package scan

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"purr/internal/payload"
	"purr/internal/sys"
)

// Defaults of UDPOptions.
const (
	DefaultUDPParallel = 64
	DefaultUDPRate     = 100
	DefaultUDPWait     = 4 * time.Second
)

// If several ports of a host are asked, fewer requests are sent to each.
var rangeSends = []time.Duration{0, 700 * time.Millisecond}

const rangeWait = 2 * time.Second

// Linux sends at most one port unreachable a second to each host, after a burst
// of 6 (icmp_ratelimit, icmp_ratemask). Fewer errors than a burst prove no
// limit. In every second run in a lab one of them was lost, hence 5.
const (
	icmpBurst = 5
	icmpPace  = 1050 * time.Millisecond
)

// UDPOptions are the options of UDP. The zero value is ready to use.
type UDPOptions struct {
	Payload payload.Choice
	Expect  payload.Expect
	Secret  []byte         // of the services that need one
	Source  netip.AddrPort // bound to if valid; an unspecified address stands for both families

	// Sends are the times of the requests to a port, from the first one, which
	// is 0. Nil: three in 1.5 s, or two in 0.7 s if the host has several
	// targets.
	Sends []time.Duration
	// Wait is the time for a port from the first request. 0: DefaultUDPWait, or
	// 2 s if the host has several targets.
	Wait time.Duration

	// Parallel is the number of ports asked at a time; 0: DefaultUDPParallel.
	// It is 1 if Source has a port, and never more than descriptors allow.
	Parallel int
	Rate     float64 // requests a second to each host; 0: DefaultUDPRate
	Thorough bool    // ask silent ports again at the pace of an ICMP limit
}

// parallel returns the number of ports to ask at a time: Parallel or its
// default, 1 if Source has a port, less if descriptors are few.
func (o *UDPOptions) parallel() int {
	const reserve = 16 // descriptors for the rest of the process
	n := o.Parallel
	if n <= 0 {
		n = DefaultUDPParallel
	}
	if o.Source.Port() != 0 {
		n = 1
	}
	if limit := sys.DescriptorLimit(); limit > 0 {
		n = max(1, min(n, limit-reserve))
	}
	return n
}

// An ICMPLimit is a host that seems to limit its ICMP errors: silent ports of
// it may be closed.
type ICMPLimit struct {
	Host     string        // as the user wrote it, or its address
	Silent   int           // ports with NoAnswer
	Thorough time.Duration // the time that UDPOptions.Thorough takes for them
}

// A pacer spaces the requests to one host. A nil pacer does not.
type pacer struct {
	mu       sync.Mutex
	next     time.Time
	interval time.Duration
}

// wait waits until the next request may leave. It returns the cause if ctx ends
// before.
func (p *pacer) wait(ctx context.Context) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	now := time.Now()
	at := p.next
	if at.Before(now) {
		at = now
	}
	p.next = at.Add(p.interval)
	p.mu.Unlock()
	if !sys.Sleep(ctx, time.Until(at)) {
		return context.Cause(ctx)
	}
	return nil
}

// A host is what all targets of one address share.
type host struct {
	name   string
	ports  int
	pace   pacer
	closed int   // ports with an ICMP error of the host itself
	silent []int // indexes of the targets with NoAnswer
}

// limited reports whether the host seems to limit its ICMP errors: it has sent
// a burst of them, and was silent about other ports.
func (h *host) limited() bool { return h.closed >= icmpBurst && len(h.silent) > 0 }

// options returns o for a port of the host. If several ports of the host are
// asked, the defaults of Sends and Wait are smaller.
func (h *host) options(o UDPOptions) *UDPOptions {
	if h.ports > 1 {
		if o.Sends == nil {
			o.Sends = rangeSends
		}
		o.Wait = cmp.Or(o.Wait, rangeWait)
	}
	return &o
}

// udpScan is one call of UDP.
type udpScan struct {
	o       UDPOptions
	targets []Target
	hosts   map[netip.Addr]*host
	order   []*host // by first appearance
	results []*Result
	out     *ordered

	mu sync.Mutex // guards the hosts' counts
}

// UDP asks all targets in random order, and calls each with the results in the
// order of targets, one at a time. When ctx ends, targets without a result get
// none. UDP returns the hosts that seem to limit their ICMP errors; none with
// Thorough, which asks their silent ports again.
func UDP(ctx context.Context, targets []Target, o UDPOptions, each func(*Result)) []ICMPLimit {
	u := &udpScan{o: o, targets: targets, hosts: map[netip.Addr]*host{}, results: make([]*Result, len(targets)),
		out: newOrdered(len(targets), each)}
	u.group()
	var group errgroup.Group
	group.SetLimit(o.parallel())
	for _, i := range rand.Perm(len(targets)) {
		group.Go(func() error {
			u.ask(ctx, i)
			return nil
		})
	}
	_ = group.Wait()
	if o.Thorough {
		u.askAgain(ctx)
		return nil
	}
	var limits []ICMPLimit
	for _, h := range u.order {
		if n := len(h.silent); h.limited() {
			limits = append(limits, ICMPLimit{h.name, n, time.Duration(n) * icmpPace})
		}
	}
	return limits
}

// group makes the hosts of the targets, with the number of ports and the pace
// of each.
func (u *udpScan) group() {
	rate := u.o.Rate
	if rate <= 0 {
		rate = DefaultUDPRate
	}
	for _, t := range u.targets {
		h := u.hosts[t.Addr.Addr()]
		if h == nil {
			h = &host{name: t.name(), pace: pacer{interval: time.Duration(float64(time.Second) / rate)}}
			u.hosts[t.Addr.Addr()] = h
			u.order = append(u.order, h)
		}
		h.ports++
	}
}

// ask asks target i and counts its state for the host. It reports the result,
// unless askAgain will: with Thorough, if the port is silent and the host has
// several ports. If ctx ends, it reports nothing.
func (u *udpScan) ask(ctx context.Context, i int) {
	if ctx.Err() != nil {
		return
	}
	h := u.hosts[u.targets[i].Addr.Addr()]
	r := probePort(ctx, u.targets[i], h.options(u.o), &h.pace)
	if ctx.Err() != nil {
		return
	}
	u.results[i] = r
	u.mu.Lock()
	switch r.State {
	case Closed:
		h.closed++
	case NoAnswer:
		h.silent = append(h.silent, i)
	}
	u.mu.Unlock()
	if r.State != NoAnswer || !u.o.Thorough || h.ports < 2 {
		u.out.put(i, r)
	}
}

// askAgain asks the silent ports of hosts that limit their ICMP errors once
// more, one port of a host at a time. It reports these ports, and the silent
// ones of other hosts that ask has left to it.
func (u *udpScan) askAgain(ctx context.Context) {
	var wg sync.WaitGroup
	for _, h := range u.order {
		if h.ports < 2 {
			continue
		}
		o := *h.options(u.o)
		o.Sends, o.Wait = []time.Duration{0}, icmpPace
		wg.Go(func() {
			for _, i := range h.silent {
				r := u.results[i]
				if h.limited() {
					start := time.Now()
					again := probePort(ctx, u.targets[i], &o, nil)
					if ctx.Err() != nil {
						return
					}
					again.UDP.Sent += r.UDP.Sent
					if again.State == NoAnswer || again.State == LocalError {
						r.UDP.Sent = again.UDP.Sent
					} else {
						r = again
					}
					sys.Sleep(ctx, time.Until(start.Add(icmpPace)))
				}
				u.out.put(i, r)
			}
		})
	}
	wg.Wait()
}
