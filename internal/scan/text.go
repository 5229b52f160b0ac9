package scan

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"purr/internal/display"
	"purr/internal/sys"
)

// Failure describes a port that is not OK: over TCP in OpenBSD nc's words, with
// the ICMP error if there is one.
func (r *Result) Failure() error {
	target := display.Target(r.Host, r.Addr.Addr())
	if r.UDP == nil {
		where := fmt.Sprintf("connect to %s port %d (tcp)", target, r.Addr.Port())
		switch {
		case r.State == NoAnswer:
			return fmt.Errorf("%s timed out: Operation now in progress", where)
		case r.ICMP != nil:
			return fmt.Errorf("%s failed: %s (%v)", where, sys.Strerror(r.Err), r.ICMP)
		}
		return fmt.Errorf("%s failed: %s", where, sys.Strerror(r.Err))
	}
	where := fmt.Sprintf("%s port %d (udp): %s", target, r.Addr.Port(), r.State)
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

// A Writer writes the results of a scan, at most one line for each.
type Writer struct {
	W      io.Writer
	JSON   bool // objects in place of lines
	Banner bool // of TCP as text: write the banners of open ports
	Expect bool // UDPOptions.Expect was given

	// Note returns the words about a port without an answer. Nil, or an empty
	// result: those of WriteUDPText.
	Note func(*Probe) string
}

// Write writes the line of one port, if it has one: over TCP as text only an
// open port with Banner does, over UDP as text only a port with an address.
func (w *Writer) Write(r *Result) error {
	note := ""
	if r.UDP != nil && w.Note != nil {
		note = w.Note(r.UDP)
	}
	switch {
	case w.JSON && r.UDP != nil:
		return WriteUDPJSON(w.W, r, note, w.Expect)
	case w.JSON:
		return WriteTCPJSON(w.W, r)
	case r.UDP != nil && r.Addr.Addr().IsValid():
		return WriteUDPText(w.W, r, note)
	case r.UDP == nil && w.Banner && r.State == Open:
		_, err := fmt.Fprintf(w.W, "%s %d: %s\n", display.Escape(r.Host), r.Addr.Port(), display.Payload(r.Reply, MaxBanner))
		return err
	}
	return nil
}

// WriteUDPText writes the line of one UDP port, escaped for a terminal:
//
//	10.0.2.2:53/udp   open       0.46 ms  dns    REFUSED
//
// note replaces the usual words about a port without an answer, unless it is
// empty.
func WriteUDPText(w io.Writer, r *Result, note string) error {
	took, about := display.RoundTrip(r.RTT), ""
	switch r.State {
	case Open:
		about = fmt.Sprintf("%-6s %s", r.UDP.Payload, answerText(r))
	case Closed, Filtered:
		about = "closed (no detail)"
		if r.ICMP != nil {
			about = r.ICMP.String()
		}
	case NoAnswer:
		took = fmt.Sprintf("%.1f s", r.UDP.Waited.Seconds())
		about = fmt.Sprintf("%s, %d sent: %s", r.UDP.Payload, r.UDP.Sent,
			cmp.Or(note, "open but silent, or dropped on the way"))
	case LocalError:
		took, about = "-", display.Payload([]byte(fmt.Sprint(r.Err)), 200)
	}
	line := fmt.Sprintf("%-17s %-10s %-8s %s", r.Addr.String()+"/udp", r.State, took, about)
	_, err := io.WriteString(w, strings.TrimRight(line, " ")+"\n")
	return err
}

// answerText describes the answer of an open port: its fact, and its source if
// that is not the target.
func answerText(r *Result) string {
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

// WritePingText writes the line of one event: "seq=3 0.42 ms".
func WritePingText(w io.Writer, e *PingEvent) error {
	line := fmt.Sprintf("seq=%d %s", e.Seq, display.RoundTrip(e.RTT))
	switch {
	case e.Kind == PingRejected && e.ICMP != nil:
		line += fmt.Sprintf(" %s %v", e.State, e.ICMP)
	case e.Kind == PingRejected:
		line += fmt.Sprintf(" %s (no detail)", e.State)
	case e.Kind != PingAnswer:
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

// WritePingStatsText writes the line of the sums, and a second one about the
// directions if the far end counts.
func WritePingStatsText(w io.Writer, s *PingStats) error {
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
