package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"purr/internal/display"
	"purr/internal/eyeballs"
	"purr/internal/scan"
	"purr/internal/sock"
	"purr/internal/sweep"
	"purr/internal/sys"
)

// This file is -z: it runs package sweep and makes one status of the results.
// check_print.go prints them.

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
	json   bool      // print objects in place of lines
	stdin  io.Reader // hosts or a payload
	stdout io.Writer

	encryption *encryption
	confine    func() // called before the first port is asked
}

// A verdict makes one status of the queries of a scan.
type verdict struct {
	highest exitStatus
	worst   *sweep.Query // the first with the highest status
	open    bool         // whether any port is open
}

// add takes the next query of the scan into account.
func (v *verdict) add(q *sweep.Query) {
	status := statusFailed // there are no addresses
	if best := q.Best(); best != nil {
		status = resultStatus(best)
	}
	v.open = v.open || status == statusOK
	if status > v.highest {
		v.highest, v.worst = status, q
	}
}

// verdict returns nil if enough ports are open, else the error of the query
// with the highest status. Over TCP one open port is enough, as in nc, unless
// --all is given. Over UDP all have to be open, unless --any is given.
func (c *checker) verdict(v verdict) error {
	all := c.opts.all || c.udp && !c.opts.any
	if v.highest == statusOK || v.open && !all {
		return nil
	}
	err := v.worst.Failure()
	if !c.waits() { // it was printed already, or is hidden without -v
		err = reportedError{err}
	}
	return statusError{v.highest, err}
}

// sweepOptions returns the options of a scan. The error is that of looking up
// the address of -s.
func (c *checker) sweepOptions(ctx context.Context) (sweep.Options, error) {
	var peers []netip.Addr
	if c.source != "" {
		peers, _ = c.resolve(ctx, c.host, c.ports[0]) // an error is the scan's to report
	}
	source, err := c.localAddr(ctx, peers)
	if err != nil {
		return sweep.Options{}, err
	}
	own := source.Addr()
	if !own.IsValid() && source.Port() != 0 { // -p alone: scan takes the family from each target
		source = netip.AddrPortFrom(netip.IPv4Unspecified(), source.Port())
	}
	k := &c.opts
	o := sweep.Options{Interval: c.interval, Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) { return c.resolveFrom(ctx, own, host) }}
	if c.udp {
		o.UDP = &scan.UDPOptions{Payload: k.payload, Expect: k.expect, Secret: k.secret, Source: source, Wait: c.connectTimeout,
			Parallel: k.parallel, Rate: float64(k.rate), Sends: k.sends, Thorough: k.thorough}
	} else {
		o.TCP = scan.TCPOptions{Parallel: k.parallel, Shuffle: c.shuffle, Banner: k.banner, BannerWait: c.connectTimeout, Source: source, Timeout: c.connectTimeout}
	}
	return o, nil
}

// resolveFrom returns the addresses of a host. If own is valid, addresses of
// the other family are left out, and it is an error if none remains.
func (c *checker) resolveFrom(ctx context.Context, own netip.Addr, host string) ([]netip.Addr, error) {
	addrs, err := c.resolve(ctx, host, c.ports[0])
	if err != nil || !own.IsValid() {
		return addrs, err
	}
	if addrs = eyeballs.SameFamily(addrs, own); len(addrs) == 0 {
		return nil, fmt.Errorf("connect to %s port %d from %s: Address family for hostname not supported", host, c.ports[0], own)
	}
	return addrs, nil
}

// check scans. With --wait-for or --retry it scans until the status is 0, and
// prints the last results only.
func (c *checker) check(ctx context.Context) error {
	switch {
	case c.unix:
		c.confine()
		return c.checkUnix(ctx)
	case c.encryption.ssl.on:
		return c.checkTLS(ctx)
	case c.proxied != nil:
		return c.checkProxied(ctx)
	}
	hosts, err := c.hosts()
	if err != nil {
		return err
	}
	if err := c.opts.payload.Load(c.stdin); err != nil {
		return fmt.Errorf("option --payload: %w", sys.Cause(err))
	}
	c.confine()
	if c.opts.ping {
		return c.ping(ctx)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out := &scanPrinter{checker: c, failed: stop,
		out: scan.Writer{W: c.stdout, JSON: c.json, Banner: c.opts.banner, Expect: c.opts.expect.Given(), Note: silentReason}}
	var last []*sweep.Query
	var limits []scan.ICMPLimit
	err = c.retry(ctx, func(ctx context.Context, limit time.Duration) error {
		o, err := c.sweepOptions(ctx)
		if err != nil {
			return err
		}
		o.Limit = limit
		last = nil
		var v verdict
		limits, err = sweep.Run(ctx, hosts.All(), c.ports, o, func(q *sweep.Query) {
			v.add(q)
			if c.waits() {
				last = append(last, q)
			} else {
				out.print(q)
			}
		})
		return cmp.Or(err, c.verdict(v))
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, q := range last {
		out.print(q)
	}
	for _, l := range limits {
		c.log.warnf("%s limits its ICMP to about 1/s: %d ports without an answer may be closed; --thorough takes about %v",
			l.Host, l.Silent, l.Thorough.Round(time.Second))
	}
	return cmp.Or(context.Cause(ctx), err)
}

// hosts returns the hosts of the command line, or those on stdin. If they
// contain ranges, a warning states how many ports will be asked.
func (c *checker) hosts() (*sweep.Hosts, error) {
	hosts := c.opts.hosts
	if c.opts.hostsOnStdin {
		var err error
		if hosts, err = sweep.ReadHosts(bufio.NewReader(c.stdin)); err != nil {
			return nil, fmt.Errorf("hosts on stdin: %w", sys.Cause(err))
		}
	}
	if hosts.HasRanges() {
		all := int64(hosts.Len()) * int64(len(c.ports))
		c.log.warnf("%s, %s: %d to ask", display.Plural(int64(hosts.Len()), "host"), display.Plural(int64(len(c.ports)), "port"), all)
	}
	return hosts, nil
}

// askInTurn calls ask for one port after the other. One good port is enough, as
// in a scan over TCP, unless --all is given; else it returns the error with the
// highest status.
func (c *checker) askInTurn(ctx context.Context, ask func(port int) error) error {
	var worst error
	good := false
	for i, port := range c.ports {
		if i > 0 && !sys.Sleep(ctx, c.interval) {
			return context.Cause(ctx)
		}
		err := ask(port)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		good = good || err == nil
		if statusOf(err) > statusOf(worst) {
			worst = err
		}
	}
	if good && !c.opts.all {
		return nil
	}
	return worst
}

// checkUnix connects to a Unix socket, and with --wait-for or --retry repeats
// that until it succeeds. If the listen queue stays full for the time limit of
// a port, the status is that of no answer, not that of a closed socket.
func (c *checker) checkUnix(ctx context.Context) error {
	return c.retry(ctx, func(ctx context.Context, limit time.Duration) error {
		conn, err := c.connectUnix(ctx, cmp.Or(limit, c.connectTimeout, scan.DefaultTimeout))
		if errors.Is(err, sock.ErrListenQueueFull) {
			err = statusError{statusUnknown, err}
		}
		if err != nil {
			if c.waits() || ctx.Err() != nil {
				return err
			}
			c.log.verbosef("%v", err)
			return statusError{statusOf(err), reportedError{err}}
		}
		c.log.verbosef("connection to %s succeeded", c.path)
		return conn.Close()
	})
}

// minStrangerInterval is the least time between pings to addresses that are not
// private.
const minStrangerInterval = 200 * time.Millisecond

// ping sends -c datagrams to one port, and prints the answers and their
// statistics. It fails if there is no answer at all, or if the share of lost
// pings is above --max-loss.
func (c *checker) ping(ctx context.Context) error {
	s, err := c.sweepOptions(ctx)
	if err != nil {
		return err
	}
	addrs, err := s.Resolve(ctx, c.host)
	if err != nil {
		return err
	}
	addr := scan.Answering(ctx, c.host, addrs, uint16(c.ports[0]), *s.UDP)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if near := addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast(); !near && c.interval > 0 && c.interval < minStrangerInterval {
		return fmt.Errorf("ping %s: an interval below %v is for loopback and private addresses only", addr, minStrangerInterval)
	}
	o := scan.PingOptions{Payload: s.UDP.Payload, Secret: s.UDP.Secret, Source: s.UDP.Source,
		Count: c.opts.pings, Interval: c.interval, Wait: c.connectTimeout}
	out := scan.PingWriter{W: c.stdout, Target: scan.Target{Host: c.host, Addr: netip.AddrPortFrom(addr, uint16(c.ports[0]))}, JSON: c.json}
	stats, err := out.Run(ctx, o)
	status := pingStatus(&stats)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("write to stdout: %w", sys.Cause(err))
	case stats.Err != nil:
		return fmt.Errorf("ping %s port %d (udp): %w", display.Target(c.host, addr), c.ports[0], sys.Cause(stats.Err))
	case status == statusOK && stats.Lost() > c.opts.maxLoss:
		return statusError{statusFailed, fmt.Errorf("%.4g %% of the pings were lost, more than --max-loss", 100*stats.Lost())}
	case status != statusOK:
		return statusError{status, reportedError{errors.New("no answer")}}
	}
	return nil
}

// pingStatus returns the exit status for a ping. One answer in time is enough
// for statusOK.
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
