package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"purr/internal/display"
	"purr/internal/payload"
	"purr/internal/scan"
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
func (s *scanPrinter) print(q *query) {
	if q.err != nil && q.host != s.unresolved && !s.waits() {
		s.unresolved = q.host
		s.log.fail(q.err)
	}
	for _, r := range q.results {
		s.ncLine(q, r)
	}
	if err := s.write(q); err != nil {
		s.failed(fmt.Errorf("write to stdout: %w", sys.Cause(err)))
	}
}

// ncLine prints nc's line about one address. An error of this machine is no
// news about the port: over TCP it is printed once even without -v.
func (s *scanPrinter) ncLine(q *query, r *scan.Result) {
	switch {
	case resultStatus(r) == 0:
		s.log.ncLinef(verbose, "Connection to %s %d port [%s] succeeded!", targetName(q.host, r.Addr.Addr()), q.port, s.serviceName(q.port))
	case r.UDP != nil:
	case s.waits(): // the failed tries have been printed, and the last one will be
	case s.log.level > 0 || r.State == scan.LocalError && !s.local && !s.json:
		s.local = true
		s.log.fail(tcpFailure(q.host, r))
	}
}

// write prints the query's line on stdout, if it has one.
func (s *scanPrinter) write(q *query) error {
	r := q.best()
	if r == nil {
		r = &scan.Result{Target: scan.Target{Host: q.host, Addr: netip.AddrPortFrom(netip.Addr{}, uint16(q.port))}, State: scan.LocalError, Err: q.err}
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
		return writeUDP(s.stdout, r)
	case s.opts.banner && r.State == scan.Open:
		_, err := fmt.Fprintf(s.stdout, "%s %d: %s\n", display.Escape(q.host), q.port, display.Payload(r.Reply, scan.MaxBanner))
		return err
	}
	return nil
}

// cause returns the error of a port that is not open. Without waits, which is
// --wait-for or --retry, it has been printed, or is not wanted without -v.
func (q *query) cause(waits bool) error {
	err := q.err
	if r := q.best(); r != nil && r.UDP != nil {
		err = udpFailure(q.host, r)
	} else if r != nil {
		err = tcpFailure(q.host, r)
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

// writeUDP writes the line of one UDP port:
//
//	10.0.2.2:53/udp   open       0.46 ms  dns    REFUSED
func writeUDP(w io.Writer, r *scan.Result) error {
	took, about := display.RoundTrip(r.RTT), ""
	switch r.State {
	case scan.Open:
		about = fmt.Sprintf("%-6s %s", r.UDP.Payload, answerText(r))
	case scan.Closed, scan.Filtered:
		about = "closed (no detail)"
		if r.ICMP != nil {
			about = r.ICMP.String()
		}
	case scan.NoAnswer:
		took = fmt.Sprintf("%.1f s", r.UDP.Waited.Seconds())
		about = fmt.Sprintf("%s, %d sent: %s", r.UDP.Payload, r.UDP.Sent,
			cmp.Or(silentReason(r.UDP), "open but silent, or dropped on the way"))
	case scan.LocalError:
		took, about = "-", display.Payload([]byte(fmt.Sprint(r.Err)), 200)
	}
	line := fmt.Sprintf("%-17s %-10s %-8s %s", r.Addr.String()+"/udp", r.State, took, about)
	_, err := io.WriteString(w, strings.TrimRight(line, " ")+"\n")
	return err
}

// answerText describes the answer of an open port: its fact, and its source if
// that is not the target.
func answerText(r *scan.Result) string {
	var parts []string
	if r.UDP.Fact != "" {
		parts = append(parts, r.UDP.Fact)
	}
	if r.UDP.From.Port() != r.Addr.Port() {
		parts = append(parts, fmt.Sprintf("from port %d", r.UDP.From.Port()))
	}
	if r.UDP.From.Addr().WithZone("") != r.Addr.Addr().WithZone("") {
		parts = append(parts, "from "+r.UDP.From.Addr().String())
	}
	if r.UDP.Unexpected {
		parts = append(parts, "not as expected")
	}
	return strings.Join(parts, ", ")
}

// silentReason returns why a service does not answer, or "".
func silentReason(u *scan.Probe) string {
	if u.NeedsSecret {
		return u.Silent + ": give it with --secret-file"
	}
	return u.Silent
}

// writePing writes the line of one event: "seq=3 0.42 ms".
func writePing(w io.Writer, e *scan.PingEvent) error {
	line := fmt.Sprintf("seq=%d %s", e.Seq, display.RoundTrip(e.RTT))
	switch {
	case e.Kind == scan.PingRejected && e.ICMP != nil:
		line += fmt.Sprintf(" %s %v", e.State, e.ICMP)
	case e.Kind == scan.PingRejected:
		line += fmt.Sprintf(" %s (no detail)", e.State)
	case e.Kind != scan.PingAnswer:
		line += " " + string(e.Kind)
	case e.Reordered:
		line += " reordered"
	}
	if e.Fact != "" {
		line += " " + e.Fact
	}
	_, err := io.WriteString(w, line+"\n")
	return err
}

// writePingStats writes the sums, and a second line about the directions if the
// far end counts.
func writePingStats(w io.Writer, s *scan.PingStats) error {
	line := fmt.Sprintf("%d sent, %d answered, %.4g %% lost, %d duplicate, %d late, %d reordered", s.Sent, s.Answered,
		100*s.Lost(), s.Duplicate, s.Late, s.Reordered)
	if s.Rejected > 0 {
		line += fmt.Sprintf(", %d rejected", s.Rejected)
	}
	if s.Answered > 0 {
		ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
		line += fmt.Sprintf("; rtt min/avg/p50/p95/max/sdev %s/%s/%s/%s/%s/%s ms; jitter %s ms (RFC 3550 6.4.1)", ms(s.Min),
			ms(s.Mean()), ms(s.Percentile(50)), ms(s.Percentile(95)), ms(s.Max), ms(s.StdDev()), ms(s.Jitter))
		if s.UserClock {
			line += "; clock=user"
		}
	}
	if first, there, back, known := s.Directions(); known {
		line += fmt.Sprintf("\nof the first %d: %d lost on the way there, %d on the way back", first, there, back)
	}
	_, err := io.WriteString(w, line+"\n")
	return err
}

// payloadList returns the text of --list-payloads.
func payloadList() string {
	var b strings.Builder
	for _, p := range payload.All() {
		var ports []string
		for _, n := range p.Ports {
			ports = append(ports, strconv.Itoa(int(n)))
		}
		line := fmt.Sprintf("%-10s %-24s %s", p.Name, strings.Join(ports, ","), cmp.Or(p.Silent, p.Doc))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
