package main

import (
	"fmt"

	"purr/internal/display"
	"purr/internal/scan"
	"purr/internal/sweep"
	"purr/internal/sys"
)

// A scanPrinter prints the queries of a scan: on stdout for --banner, --json
// and -u, on stderr nc's lines under -v.
type scanPrinter struct {
	*checker
	out        scan.Writer
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
	if err := s.out.Write(q.Result(s.udp)); err != nil {
		s.failed(fmt.Errorf("write to stdout: %w", sys.Cause(err)))
	}
}

// ncLine prints nc's line about one address: a success or, over TCP, a failure
// under -v. An error of this machine is no news about the port: over TCP the
// first one is printed even without -v, but not under --json.
func (s *scanPrinter) ncLine(q *sweep.Query, r *scan.Result) {
	switch {
	case r.OK():
		s.log.ncLine(verbose, s.log.as.Connected(display.Target(q.Host, r.Addr.Addr()), q.Port, s.serviceName(q.Port), r.Addr.Addr().String()))
	case r.UDP != nil:
	case s.waits(): // the failed tries have been printed, and the last one will be
	case s.log.level > 0 || r.State == scan.LocalError && !s.local && !s.json:
		s.local = true
		s.log.fail(r.Failure())
	}
}

// silentReason returns why a service does not answer, or "" if there is no
// known reason. If a secret is missing, the text names the option for it.
func silentReason(u *scan.Probe) string {
	if u.NeedsSecret {
		return u.Silent + ": give it with --secret-file"
	}
	return u.Silent
}
