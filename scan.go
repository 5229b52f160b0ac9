package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"purr/internal/display"
)

// A scanState is what a TCP port said to a connection. The words are stable: scripts and --json use them.
type scanState string

const (
	scanOpen        scanState = "open"
	scanClosed      scanState = "closed"      // refused
	scanTimeout     scanState = "no-answer"   // nothing came back
	scanUnreachable scanState = "filtered"    // an ICMP error came back: a router refuses or knows no way
	scanFailed      scanState = "local-error" // this machine could not ask
)

const (
	scanParallel   = 256
	scanWait       = 3 * time.Second
	scanBannerWait = 2 * time.Second
	scanBannerMost = 512 // bytes
)

// scanOptions says how to scan. The zero value is ready to use.
type scanOptions struct {
	parallel   int            // connections in flight; 0: scanParallel
	timeout    time.Duration  // for each port; 0: scanWait
	shuffle    bool           // ask in random order; results come in the order of targets all the same
	banner     bool           // read what an open port says first
	bannerWait time.Duration  // for that; 0: scanBannerWait
	source     netip.AddrPort // bound to if valid
}

// scanResult is the outcome for one port.
type scanResult struct {
	host   string // as the user wrote it
	target netip.AddrPort
	state  scanState
	rtt    time.Duration // of the connection, or until it was refused
	err    error         // of every state but open
	icmp   *probeICMP    // who said unreachable, and why; nil if that is not known
	banner []byte        // of an open port, with scanOptions.banner; at most scanBannerMost bytes, not escaped
}

// status returns the exit status for this port alone.
func (r *scanResult) status() int {
	switch r.state {
	case scanOpen:
		return 0
	case scanTimeout:
		return 3
	case scanUnreachable:
		return 4
	}
	return 1
}

// sourceFor returns what to bind to on the way to target: source, or the same port of target's family if that is all
// that was chosen.
func sourceFor(source, target netip.AddrPort) netip.AddrPort {
	if source.IsValid() && source.Addr().IsUnspecified() && source.Addr().Is4() != target.Addr().Is4() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), source.Port())
	}
	return source
}

// errScanSelf is why a connection to ourselves counts as a closed port.
var errScanSelf = errors.New("connection refused (the only listener was our own connection)")

// scanRun is one scan. Engines take indexes from order and call report once for each.
type scanRun struct {
	o       scanOptions
	targets []probeTarget
	order   []int
	mu      sync.Mutex
	out     inOrder[scanResult]

	inFlight atomic.Int64 // connections under way, of all engines
}

// scanTCP connects to every target and calls each with the results in the order of targets, one at a time. An open port
// sees a connection that is closed in the ordinary way, or is reset if what it said was not read. What ctx cuts off is not
// reported, and its error is returned.
func scanTCP(ctx context.Context, targets []probeTarget, o scanOptions, each func(scanResult)) error {
	if o.parallel <= 0 {
		o.parallel = scanParallel
	}
	if o.timeout <= 0 {
		o.timeout = scanWait
	}
	if o.bannerWait <= 0 {
		o.bannerWait = scanBannerWait
	}
	s := &scanRun{o: o, targets: targets, out: inOrder[scanResult]{each: each}}
	if o.shuffle {
		s.order = rand.Perm(len(targets))
	} else {
		s.order = make([]int, len(targets))
		for i := range s.order {
			s.order[i] = i
		}
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// report delivers the result of target i, whose host and target it fills in.
func (s *scanRun) report(i int, r scanResult) {
	r.host, r.target = s.targets[i].host, s.targets[i].addr
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.put(i, r)
}

// scanJudge returns the state that a connection's error means.
func scanJudge(err error) scanState {
	const wsaConnRefused, wsaNetUnreach, wsaHostUnreach = 10061, 10051, 10065 // Windows
	var errno syscall.Errno
	switch {
	case err == nil:
		return scanOpen
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, context.DeadlineExceeded):
		return scanTimeout
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, errScanSelf):
		return scanClosed
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN),
		errors.Is(err, syscall.EHOSTDOWN):
		return scanUnreachable
	case errors.As(err, &errno) && errno == wsaConnRefused:
		return scanClosed
	case errors.As(err, &errno) && (errno == wsaNetUnreach || errno == wsaHostUnreach):
		return scanUnreachable
	}
	return scanFailed
}

// scanExhausted says whether err means that this machine has no more descriptors or ports at the moment, which finishing
// connections give back.
func scanExhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// scanJSON is the object of --json. Its field names are a promise.
type scanJSON struct {
	V       int        `json:"v"`
	Host    string     `json:"host"`
	Address string     `json:"address,omitempty"` // where host is a name
	Port    uint16     `json:"port"`
	State   scanState  `json:"state"`
	RTT     *int64     `json:"rtt_us"` // null unless something came back
	Banner  string     `json:"banner,omitempty"`
	ICMP    *probeICMP `json:"icmp,omitempty"`
	Error   string     `json:"error,omitempty"`
}

// hostAndAddress are the fields of an object of --json: the host as the user wrote it, and its address where that is
// something else and known.
func hostAndAddress(host string, addr netip.Addr) (string, string) {
	switch address := addr.String(); {
	case host == "":
		return address, ""
	case host != address && addr.IsValid():
		return host, address
	}
	return host, ""
}

// writeScanJSON writes the object of one port and a newline. The banner is escaped as for a terminal.
func writeScanJSON(w io.Writer, r *scanResult) error {
	o := scanJSON{V: 1, Port: r.target.Port(), State: r.state, ICMP: r.icmp, Banner: display.Payload(r.banner, scanBannerMost)}
	o.Host, o.Address = hostAndAddress(r.host, r.target.Addr())
	if r.state == scanOpen || r.state == scanClosed {
		us := r.rtt.Microseconds()
		o.RTT = &us
	}
	if r.err != nil {
		o.Error = r.err.Error()
	}
	return json.NewEncoder(w).Encode(o)
}
