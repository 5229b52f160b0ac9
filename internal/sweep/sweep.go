// Package sweep asks ports of many hosts with package scan: it looks the hosts
// up, asks the addresses of a host one after the other until one is open, and
// passes the results on in order. Its memory is bounded by a block of queries
// and not by the number of hosts.
package sweep

import (
	"cmp"
	"context"
	"iter"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"purr/internal/scan"
	"purr/internal/sys"
)

// blockSize is the number of queries that are asked before the next ones are
// made.
const blockSize = 8192

// Options are the options of Run. The zero value is ready to use.
type Options struct {
	TCP scan.TCPOptions
	UDP *scan.UDPOptions // nil: over TCP

	// Resolve returns the addresses of a host in the order to ask them. Nil: the
	// system's resolver. It is called by several goroutines.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	Interval time.Duration // over TCP, between two queries, one at a time; 0: in parallel
	Limit    time.Duration // for the whole run; 0: none
}

// A Query is one port of one host, and its results.
type Query struct {
	Host    string
	Port    int
	Addrs   []netip.Addr   // asked one after the other until one is open
	Results []*scan.Result // of the first addresses
	Err     error          // why there are no addresses
	done    bool
}

// Best returns the result that stands for the port: the first that is OK, else
// the last of the highest rank. It is nil if there are no results.
func (q *Query) Best() (best *scan.Result) {
	for _, r := range q.Results {
		if r.OK() {
			return r
		}
		if best == nil || rank(r) >= rank(best) {
			best = r
		}
	}
	return best
}

// Result returns Best, or a LocalError with Err if there are no results. udp is
// true if the port was to be asked over UDP.
func (q *Query) Result(udp bool) *scan.Result {
	if best := q.Best(); best != nil {
		return best
	}
	r := &scan.Result{Target: scan.Target{Host: q.Host, Addr: netip.AddrPortFrom(netip.Addr{}, uint16(q.Port))}, State: scan.LocalError, Err: q.Err}
	if udp {
		r.UDP = &scan.Probe{}
	}
	return r
}

// Failure describes a port that is not OK: Err, or the failure of Best.
func (q *Query) Failure() error {
	if best := q.Best(); best != nil {
		return best.Failure()
	}
	return q.Err
}

// rank orders the results of a port that is not OK, from the least telling: a
// refusal or an error of this machine, silence, an ICMP error, an unexpected
// answer.
func rank(r *scan.Result) int {
	return slices.Index([]scan.State{scan.NoAnswer, scan.Filtered, scan.Open}, r.State)
}

// A sweep is one call of Run.
type sweep struct {
	Options
	begun  time.Time
	each   func(*Query)
	limits []scan.ICMPLimit

	// Of the block that is asked.
	queries []*Query
	passed  int // queries that each was called with
}

// Run asks all ports of all hosts, and calls each with every query, one at a
// time. The order is that of hosts, then ports; a query is passed on as soon as
// it and all before it have their results. Run returns the hosts that seem to
// limit their ICMP errors. An error is one of this machine, or the cause of
// ctx.
func Run(ctx context.Context, hosts iter.Seq[string], ports []int, o Options, each func(*Query)) ([]scan.ICMPLimit, error) {
	s := &sweep{Options: o, begun: time.Now(), each: each}
	most := max(1, blockSize/max(1, len(ports)))
	var block []string
	for host := range hosts {
		if block = append(block, host); len(block) < most {
			continue
		}
		if err := s.askHosts(ctx, block, ports); err != nil {
			return s.limits, err
		}
		block = block[:0]
	}
	return s.limits, s.askHosts(ctx, block, ports)
}

// askHosts looks up the hosts of a block and asks all their ports. The error is
// that of scan, or the cause of ctx.
func (s *sweep) askHosts(ctx context.Context, hosts []string, ports []int) error {
	found := s.lookUp(ctx, hosts)
	for some := range slices.Chunk(ports, s.portsAtOnce(len(ports))) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.prepare(found, some)
		if err := s.ask(ctx); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// portsAtOnce returns how many of n ports are asked together. Over TCP these
// are all, because the results are small and the order may be random. Over UDP
// the ports are shared evenly among blocks of at most blockSize: a last block
// with a single port would be asked in another way.
func (s *sweep) portsAtOnce(n int) int {
	if s.UDP == nil {
		return max(1, n)
	}
	blocks := (n + blockSize - 1) / blockSize
	return max(1, (n+blocks-1)/max(1, blocks))
}

// A lookup is a host and its addresses.
type lookup struct {
	host  string
	addrs []netip.Addr
	err   error // why there are none
}

// lookUp returns the addresses of the hosts, in their order. A host that cannot
// be resolved has its error in its lookup.
func (s *sweep) lookUp(ctx context.Context, hosts []string) []lookup {
	const atOnce = 16
	resolve := s.Resolve
	if resolve == nil {
		resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	found := make([]lookup, len(hosts))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, host := range hosts {
		group.Go(func() error {
			addrs, err := resolve(ctx, host)
			found[i] = lookup{host, addrs, err}
			return nil
		})
	}
	_ = group.Wait()
	return found
}

// prepare makes the queries of a block, all ports of one host after the other,
// and stores them in s.queries.
func (s *sweep) prepare(hosts []lookup, ports []int) {
	all := make([]Query, len(hosts)*len(ports))
	s.queries, s.passed = make([]*Query, 0, len(all)), 0
	for _, l := range hosts {
		for _, port := range ports {
			q := &all[len(s.queries)]
			*q = Query{Host: l.host, Port: port, Addrs: l.addrs, Err: l.err}
			s.queries = append(s.queries, q)
		}
	}
}

// ask gets the results of s.queries. It asks the first address of every query,
// then the second one of those that have no OK result yet, and so on.
func (s *sweep) ask(ctx context.Context) error {
	var pending []*Query
	for _, q := range s.queries {
		if len(q.Addrs) == 0 {
			s.finish(q)
		} else {
			pending = append(pending, q)
		}
	}
	for round := 0; len(pending) > 0; round++ {
		targets := make([]scan.Target, len(pending))
		for i, q := range pending {
			targets[i] = scan.Target{Host: q.Host, Addr: netip.AddrPortFrom(q.Addrs[round].Unmap(), uint16(q.Port))}
		}
		asked := pending
		pending = nil
		err := s.scan(ctx, targets, func(r *scan.Result) {
			q := asked[0] // the results come in the order of the targets
			asked = asked[1:]
			q.Results = append(q.Results, r)
			if r.OK() || round+1 == len(q.Addrs) {
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

// finish marks q as done. If no query before q is unfinished, it calls s.each
// with q and the done queries that directly follow.
func (s *sweep) finish(q *Query) {
	for q.done = true; s.passed < len(s.queries) && s.queries[s.passed].done; s.passed++ {
		s.each(s.queries[s.passed])
	}
}

// timeout returns the time for one port: own, or usual if own is 0. It is
// shorter if the limit leaves less, but at least 100 ms.
func (s *sweep) timeout(own, usual time.Duration) time.Duration {
	const least = 100 * time.Millisecond
	own = cmp.Or(own, usual)
	if s.Limit == 0 {
		return own
	}
	return min(own, max(least, s.Limit-time.Since(s.begun)))
}

// scan asks the targets, and calls each with their results in the order of the
// targets. Over UDP it also collects the ICMP limits of hosts. With an
// Interval, it asks one TCP target at a time.
func (s *sweep) scan(ctx context.Context, targets []scan.Target, each func(*scan.Result)) error {
	if s.UDP != nil {
		o := *s.UDP
		if o.Wait > 0 || s.Limit > 0 { // else the engine chooses by the number of ports
			o.Wait = s.timeout(o.Wait, scan.DefaultUDPWait)
		}
		for _, l := range scan.UDP(ctx, targets, o, each) {
			s.addLimit(l)
		}
		return nil
	}
	o := s.TCP
	o.Timeout = s.timeout(o.Timeout, scan.DefaultTimeout)
	if s.Interval == 0 {
		return scan.TCP(ctx, targets, o, each)
	}
	for i := range targets {
		if i > 0 && !sys.Sleep(ctx, s.Interval) {
			return context.Cause(ctx)
		}
		if err := scan.TCP(ctx, targets[i:i+1], o, each); err != nil {
			return err
		}
	}
	return nil
}

// addLimit adds the limit that a host has shown in one block to s.limits, where
// the numbers of all blocks of a host are summed.
func (s *sweep) addLimit(l scan.ICMPLimit) {
	for i := range s.limits {
		if have := &s.limits[i]; have.Host == l.Host {
			have.Silent += l.Silent
			have.Thorough += l.Thorough
			return
		}
	}
	s.limits = append(s.limits, l)
}
