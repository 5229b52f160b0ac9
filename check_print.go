package main

import (
	"errors"
	"fmt"
	"net/netip"

	"purr/internal/display"
	"purr/internal/scan"
	"purr/internal/sweep"
	"purr/internal/sys"
)

// A scanPrinter prints the queries of a scan: on stdout for --banner, --json
// and -u, on stderr nc's lines under -v.
type scanPrinter struct {
	*checker
	failed     func(error) // ends the scan when stdout fails
	unresolved string      // the host whose lookup error was printed
	local      bool        // whether an error of this machine was printed
}

// print prints one query. It is called for all of them in order, one at a time.
// The lookup error of a host is printed once. If stdout fails, the scan ends.
func (s *scanPrinter) print(q *sweep.Query) {
	if q.Err != nil && q.Host != s.unresolved && !s.waits() {
		s.unresolved = q.Host
		s.log.fail(q.Err)
	}
	for _, r := range q.Results {
		s.ncLine(q, r)
	}
	if err := s.write(q); err != nil {
		s.failed(fmt.Errorf("write to stdout: %w", sys.Cause(err)))
	}
}

// ncLine prints nc's line about one address: a success or, over TCP, a failure
// under -v. An error of this machine is no news about the port: over TCP the
// first one is printed even without -v, but not under --json.
func (s *scanPrinter) ncLine(q *sweep.Query, r *scan.Result) {
	switch {
	case r.OK():
		s.log.ncLinef(verbose, "Connection to %s %d port [%s] succeeded!", targetName(q.Host, r.Addr.Addr()), q.Port, s.serviceName(q.Port))
	case r.UDP != nil:
	case s.waits(): // the failed tries have been printed, and the last one will be
	case s.log.level > 0 || r.State == scan.LocalError && !s.local && !s.json:
		s.local = true
		s.log.fail(tcpFailure(q.Host, r))
	}
}

// write prints the query's line on stdout, if it has one.
func (s *scanPrinter) write(q *sweep.Query) error {
	r := q.Best()
	if r == nil {
		r = &scan.Result{Target: scan.Target{Host: q.Host, Addr: netip.AddrPortFrom(netip.Addr{}, uint16(q.Port))}, State: scan.LocalError, Err: q.Err}
		if s.udp {
			r.UDP = &scan.Probe{}
		}
	}
	switch {
	case s.json && s.udp:
		return scan.WriteUDPJSON(s.stdout, r, silentReason(r.UDP), s.opts.expect.Given())
	case s.json:
		return scan.WriteTCPJSON(s.stdout, r)
	case s.udp && r.Addr.Addr().IsValid():
		return scan.WriteUDPText(s.stdout, r, silentReason(r.UDP))
	case s.opts.banner && r.State == scan.Open:
		_, err := fmt.Fprintf(s.stdout, "%s %d: %s\n", display.Escape(q.Host), q.Port, display.Payload(r.Reply, scan.MaxBanner))
		return err
	}
	return nil
}

// queryError returns the error of a port that is not open. waits is true under
// --wait-for and --retry. Otherwise the error is a reportedError: it was
// printed already, or is hidden without -v.
func queryError(q *sweep.Query, waits bool) error {
	err := q.Err
	if r := q.Best(); r != nil && r.UDP != nil {
		err = udpFailure(q.Host, r)
	} else if r != nil {
		err = tcpFailure(q.Host, r)
	}
	if !waits {
		return reportedError{err}
	}
	return err
}

// tcpFailure words the result of a port that is not open as nc does, and adds
// the ICMP error.
func tcpFailure(host string, r *scan.Result) error {
	where := fmt.Sprintf("connect to %s port %d (tcp)", targetName(host, r.Addr.Addr()), r.Addr.Port())
	switch {
	case r.State == scan.NoAnswer:
		return fmt.Errorf("%s timed out: Operation now in progress", where)
	case r.ICMP != nil:
		return fmt.Errorf("%s failed: %s (%v)", where, sys.Strerror(r.Err), r.ICMP)
	}
	return fmt.Errorf("%s failed: %s", where, sys.Strerror(r.Err))
}

// udpFailure words the result of a UDP port that did not answer as expected.
func udpFailure(host string, r *scan.Result) error {
	where := fmt.Sprintf("%s port %d (udp): %s", targetName(host, r.Addr.Addr()), r.Addr.Port(), r.State)
	switch {
	case r.Err != nil:
		return fmt.Errorf("%s: %w", where, sys.Cause(r.Err))
	case r.ICMP != nil:
		return fmt.Errorf("%s: %v", where, r.ICMP)
	case r.UDP.Unexpected:
		return errors.New(where + ", but the answer is not as --expect")
	}
	return errors.New(where)
}

// silentReason returns why a service does not answer, or "" if there is no
// known reason. If a secret is missing, the text names the option for it.
func silentReason(u *scan.Probe) string {
	if u.NeedsSecret {
		return u.Silent + ": give it with --secret-file"
	}
	return u.Silent
}
