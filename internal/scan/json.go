package scan

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/netip"

	"purr/internal/display"
)

// The objects of WriteTCPJSON, WriteUDPJSON and PingWriter. Their member names
// are a promise.
type (
	// A portJSON is the members that all objects begin with.
	portJSON struct {
		V        int    `json:"v"`
		Host     string `json:"host"`              // as the user wrote it
		Address  string `json:"address,omitempty"` // where host is a name, and it is known
		Port     uint16 `json:"port"`
		Protocol string `json:"protocol"` // "tcp" or "udp"
	}
	tcpJSON struct {
		portJSON
		State  State     `json:"state"`
		RTT    *int64    `json:"rtt_us"` // null without an answer
		Banner string    `json:"banner,omitempty"`
		ICMP   *icmpJSON `json:"icmp,omitempty"`
		Error  string    `json:"error,omitempty"`
	}
	udpJSON struct {
		portJSON
		State    State      `json:"state"`
		Payload  string     `json:"payload"`
		Sent     int        `json:"sent"`
		RTT      *int64     `json:"rtt_us"` // null without an answer
		Clock    string     `json:"clock,omitempty"`
		ICMP     *icmpJSON  `json:"icmp"`
		Reply    *replyJSON `json:"reply"`
		Expected *bool      `json:"expected,omitempty"` // only if something was expected
		Note     string     `json:"note,omitempty"`
		Error    string     `json:"error,omitempty"`
	}
	icmpJSON struct {
		Type int        `json:"type"`
		Code int        `json:"code"`
		From netip.Addr `json:"from"`
	}
	replyJSON struct {
		Bytes int    `json:"bytes"`
		From  string `json:"from"` // address and port
		Fact  string `json:"fact,omitempty"`
		Hex   string `json:"hex"`
	}
	pingJSON struct {
		portJSON
		Event     PingKind  `json:"event"`
		Seq       int       `json:"seq"`
		RTT       int64     `json:"rtt_us"`
		Clock     string    `json:"clock"`
		Reordered bool      `json:"reordered,omitempty"`
		Fact      string    `json:"fact,omitempty"`
		State     State     `json:"state,omitempty"`
		ICMP      *icmpJSON `json:"icmp,omitempty"`
	}
	pingSumsJSON struct {
		portJSON
		Event      string          `json:"event"` // "summary"
		Payload    string          `json:"payload"`
		Sent       int             `json:"sent"`
		Answered   int             `json:"answered"`
		Lost       int             `json:"lost"`
		Duplicate  int             `json:"duplicate"`
		Late       int             `json:"late"`
		Reordered  int             `json:"reordered"`
		Rejected   int             `json:"rejected"`
		RTT        *rttsJSON       `json:"rtt_us"` // null without an answer
		Clock      string          `json:"clock,omitempty"`
		Directions *directionsJSON `json:"directions,omitempty"` // only if the far end counts
		Error      string          `json:"error,omitempty"`
	}
	rttsJSON struct {
		Min    int64 `json:"min"`
		Mean   int64 `json:"mean"`
		P50    int64 `json:"p50"`
		P95    int64 `json:"p95"`
		Max    int64 `json:"max"`
		StdDev int64 `json:"sdev"`
		Jitter int64 `json:"jitter"`
	}
	directionsJSON struct {
		First int `json:"first"` // pings that the others are about
		There int `json:"lost_there"`
		Back  int `json:"lost_back"`
	}
)

// newPortJSON returns the first members of an object about t.
func newPortJSON(t Target, protocol string) portJSON {
	o := portJSON{V: 1, Host: t.Host, Address: t.Addr.Addr().String(), Port: t.Addr.Port(), Protocol: protocol}
	switch {
	case t.Host == "":
		o.Host, o.Address = o.Address, ""
	case t.Host == o.Address || !t.Addr.Addr().IsValid():
		o.Address = ""
	}
	return o
}

// clockName names the clock that measured a round trip time.
func clockName(kernel bool) string {
	if kernel {
		return "kernel"
	}
	return "user"
}

// newICMPJSON returns the JSON form of an ICMP error; nil for nil, which is
// null or left out.
func newICMPJSON(i *ICMP) *icmpJSON {
	if i == nil {
		return nil
	}
	return &icmpJSON{i.Type, i.Code, i.From}
}

// WriteTCPJSON writes a JSON object for one TCP port and a newline. The banner
// is escaped as for a terminal.
func WriteTCPJSON(w io.Writer, r *Result) error {
	o := tcpJSON{portJSON: newPortJSON(r.Target, "tcp"), State: r.State, ICMP: newICMPJSON(r.ICMP), Banner: display.Payload(r.Reply, MaxBanner)}
	if r.State == Open || r.State == Closed {
		us := r.RTT.Microseconds()
		o.RTT = &us
	}
	if r.Err != nil {
		o.Error = r.Err.Error()
	}
	return json.NewEncoder(w).Encode(o)
}

// WriteUDPJSON writes a JSON object for one UDP port and a newline. note is its
// member "note", left out if empty. If expect is true, the object of an open
// port has the member "expected".
func WriteUDPJSON(w io.Writer, r *Result, note string, expect bool) error {
	o := udpJSON{portJSON: newPortJSON(r.Target, "udp"), State: r.State, Payload: r.UDP.Payload, Sent: r.UDP.Sent, ICMP: newICMPJSON(r.ICMP), Note: note}
	if r.State == Open || r.State == Closed || r.State == Filtered {
		us := r.RTT.Microseconds()
		o.RTT, o.Clock = &us, clockName(r.UDP.KernelRTT)
	}
	if r.State == Open {
		o.Reply = &replyJSON{Bytes: len(r.Reply), From: r.UDP.From.String(), Fact: r.UDP.Fact, Hex: hex.EncodeToString(r.Reply)}
		if expect {
			expected := !r.UDP.Unexpected
			o.Expected = &expected
		}
	}
	if r.Err != nil {
		o.Error = r.Err.Error()
	}
	return json.NewEncoder(w).Encode(o)
}

// A PingWriter writes the events and sums of a ping, as text or as JSON.
type PingWriter struct {
	W      io.Writer
	Target Target
	JSON   bool
}

// Run pings the target, and writes the events as they come and the sums at the
// end. It returns the sums, and the error of W, which ends the ping. If ctx
// ends, its cause goes before an error of W.
func (p *PingWriter) Run(ctx context.Context, o PingOptions) (stats PingStats, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stats = Ping(ctx, p.Target, o, func(e *PingEvent) {
		if err := p.Event(e); err != nil {
			stop(err)
		}
	})
	err = p.Stats(&stats)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return stats, err
}

// Event writes the line of one event.
func (p *PingWriter) Event(e *PingEvent) error {
	if !p.JSON {
		return WritePingText(p.W, e)
	}
	return json.NewEncoder(p.W).Encode(pingJSON{portJSON: newPortJSON(p.Target, "udp"), Event: e.Kind, Seq: e.Seq, RTT: e.RTT.Microseconds(),
		Clock: clockName(e.KernelRTT), Reordered: e.Reordered, Fact: e.Fact, State: e.State, ICMP: newICMPJSON(e.ICMP)})
}

// Stats writes the lines of the sums; as JSON it is one.
func (p *PingWriter) Stats(s *PingStats) error {
	if !p.JSON {
		return WritePingStatsText(p.W, s)
	}
	o := pingSumsJSON{portJSON: newPortJSON(p.Target, "udp"), Event: "summary", Payload: s.Payload, Sent: s.Sent, Answered: s.Answered,
		Lost: s.Sent - s.Answered, Duplicate: s.Duplicate, Late: s.Late, Reordered: s.Reordered, Rejected: s.Rejected}
	if s.Answered > 0 {
		o.RTT = &rttsJSON{s.Min.Microseconds(), s.Mean().Microseconds(), s.Percentile(50).Microseconds(), s.Percentile(95).Microseconds(),
			s.Max.Microseconds(), s.StdDev().Microseconds(), s.Jitter.Microseconds()}
		o.Clock = clockName(!s.UserClock)
	}
	if first, there, back, known := s.Directions(); known {
		o.Directions = &directionsJSON{first, there, back}
	}
	if s.Err != nil {
		o.Error = s.Err.Error()
	}
	return json.NewEncoder(p.W).Encode(o)
}
