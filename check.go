package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"purr/internal/eyeballs"
	"purr/internal/scan"
	"purr/internal/sys"
)

// This file is -z: it resolves the hosts, runs the engines of package scan and
// makes one status of the results. check_print.go prints them.

// A query is one port of one host, and its results.
type query struct {
	host    string
	port    int
	addrs   []netip.Addr   // queried one after the other until one is open
	results []*scan.Result // of the first addresses
	err     error          // why there are no addresses
	done    bool
}

// best returns the result that stands for the port: the open one, else the one
// with the highest status, or nil if there is none.
func (q *query) best() (best *scan.Result) {
	for _, r := range q.results {
		if resultStatus(r) == 0 {
			return r
		}
		if best == nil || resultStatus(r) >= resultStatus(best) {
			best = r
		}
	}
	return best
}

func (q *query) status() exitStatus {
	if best := q.best(); best != nil {
		return resultStatus(best)
	}
	return statusFailed
}

// resultStatus returns the exit status for one result.
func resultStatus(r *scan.Result) exitStatus {
	switch r.State {
	case scan.Open:
		if r.UDP != nil && r.UDP.Unexpected {
			return statusMismatch
		}
		return statusOK
	case scan.NoAnswer:
		return statusUnknown
	case scan.Filtered:
		return statusRefused
	}
	return statusFailed
}

// A checker is -z. Its dialer resolves names and retries.
type checker struct {
	*dialer
	opts   checkConfig
	json   bool     // print objects in place of lines
	stdin  *os.File // hosts or a payload
	stdout *os.File
}

// A portScan queries every port of every host once.
type portScan struct {
	*checker
	sourceAddr netip.Addr // -s; invalid without it
	tcpOptions scan.TCPOptions
	udpOptions scan.UDPOptions
	limit      time.Duration // for all of it; 0: none
	begun      time.Time
	each       func(*query) // called with every query, in the order of the command line

	queries []*query
	passed  int // queries that each was called with
	limits  []scan.ICMPLimit
}

// newPortScan returns a scan with the options of the command line.
func (c *checker) newPortScan(ctx context.Context, limit time.Duration, each func(*query)) (*portScan, error) {
	source, err := c.localAddr(ctx)
	if err != nil {
		return nil, err
	}
	addr := source.Addr()
	if !addr.IsValid() && source.Port() != 0 {
		source = netip.AddrPortFrom(netip.IPv4Unspecified(), source.Port())
	}
	k := &c.opts
	return &portScan{checker: c, sourceAddr: addr, limit: limit, begun: time.Now(), each: each,
		tcpOptions: scan.TCPOptions{Parallel: k.parallel, Shuffle: c.shuffle, Banner: k.banner, BannerWait: c.connectTimeout, Source: source},
		udpOptions: scan.UDPOptions{Payload: k.payload, Expect: k.expect, Secret: k.secret, Source: source,
			Parallel: k.parallel, Rate: float64(k.rate), Thorough: k.thorough},
	}, nil
}

// check scans. With --wait-for or --retry it scans until the status is 0, and
// prints the last results only.
func (c *checker) check(ctx context.Context) error {
	if c.unix {
		return c.checkUnix(ctx)
	}
	hosts, err := c.hosts()
	if err != nil {
		return err
	}
	if err := c.opts.payload.Load(c.stdin); err != nil {
		return fmt.Errorf("option --payload: %w", sys.Cause(err))
	}
	if c.opts.ping {
		return c.ping(ctx)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out := &scanPrinter{checker: c, failed: stop}
	each := out.print
	if c.waits() {
		each = func(*query) {}
	}
	var last *portScan
	err = c.retry(ctx, func(ctx context.Context, limit time.Duration) error {
		s, err := c.newPortScan(ctx, limit, each)
		if err != nil {
			return err
		}
		last = s
		return s.run(ctx, hosts)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if last == nil {
		return err
	}
	if c.waits() {
		for _, q := range last.queries {
			out.print(q)
		}
	}
	for _, l := range last.limits {
		c.log.warnf("%s limits its ICMP to about 1/s: %d ports without an answer may be closed; --thorough takes about %v",
			l.Host, l.Silent, l.Thorough.Round(time.Second))
	}
	return cmp.Or(context.Cause(ctx), err)
}

// hosts returns the hosts of the command line, or those on stdin.
func (c *checker) hosts() ([]string, error) {
	if !c.opts.hostsOnStdin {
		return c.opts.hosts, nil
	}
	hosts, err := readHosts(bufio.NewReader(c.stdin))
	if err != nil {
		return nil, fmt.Errorf("hosts on stdin: %w", err)
	}
	return hosts, nil
}

// run queries all ports of all hosts. Its error is nil if enough of them are
// open; otherwise it holds the status and the cause.
func (s *portScan) run(ctx context.Context, hosts []string) error {
	s.lookUp(ctx, hosts)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := s.ask(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.verdict()
}

// lookUp makes the queries, with the addresses of the hosts. With a source
// address only addresses of its family count.
func (s *portScan) lookUp(ctx context.Context, hosts []string) {
	const atOnce = 16
	addrs, errs := make([][]netip.Addr, len(hosts)), make([]error, len(hosts))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, host := range hosts {
		group.Go(func() error {
			addrs[i], errs[i] = s.dialer.resolve(ctx, host, s.ports[0])
			if errs[i] == nil && s.sourceAddr.IsValid() {
				if addrs[i] = eyeballs.SameFamily(addrs[i], s.sourceAddr); len(addrs[i]) == 0 {
					errs[i] = fmt.Errorf("connect to %s port %d from %s: Address family for hostname not supported", host, s.ports[0], s.sourceAddr)
				}
			}
			return nil
		})
	}
	_ = group.Wait()
	all := make([]query, len(hosts)*len(s.ports))
	for i, host := range hosts {
		for _, port := range s.ports {
			q := &all[len(s.queries)]
			*q = query{host: host, port: port, addrs: addrs[i], err: errs[i]}
			s.queries = append(s.queries, q)
		}
	}
}

// ask queries the first address of every port, then the second one of those
// that are not open yet, and so on.
func (s *portScan) ask(ctx context.Context) error {
	var pending []*query
	for _, q := range s.queries {
		if q.err != nil {
			s.finish(q)
		} else {
			pending = append(pending, q)
		}
	}
	for round := 0; len(pending) > 0; round++ {
		targets := make([]scan.Target, len(pending))
		for i, q := range pending {
			targets[i] = scan.Target{Host: q.host, Addr: netip.AddrPortFrom(q.addrs[round].Unmap(), uint16(q.port))}
		}
		asked := pending
		pending = nil
		err := s.scan(ctx, targets, func(r *scan.Result) {
			q := asked[0] // the results come in the order of the targets
			asked = asked[1:]
			q.results = append(q.results, r)
			if resultStatus(r) == 0 || round+1 == len(q.addrs) {
				s.finish(q)
			} else {
				pending = append(pending, q)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// finish passes q on as soon as it and all before it have their results.
func (s *portScan) finish(q *query) {
	for q.done = true; s.passed < len(s.queries) && s.queries[s.passed].done; s.passed++ {
		s.each(s.queries[s.passed])
	}
}

// timeout returns the time for one port: -w or the usual one, or what is left
// of --wait-for if that is less.
func (s *portScan) timeout(usual time.Duration) time.Duration {
	const least = 100 * time.Millisecond
	timeout := cmp.Or(s.connectTimeout, usual)
	if s.limit == 0 {
		return timeout
	}
	return min(timeout, max(least, s.limit-time.Since(s.begun)))
}

// scan calls each with the results of the targets, in their order.
func (s *portScan) scan(ctx context.Context, targets []scan.Target, each func(*scan.Result)) error {
	if s.udp {
		if s.connectTimeout > 0 || s.limit > 0 {
			s.udpOptions.Wait = s.timeout(scan.DefaultUDPWait)
		}
		s.limits = append(s.limits, scan.UDP(ctx, targets, s.udpOptions, each)...)
		return nil
	}
	s.tcpOptions.Timeout = s.timeout(scan.DefaultTimeout)
	if s.interval == 0 {
		return scan.TCP(ctx, targets, s.tcpOptions, each)
	}
	for i := range targets { // one after the other, as nc does
		if i > 0 && !sys.Sleep(ctx, s.interval) {
			return context.Cause(ctx)
		}
		if err := scan.TCP(ctx, targets[i:i+1], s.tcpOptions, each); err != nil {
			return err
		}
	}
	return nil
}

// verdict returns the error of the query with the highest status, or nil if
// enough are open: over TCP one, as in nc, over UDP all, unless --all or --any
// is given.
func (s *portScan) verdict() error {
	all := s.opts.all || s.udp && !s.opts.any
	highest, open := statusOK, false
	var worst *query
	for _, q := range s.queries {
		status := q.status()
		open = open || status == statusOK
		if status > highest {
			highest, worst = status, q
		}
	}
	if highest == statusOK || open && !all {
		return nil
	}
	return statusError{highest, worst.cause(s.waits())}
}

// checkUnix connects to a Unix socket.
func (c *checker) checkUnix(ctx context.Context) error {
	return c.retry(ctx, func(ctx context.Context, limit time.Duration) error {
		conn, err := c.connectUnix(ctx, limit)
		if err != nil {
			if c.waits() || ctx.Err() != nil {
				return err
			}
			c.log.verbosef("%v", err)
			return reportedError{err}
		}
		c.log.verbosef("connection to %s succeeded", c.path)
		return conn.Close()
	})
}

// minStrangerInterval is the least time between pings to addresses that are not
// private.
const minStrangerInterval = 200 * time.Millisecond

// ping sends -c datagrams to one port and prints the answers.
func (c *checker) ping(ctx context.Context) error {
	s, err := c.newPortScan(ctx, 0, func(*query) {})
	if err != nil {
		return err
	}
	addr, err := s.pingAddr(ctx)
	if err != nil {
		return err
	}
	if near := addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast(); !near && c.interval > 0 && c.interval < minStrangerInterval {
		return fmt.Errorf("ping %s: an interval below %v is for loopback and private addresses only", addr, minStrangerInterval)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	o := scan.PingOptions{Payload: s.udpOptions.Payload, Secret: s.udpOptions.Secret, Source: s.udpOptions.Source,
		Count: c.opts.pings, Interval: c.interval, Wait: c.connectTimeout}
	target := scan.Target{Host: c.host, Addr: netip.AddrPortFrom(addr, uint16(c.ports[0]))}
	stats := scan.Ping(ctx, target, o, func(e *scan.PingEvent) {
		if err := writePing(c.stdout, e); err != nil {
			stop(fmt.Errorf("write to stdout: %w", sys.Cause(err)))
		}
	})
	if err := writePingStats(c.stdout, &stats); err != nil && ctx.Err() == nil {
		return fmt.Errorf("write to stdout: %w", sys.Cause(err))
	}
	status := pingStatus(&stats)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case stats.Err != nil:
		return fmt.Errorf("ping %s port %d (udp): %w", targetName(c.host, addr), target.Addr.Port(), sys.Cause(stats.Err))
	case status == statusOK && stats.Lost() > c.opts.maxLoss:
		return statusError{statusFailed, fmt.Errorf("%.4g %% of the pings were lost, more than --max-loss", 100*stats.Lost())}
	case status != statusOK:
		return statusError{status, reportedError{errors.New("no answer")}}
	}
	return nil
}

// pingStatus returns the exit status for a ping: statusOK with any answer in
// time.
func pingStatus(s *scan.PingStats) exitStatus {
	switch {
	case s.Answered > 0:
		return statusOK
	case s.Err != nil || s.Verdict == scan.Closed:
		return statusFailed
	case s.Verdict == scan.Filtered:
		return statusRefused
	}
	return statusUnknown
}

// pingAddr returns the address to ping: of several the first that answers one
// datagram, or the first of all if none does.
func (s *portScan) pingAddr(ctx context.Context) (netip.Addr, error) {
	s.lookUp(ctx, s.opts.hosts)
	q := s.queries[0]
	if q.err != nil {
		return netip.Addr{}, q.err
	}
	if len(q.addrs) > 1 {
		o := s.udpOptions
		o.Sends, o.Wait = []time.Duration{0}, time.Second
		for _, addr := range q.addrs {
			target := scan.Target{Host: q.host, Addr: netip.AddrPortFrom(addr.Unmap(), uint16(q.port))}
			answered := false
			scan.UDP(ctx, []scan.Target{target}, o, func(r *scan.Result) { answered = r.State == scan.Open })
			if answered {
				return addr.Unmap(), nil
			}
		}
	}
	return q.addrs[0].Unmap(), context.Cause(ctx)
}
