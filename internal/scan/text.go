package scan

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"purr/internal/display"
)

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
