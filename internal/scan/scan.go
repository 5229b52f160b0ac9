// Package scan finds out the states of ports: over TCP by connecting to them,
// over UDP by sending requests of package payload. Ping measures one UDP port.
// Nothing needs privileges.
//
// On Linux a state names the ICMP error behind it and its sender, and round
// trip times over UDP are the kernel's. Other systems report closed ports only.
package scan

import (
	"net/netip"
	"sync"
	"time"
)

// A Target is one port to ask.
type Target struct {
	Host string // as the user wrote it; may be empty
	Addr netip.AddrPort
}

// name returns the host, or the address if there is none.
func (t *Target) name() string {
	if t.Host == "" {
		return t.Addr.Addr().String()
	}
	return t.Host
}

// A State is the state of a port. The words are stable: scripts and --json use
// them.
type State string

const (
	Open       State = "open"        // TCP: connected; UDP: answered
	Closed     State = "closed"      // TCP: refused; UDP: port unreachable, sent by the target itself
	Filtered   State = "filtered"    // any other ICMP error
	NoAnswer   State = "no-answer"   // dropped on the way, or, over UDP, open and silent
	LocalError State = "local-error" // this machine could not ask
)

// A Result is the outcome for one port.
type Result struct {
	Target
	State State

	// RTT is the time from the request to the answer or the error. Over UDP it
	// is 0 if neither came.
	RTT time.Duration

	Err   error  // over TCP of every state but Open, over UDP of LocalError
	ICMP  *ICMP  // the error behind Closed or Filtered; nil if there is none or the system does not report it
	Reply []byte // of Open: over TCP with TCPOptions.Banner the first bytes, over UDP the answer; not escaped
	UDP   *Probe // nil over TCP
}

// OK reports whether the port is open, and over UDP whether its answer
// satisfies UDPOptions.Expect.
func (r *Result) OK() bool { return r.State == Open && (r.UDP == nil || !r.UDP.Unexpected) }

// A Probe holds the details of a result over UDP.
type Probe struct {
	Payload string        // the payload that was answered, else all that were sent, joined by "+"
	Sent    int           // datagrams
	Waited  time.Duration // from the first datagram to the verdict

	KernelRTT  bool           // Result.RTT was measured by the kernel
	Request    []byte         // the request that Result.Reply answers
	From       netip.AddrPort // source of Result.Reply
	Fact       string         // one line of printable ASCII about Result.Reply; may be empty
	Unexpected bool           // Result.Reply does not satisfy UDPOptions.Expect

	Silent      string // of NoAnswer: why the service never answers; may be empty
	NeedsSecret bool   // with UDPOptions.Secret it would answer
}

// ordered passes on results in the order of their targets.
type ordered struct {
	each func(*Result) // called for one result at a time

	mu      sync.Mutex
	results []*Result // that wait for an earlier one, by index
	next    int       // index that is due
}

// newOrdered returns an ordered for n targets, which calls the function each
// with every result.
func newOrdered(n int, each func(*Result)) *ordered {
	return &ordered{each: each, results: make([]*Result, n)}
}

// put passes on the result of target i as soon as all earlier ones are. It may
// be called from many goroutines.
func (o *ordered) put(i int, r *Result) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.results[i] = r
	for o.next < len(o.results) && o.results[o.next] != nil {
		due := o.results[o.next]
		o.results[o.next] = nil
		o.next++
		o.each(due)
	}
}

// sourceFor returns the address to bind to on the way to target. A source that
// is only a port has the unspecified IPv4 address; for an IPv6 target it gets
// the IPv6 one.
func sourceFor(source, target netip.AddrPort) netip.AddrPort {
	if source.IsValid() && source.Addr().IsUnspecified() && source.Addr().Is4() != target.Addr().Is4() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), source.Port())
	}
	return source
}
