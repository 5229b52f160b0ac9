package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"purr/internal/sys"
)

// probeTarget is one port to ask, with the name that its result bears.
type probeTarget struct {
	host string
	addr netip.AddrPort
}

// probeRangeOptions says how to probe several ports.
type probeRangeOptions struct {
	probeOptions
	parallel int     // ports in flight; 0: 64
	rate     float64 // datagrams per second and host; 0: 100
	thorough bool    // ask silent ports again at the pace of an ICMP limit
}

// For a host of which several ports are asked. Single ports keep probeSchedule and probeWait.
var probeRangeSchedule = []time.Duration{0, 700 * time.Millisecond}

const (
	probeRangeWait = 2 * time.Second
	probeParallel  = 64
	probeRate      = 100

	// Linux sends at most one port unreachable a second to each host, after a burst of 6 (icmp_ratelimit, icmp_ratemask), so
	// fewer errors than a burst say nothing about a limit. One was lost in every second lab run, hence 5.
	probeLimitBurst = 5
	probeLimitPace  = 1050 * time.Millisecond
)

// probePacer spaces out the datagrams to one host.
type probePacer struct {
	mu       sync.Mutex
	next     time.Time
	interval time.Duration
}

// wait returns when the next datagram may leave, or with ctx's error.
func (p *probePacer) wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	at := p.next
	if at.Before(now) {
		at = now
	}
	p.next = at.Add(p.interval)
	p.mu.Unlock()
	if !sys.Sleep(ctx, time.Until(at)) {
		return ctx.Err()
	}
	return nil
}

// probeHost is what all ports of one host share.
type probeHost struct {
	addr   netip.Addr
	name   string
	ports  int
	pace   probePacer
	closed int // answered by port unreachable from the host
	silent int
	again  []int // indexes of the silent ones
}

// limited says whether the host seems to limit its ICMP, so that silent ports may well be closed.
func (h *probeHost) limited() bool { return h.closed >= probeLimitBurst && h.silent > 0 }

// probeRange asks all targets in a random order and calls each with their results in the order of targets, one at a
// time. It returns what there is to say about a host as a whole. A cancelled ctx makes local errors of what is left.
func probeRange(ctx context.Context, targets []probeTarget, o *probeRangeOptions, each func(probeResult)) (notes []string) {
	hosts, order := probeHosts(targets, o)
	results := make([]probeResult, len(targets))
	out := inOrder[probeResult]{each: each}
	type numbered struct {
		i int
		r probeResult
	}
	jobs, done := make(chan int), make(chan numbered)
	parallel := o.parallel
	if parallel <= 0 {
		parallel = probeParallel
	}
	for range min(parallel, len(targets)) {
		go func() {
			for i := range jobs {
				h := hosts[targets[i].addr.Addr()]
				done <- numbered{i, probeUDP(ctx, targets[i].host, targets[i].addr, h.options(o))}
			}
		}()
	}
	go func() {
		defer close(jobs)
		for _, i := range rand.Perm(len(targets)) {
			jobs <- i
		}
	}()
	for range targets {
		n := <-done
		h := hosts[targets[n.i].addr.Addr()]
		results[n.i] = n.r
		switch {
		case n.r.state == probeClosed:
			h.closed++
		case n.r.state == probeSilent:
			h.silent++
			h.again = append(h.again, n.i)
			if o.thorough && h.ports > 1 {
				continue // it may be asked again, and what comes after it waits
			}
		}
		out.put(n.i, n.r)
	}
	if o.thorough {
		probeAgain(ctx, order, targets, results, o, out.put)
		return nil
	}
	for _, h := range order {
		if h.limited() {
			notes = append(notes, fmt.Sprintf("%s limits its ICMP to about 1/s: %d ports without an answer may be closed; "+
				"--thorough takes about %v", h.name, h.silent, (time.Duration(h.silent)*probeLimitPace).Round(time.Second)))
		}
	}
	return notes
}

// probeHosts returns what the ports of each host share, also in the order of their first appearance.
func probeHosts(targets []probeTarget, o *probeRangeOptions) (map[netip.Addr]*probeHost, []*probeHost) {
	hosts := map[netip.Addr]*probeHost{}
	var order []*probeHost
	rate := o.rate
	if rate <= 0 {
		rate = probeRate
	}
	for _, t := range targets {
		h := hosts[t.addr.Addr()]
		if h == nil {
			h = &probeHost{addr: t.addr.Addr(), name: t.host}
			if h.name == "" {
				h.name = h.addr.String()
			}
			h.pace.interval = time.Duration(float64(time.Second) / rate)
			hosts[t.addr.Addr()] = h
			order = append(order, h)
		}
		h.ports++
	}
	return hosts, order
}

// options returns how a port of the host is probed.
func (h *probeHost) options(o *probeRangeOptions) *probeOptions {
	p := o.probeOptions
	p.pace = h.pace.wait
	if h.ports > 1 {
		if p.sends == nil {
			p.sends = probeRangeSchedule
		}
		if p.wait == 0 {
			p.wait = probeRangeWait
		}
	}
	return &p
}

// probeAgain asks the silent ports of hosts that limit their ICMP once more, one port at a time, and passes all silent results
// to put with their index.
func probeAgain(ctx context.Context, hosts []*probeHost, targets []probeTarget, results []probeResult,
	o *probeRangeOptions, put func(int, probeResult)) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, h := range hosts {
		if h.ports < 2 {
			continue
		}
		limited := h.limited()
		wg.Go(func() {
			p := h.options(o)
			p.pace, p.sends, p.wait = nil, []time.Duration{0}, probeLimitPace
			for _, i := range h.again {
				if limited && ctx.Err() == nil {
					start := time.Now()
					again := probeUDP(ctx, targets[i].host, targets[i].addr, p)
					again.sent += results[i].sent
					if again.state != probeSilent && again.state != probeFailed {
						results[i] = again
					}
					results[i].sent = again.sent
					sys.Sleep(ctx, time.Until(start.Add(probeLimitPace)))
				}
				mu.Lock()
				put(i, results[i])
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
