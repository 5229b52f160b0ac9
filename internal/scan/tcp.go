package scan

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"purr/internal/sys"
)

// Defaults of TCPOptions.
const (
	DefaultParallel   = 256
	DefaultTimeout    = 3 * time.Second
	DefaultBannerWait = 2 * time.Second
)

// MaxBanner is the largest banner in bytes.
const MaxBanner = 512

// TCPOptions are the options of TCP. The zero value is ready to use.
type TCPOptions struct {
	Parallel   int            // connections in flight; 0: DefaultParallel
	Timeout    time.Duration  // for the connection to each port; 0: DefaultTimeout
	Shuffle    bool           // connect in random order
	Banner     bool           // read the first bytes of an open port
	BannerWait time.Duration  // for the first bytes; 0: DefaultBannerWait
	Source     netip.AddrPort // bound to if valid; an unspecified address stands for both families
}

// tcpScan is one call of TCP. Engines take indexes from order, and report one
// result for each.
type tcpScan struct {
	o       TCPOptions
	targets []Target
	order   []int
	out     *ordered

	inFlight atomic.Int64 // connections of all engines
}

// TCP connects to every target, and calls each with the results in the order of
// targets, one at a time. An open port sees its connection closed in the
// ordinary way, or reset if it has sent bytes that were not read. When ctx
// ends, TCP returns its cause; targets without a result get none. Any other
// error means that the system refuses what every connection needs.
func TCP(ctx context.Context, targets []Target, o TCPOptions, each func(*Result)) error {
	if o.Parallel <= 0 {
		o.Parallel = DefaultParallel
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.BannerWait <= 0 {
		o.BannerWait = DefaultBannerWait
	}
	s := &tcpScan{o: o, targets: targets, out: newOrdered(len(targets), each)}
	if o.Shuffle {
		s.order = rand.Perm(len(targets))
	} else {
		s.order = make([]int, len(targets))
		for i := range s.order {
			s.order[i] = i
		}
	}
	err := s.run(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// report completes the result of target i and passes it on in the order of
// targets.
func (s *tcpScan) report(i int, r Result) {
	r.Target = s.targets[i]
	s.out.put(i, &r)
}

// errSelfConnect is the error of a port whose only listener was the connection
// itself.
var errSelfConnect = errors.New("connection refused (the only listener was our own connection)")

// stateOf returns the state that the error of a connection attempt proves.
func stateOf(err error) State {
	const wsaNetUnreach, wsaHostUnreach = 10051, 10065 // Windows
	var errno syscall.Errno
	switch {
	case err == nil:
		return Open
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, context.DeadlineExceeded):
		return NoAnswer
	case sys.IsRefused(err), sys.IsReset(err), errors.Is(err, errSelfConnect):
		return Closed
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN),
		errors.Is(err, syscall.EHOSTDOWN):
		return Filtered
	case errors.As(err, &errno) && (errno == wsaNetUnreach || errno == wsaHostUnreach):
		return Filtered
	}
	return LocalError
}

// exhausted reports whether err means that this machine has no descriptors,
// ports or memory at the moment, which finished connections give back.
func exhausted(err error) bool {
	var call *os.SyscallError
	if errors.As(err, &call) && call.Syscall == "bind" && call.Err == syscall.EADDRNOTAVAIL {
		return false // not an address of this machine; without ports it would be EADDRINUSE
	}
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
