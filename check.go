package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"purr/internal/display"
	"purr/internal/eyeballs"
	"purr/internal/flags"
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

	// Of the block of hosts that is asked.
	queries []*query
	passed  int // queries that each was called with

	kept    []*query // all, with --wait-for or --retry: only the last scan is printed
	highest exitStatus
	worst   query // the first with the highest status
	open    bool  // whether any is
	limits  []scan.ICMPLimit
}

// blockSize is the number of queries that are asked before the next ones are
// made, so that memory is bounded by it and not by the number of hosts.
const blockSize = 8192

// newPortScan returns a scan of all hosts and ports of the command line. limit
// is what is left of --wait-for, 0 without it; each is called with every query
// once it has its results. An error means that no local address fits -s.
func (c *checker) newPortScan(ctx context.Context, limit time.Duration, each func(*query)) (*portScan, error) {
	var peers []netip.Addr
	if c.source != "" {
		peers, _ = c.resolve(ctx, c.host, c.ports[0]) // an error is the scan's to report
	}
	source, err := c.localAddr(ctx, peers)
	if err != nil {
		return nil, err
	}
	addr := source.Addr()
	if !addr.IsValid() && source.Port() != 0 { // -p alone: scan takes the family from each target
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
		for _, q := range last.kept {
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
func (c *checker) hosts() (*flags.HostList, error) {
	hosts := c.opts.hosts
	if c.opts.hostsOnStdin {
		var err error
		if hosts, err = flags.ReadHosts(bufio.NewReader(c.stdin)); err != nil {
			return nil, fmt.Errorf("hosts on stdin: %w", sys.Cause(err))
		}
	}
	if hosts.HasRanges() {
		all := int64(hosts.Len()) * int64(len(c.ports))
		c.log.warnf("%s, %s: %d to ask", display.Plural(int64(hosts.Len()), "host"), display.Plural(int64(len(c.ports)), "port"), all)
	}
	return hosts, nil
}

// run queries all ports of all hosts, in blocks. Its error is nil if enough of
// them are open; otherwise it holds the status and the cause.
func (s *portScan) run(ctx context.Context, hosts *flags.HostList) error {
	most := max(1, blockSize/len(s.ports))
	block := make([]string, 0, min(most, hosts.Len()))
	left := hosts.Len()
	for host := range hosts.All() {
		block = append(block, host)
		if left--; len(block) < most && left > 0 {
			continue
		}
		found := s.lookUp(ctx, block)
		for ports := range slices.Chunk(s.ports, s.portsAtOnce()) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			s.prepare(found, ports)
			if err := s.ask(ctx); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		block = block[:0]
	}
	return s.verdict()
}

// portsAtOnce returns the number of ports of a block: all over TCP, whose
// results are small and whose order may be random. Over UDP several blocks have
// about the same size: one port alone would be asked in another way.
func (s *portScan) portsAtOnce() int {
	n := len(s.ports)
	if !s.udp {
		return n
	}
	blocks := (n + blockSize - 1) / blockSize
	return (n + blocks - 1) / blocks
}

// A lookup is a host and its addresses.
type lookup struct {
	host  string
	addrs []netip.Addr
	err   error // why there are none
}

// lookUp returns the addresses of the hosts. With a source address only
// addresses of its family count.
func (s *portScan) lookUp(ctx context.Context, hosts []string) []lookup {
	const atOnce = 16
	found := make([]lookup, len(hosts))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, host := range hosts {
		group.Go(func() error {
			l := &found[i]
			l.host = host
			l.addrs, l.err = s.dialer.resolve(ctx, host, s.ports[0])
			if l.err == nil && s.sourceAddr.IsValid() {
				if l.addrs = eyeballs.SameFamily(l.addrs, s.sourceAddr); len(l.addrs) == 0 {
					l.err = fmt.Errorf("connect to %s port %d from %s: Address family for hostname not supported", host, s.ports[0], s.sourceAddr)
				}
			}
			return nil
		})
	}
	_ = group.Wait()
	return found
}

// prepare makes the queries of a block.
func (s *portScan) prepare(hosts []lookup, ports []int) {
	all := make([]query, len(hosts)*len(ports))
	s.queries, s.passed = make([]*query, 0, len(all)), 0
	for _, l := range hosts {
		for _, port := range ports {
			q := &all[len(s.queries)]
			*q = query{host: l.host, port: port, addrs: l.addrs, err: l.err}
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
		q := s.queries[s.passed]
		status := q.status()
		s.open = s.open || status == statusOK
		if status > s.highest {
			s.highest, s.worst = status, *q
		}
		if s.waits() {
			s.kept = append(s.kept, q)
		}
		s.each(q)
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
		for _, l := range scan.UDP(ctx, targets, s.udpOptions, each) {
			s.addLimit(l)
		}
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

// addLimit adds what a block has shown of a host's limit.
func (s *portScan) addLimit(l scan.ICMPLimit) {
	for i := range s.limits {
		if have := &s.limits[i]; have.Host == l.Host {
			have.Silent += l.Silent
			have.Thorough += l.Thorough
			return
		}
	}
	s.limits = append(s.limits, l)
}

// verdict returns the error of the query with the highest status, or nil if
// enough are open: over TCP one, as in nc, over UDP all, unless --all or --any
// is given.
func (s *portScan) verdict() error {
	all := s.opts.all || s.udp && !s.opts.any
	if s.highest == statusOK || s.open && !all {
		return nil
	}
	return statusError{s.highest, s.worst.cause(s.waits())}
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
		if err := scan.WritePingText(c.stdout, e); err != nil {
			stop(fmt.Errorf("write to stdout: %w", sys.Cause(err)))
		}
	})
	if err := scan.WritePingStatsText(c.stdout, &stats); err != nil && ctx.Err() == nil {
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
	s.prepare(s.lookUp(ctx, []string{s.host}), s.ports)
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
