package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"purr/internal/sys"
)

// This file is -z: it finds the addresses of what is to be asked, gives them
// to the engines (scan.go, probe_range.go) and makes one status of the results.
// check_print.go says them.

// A portResult is what one address said: a *scanResult or a *probeResult.
type portResult interface{ status() int }

// A portCheck is one port of one host, and what is known of it.
type portCheck struct {
	index   int
	host    string
	port    int
	addrs   []netip.Addr // to be asked one after the other until one is open
	results []portResult // of the first addresses
	err     error        // why there is nothing to ask
}

// best is the result that stands for the port: the open one, else the one
// with the highest status. It is nil if nothing was asked.
func (c *portCheck) best() (best portResult) {
	for _, r := range c.results {
		if r.status() == 0 {
			return r
		}
		if best == nil || r.status() >= best.status() {
			best = r
		}
	}
	return best
}

func (c *portCheck) status() int {
	if best := c.best(); best != nil {
		return best.status()
	}
	return 1
}

// A checkPass asks every port of every host once.
type checkPass struct {
	p      *purr
	source netip.AddrPort
	limit  time.Duration // for all of it; 0: none
	begun  time.Time
	each   func(*portCheck) // called with every port, in the order asked for
	checks []*portCheck
	notes  []string
}

// check is -z. With --wait-for or --retry it asks until the status is 0, and
// says only what it found in the end.
func (p *purr) check(ctx context.Context) error {
	switch {
	case p.cfg.unix:
		return p.checkUnix(ctx)
	case p.cfg.check.ping:
		return p.ping(ctx)
	}
	hosts, err := p.hosts()
	if err != nil {
		return err
	}
	if err := p.loadPayload(); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	say := &checkPrinter{p: p, failed: stop}
	var last *checkPass
	err = p.dialer.retry(ctx, func(ctx context.Context, limit time.Duration) error {
		last = &checkPass{p: p, limit: limit, begun: time.Now(), each: say.print}
		if p.cfg.waits() {
			last.each = func(*portCheck) {}
		}
		return last.run(ctx, hosts)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if p.cfg.waits() && last != nil {
		for _, c := range last.checks {
			say.print(c)
		}
	}
	for _, note := range last.notes {
		p.log.warnf("%s", note)
	}
	return cmp.Or(context.Cause(ctx), err)
}

// hosts are those of the command line, or those on stdin.
func (p *purr) hosts() ([]string, error) {
	if !p.cfg.check.hostsOnStdin {
		return p.cfg.check.hosts, nil
	}
	hosts, err := readHosts(bufio.NewReader(p.stdin))
	if err != nil {
		return nil, fmt.Errorf("hosts on stdin: %w", err)
	}
	return hosts, nil
}

// run asks all ports of all hosts. Its error is nil if enough of them are
// open; otherwise it is one that has the status and the cause.
func (k *checkPass) run(ctx context.Context, hosts []string) error {
	local, err := k.p.cfg.localAddr(ctx)
	if err != nil {
		return err
	}
	if k.source = local; !local.Addr().IsValid() && local.Port() != 0 {
		k.source = netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())
	}
	k.resolveAll(ctx, hosts, local.Addr())
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := k.ask(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return k.verdict()
}

// resolveAll makes the list of what to ask, with the addresses of each host.
// With a source address only those of its family count.
func (k *checkPass) resolveAll(ctx context.Context, hosts []string, source netip.Addr) {
	const atOnce = 16
	addrs, errs := make([][]netip.Addr, len(hosts)), make([]error, len(hosts))
	places := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, host := range hosts {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			addrs[i], errs[i] = k.p.cfg.resolve(ctx, host, k.p.cfg.ports[0])
			if errs[i] == nil && source.IsValid() {
				if addrs[i] = sameFamily(addrs[i], source); len(addrs[i]) == 0 {
					errs[i] = fmt.Errorf("connect to %s port %d from %s: Address family for hostname not supported", host, k.p.cfg.ports[0], source)
				}
			}
		})
	}
	wg.Wait()
	all := make([]portCheck, len(hosts)*len(k.p.cfg.ports))
	for i, host := range hosts {
		for _, port := range k.p.cfg.ports {
			c := &all[len(k.checks)]
			*c = portCheck{index: len(k.checks), host: host, port: port, addrs: addrs[i], err: errs[i]}
			k.checks = append(k.checks, c)
		}
	}
}

// ask asks the first address of every port, then the second one of those that
// are not open yet, and so on. A port is passed on as soon as it and all before
// it are known.
func (k *checkPass) ask(ctx context.Context) error {
	out := inOrder[*portCheck]{each: k.each}
	var pending []*portCheck
	for _, c := range k.checks {
		if c.err != nil {
			out.put(c.index, c)
		} else {
			pending = append(pending, c)
		}
	}
	for round := 0; len(pending) > 0; round++ {
		targets := make([]probeTarget, len(pending))
		for i, c := range pending {
			targets[i] = probeTarget{c.host, netip.AddrPortFrom(c.addrs[round].Unmap(), uint16(c.port))}
		}
		asked := pending
		pending = nil
		err := k.engine(ctx, targets, func(r portResult) {
			c := asked[0] // the results come in the order of the targets
			asked = asked[1:]
			c.results = append(c.results, r)
			if r.status() == 0 || round+1 == len(c.addrs) {
				out.put(c.index, c)
			} else {
				pending = append(pending, c)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// timeLeft is how long one port may take: -w or what usual is, and what is left
// of --wait-for if that is less.
func (k *checkPass) timeLeft(usual time.Duration) time.Duration {
	const least = 100 * time.Millisecond
	limit := cmp.Or(k.p.cfg.connectTimeout, usual)
	if k.limit == 0 {
		return limit
	}
	return min(limit, max(least, k.limit-time.Since(k.begun)))
}

// engine asks the targets and calls each with their results, in their order.
func (k *checkPass) engine(ctx context.Context, targets []probeTarget, each func(portResult)) error {
	cfg := k.p.cfg
	if cfg.udp {
		o := &probeRangeOptions{probeOptions: k.p.probeOptions(k.source), parallel: k.p.probesAtOnce(), rate: float64(cfg.check.rate), thorough: cfg.check.thorough}
		if cfg.connectTimeout > 0 || k.limit > 0 {
			o.wait = k.timeLeft(probeWait)
		}
		notes := probeRange(ctx, targets, o, func(r probeResult) {
			if ctx.Err() == nil { // else it was cut off, and nothing is known
				each(&r)
			}
		})
		k.notes = append(k.notes, notes...)
		return nil
	}
	o := scanOptions{parallel: cfg.check.parallel, timeout: k.timeLeft(scanWait), shuffle: cfg.shuffle, banner: cfg.check.banner, source: k.source}
	if cfg.connectTimeout > 0 {
		o.bannerWait = cfg.connectTimeout
	}
	found := func(r scanResult) { each(&r) }
	if cfg.interval == 0 {
		return scanTCP(ctx, targets, o, found)
	}
	for i := range targets { // one after the other, as nc does
		if i > 0 && !sys.Sleep(ctx, cfg.interval) {
			return context.Cause(ctx)
		}
		if err := scanTCP(ctx, targets[i:i+1], o, found); err != nil {
			return err
		}
	}
	return nil
}

// probesAtOnce is --parallel, and no more than there are descriptors for. A
// given source port leaves room for one at a time.
func (p *purr) probesAtOnce() int {
	const reserve = 16
	n := cmp.Or(p.cfg.check.parallel, probeParallel)
	if p.cfg.sourcePort != 0 {
		n = 1
	}
	if limit := sys.DescriptorLimit(); limit > 0 {
		n = max(1, min(n, limit-reserve))
	}
	return n
}

func (p *purr) probeOptions(source netip.AddrPort) probeOptions {
	k := &p.cfg.check
	return probeOptions{payload: p.payload, expect: k.expect, secret: k.secret, source: source}
}

// loadPayload reads the payload that is on stdin.
func (p *purr) loadPayload() error {
	p.payload = p.cfg.check.payload
	if err := p.payload.Load(p.stdin); err != nil {
		return fmt.Errorf("option --payload: %w", sys.Cause(err))
	}
	return nil
}

// verdict makes one error of what was found, nil if that is enough. Over TCP
// one open port is, as in nc; over UDP all are to be open. --all and --any say
// otherwise.
func (k *checkPass) verdict() error {
	cfg := k.p.cfg
	all := cfg.check.all || cfg.udp && !cfg.check.any
	highest, open := 0, false
	var worst *portCheck
	for _, c := range k.checks {
		status := c.status()
		open = open || status == 0
		if status > highest {
			highest, worst = status, c
		}
	}
	if highest == 0 || open && !all {
		return nil
	}
	return statusError{highest, worst.cause(cfg)}
}

// checkUnix asks whether somebody listens on a Unix socket.
func (p *purr) checkUnix(ctx context.Context) error {
	return p.dialer.retry(ctx, func(ctx context.Context, limit time.Duration) error {
		conn, err := p.dialer.connectUnix(ctx, limit)
		if err != nil {
			if p.cfg.waits() || ctx.Err() != nil {
				return err
			}
			p.log.notef(1, "%v", err)
			return saidError{err}
		}
		p.log.notef(1, "connection to %s succeeded", p.cfg.path)
		return conn.Close()
	})
}

// ping sends -c datagrams to one port and prints what comes back.
func (p *purr) ping(ctx context.Context) error {
	if err := p.loadPayload(); err != nil {
		return err
	}
	addr, source, err := p.pingAddr(ctx)
	if err != nil {
		return err
	}
	target := netip.AddrPortFrom(addr, uint16(p.cfg.ports[0]))
	if near := addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast(); !near && p.cfg.interval > 0 && p.cfg.interval < politeInterval {
		return fmt.Errorf("ping %s: an interval below %v is for loopback and private addresses only", addr, politeInterval)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	o := &pingOptions{probeOptions: p.probeOptions(source), count: p.cfg.check.pings, interval: p.cfg.interval}
	o.wait = p.cfg.connectTimeout
	stats := pingUDP(ctx, p.cfg.host, target, o, func(e *pingEvent) {
		if err := writePing(p.stdout, e); err != nil {
			stop(fmt.Errorf("write to stdout: %w", sys.Cause(err)))
		}
	})
	if err := writePingStats(p.stdout, &stats); err != nil && ctx.Err() == nil {
		return fmt.Errorf("write to stdout: %w", sys.Cause(err))
	}
	status := stats.status()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case stats.err != nil:
		return fmt.Errorf("ping %s port %d (udp): %w", targetName(p.cfg.host, addr), target.Port(), sys.Cause(stats.err))
	case status == 0 && stats.lost() > p.cfg.check.maxLoss:
		return statusError{1, fmt.Errorf("%.4g %% of the pings were lost, more than --max-loss", 100*stats.lost())}
	case status != 0:
		return statusError{status, saidError{errors.New("no answer")}}
	}
	return nil
}

// politeInterval is the least time between pings to strangers.
const politeInterval = 200 * time.Millisecond

// pingAddr is the address to ping: of several the first that answers one
// datagram, or the first of all if none does.
func (p *purr) pingAddr(ctx context.Context) (addr netip.Addr, source netip.AddrPort, err error) {
	k := &checkPass{p: p, each: func(*portCheck) {}}
	if source, err = p.cfg.localAddr(ctx); err != nil {
		return addr, source, err
	}
	k.resolveAll(ctx, p.cfg.check.hosts, source.Addr())
	c := k.checks[0]
	if c.err != nil {
		return addr, source, c.err
	}
	if !source.Addr().IsValid() && source.Port() != 0 {
		source = netip.AddrPortFrom(netip.IPv4Unspecified(), source.Port())
	}
	if len(c.addrs) > 1 {
		o := p.probeOptions(source)
		o.sends, o.wait = []time.Duration{0}, time.Second
		for _, addr := range c.addrs {
			if r := probeUDP(ctx, c.host, netip.AddrPortFrom(addr.Unmap(), uint16(c.port)), &o); r.state == probeOpen {
				return addr.Unmap(), source, nil
			}
		}
	}
	return c.addrs[0].Unmap(), source, ctx.Err()
}
