package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"purr/internal/display"
	"purr/internal/payload"
)

// icmpNames are RFC 792, RFC 1122 3.2.2.1 and RFC 1812 5.2.7.1 by type and code.
var icmpNames = map[[2]int]string{
	{3, 0}: "network unreachable", {3, 1}: "host unreachable", {3, 2}: "protocol unreachable", {3, 3}: "port unreachable",
	{3, 4}: "fragmentation needed", {3, 5}: "source route failed", {3, 6}: "network unknown", {3, 7}: "host unknown",
	{3, 8}: "source host isolated", {3, 9}: "network prohibited", {3, 10}: "host prohibited",
	{3, 11}: "network unreachable for this service", {3, 12}: "host unreachable for this service",
	{3, 13}: "administratively prohibited", {3, 14}: "host precedence violation", {3, 15}: "precedence cutoff",
	{11, 0}: "ttl exceeded", {11, 1}: "reassembly time exceeded", {12, 0}: "parameter problem",
}

// icmp6Names are RFC 4443 3 by type and code.
var icmp6Names = map[[2]int]string{
	{1, 0}: "no route", {1, 1}: "administratively prohibited", {1, 2}: "beyond scope of source address",
	{1, 3}: "address unreachable", {1, 4}: "port unreachable", {1, 5}: "source address failed policy",
	{1, 6}: "route rejected", {2, 0}: "packet too big", {3, 0}: "hop limit exceeded",
	{3, 1}: "reassembly time exceeded", {4, 0}: "header field invalid", {4, 1}: "next header unknown",
}

// closes says whether the error means that the port is closed: port unreachable, and from the target itself. From anybody
// else it is a filter that pretends.
func (i *probeICMP) closes(target netip.Addr) bool {
	port := i.Type == 3 && i.Code == 3
	if i.v6 {
		port = i.Type == 1 && i.Code == 4
	}
	return port && i.From == target.WithZone("")
}

// tooBig says whether the error is about the size of the datagram only.
func (i *probeICMP) tooBig() bool {
	if i.v6 {
		return i.Type == 2
	}
	return i.Type == 3 && i.Code == 4
}

// String returns "icmp 3/13 administratively prohibited, from 10.0.1.254".
func (i *probeICMP) String() string {
	if i == nil {
		return "<nil>"
	}
	family, names := "icmp", icmpNames
	if i.v6 {
		family, names = "icmp6", icmp6Names
	}
	s := fmt.Sprintf("%s %d/%d", family, i.Type, i.Code)
	if name := names[[2]int{i.Type, i.Code}]; name != "" {
		s += " " + name
	}
	if i.From.IsValid() {
		s += ", from " + i.From.String()
	}
	return s
}

// probeDuration returns d in the unit that suits it, with a space: "0.46 ms", "3.07 s".
func probeDuration(d time.Duration) string {
	if d < 999500*time.Microsecond {
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// writeProbe writes the line of one port:
//
//	10.0.2.2:53/udp   open       0.46 ms  dns    REFUSED
func writeProbe(w io.Writer, r *probeResult) error {
	took, name, about := probeDuration(r.rtt), r.payload, r.fact
	switch r.state {
	case probeOpen:
		var more []string
		if r.from.Port() != r.target.Port() {
			more = append(more, fmt.Sprintf("from port %d", r.from.Port()))
		}
		if r.from.Addr().WithZone("") != r.target.Addr().WithZone("") {
			more = append(more, "from "+r.from.Addr().String())
		}
		if r.wrong {
			more = append(more, "not as expected")
		}
		if about != "" {
			more = append([]string{about}, more...)
		}
		about = strings.Join(more, ", ")
		name = fmt.Sprintf("%-6s", name)
	case probeClosed, probeFiltered:
		name, about = "closed (no detail)", ""
		if r.icmp != nil {
			name = r.icmp.String()
		}
	case probeSilent:
		took = fmt.Sprintf("%.1f s", r.waited.Seconds())
		name = fmt.Sprintf("%s, %d sent: open but silent, or dropped on the way", r.payload, r.sent)
		if r.silent != "" {
			name = fmt.Sprintf("%s, %d sent: %s", r.payload, r.sent, r.silent)
		}
	case probeFailed:
		took, name = "-", display.Payload([]byte(fmt.Sprint(r.err)), 200)
	}
	line := fmt.Sprintf("%-17s %-10s %-8s %s %s", r.target.String()+"/udp", r.state, took, name, about)
	_, err := io.WriteString(w, strings.TrimRight(line, " ")+"\n")
	return err
}

// probeJSON is the object of --json. Its field names are a promise.
type probeJSON struct {
	V        int             `json:"v"`
	Host     string          `json:"host"`
	Address  string          `json:"address,omitempty"` // where host is a name
	Port     uint16          `json:"port"`
	State    probeState      `json:"state"`
	Payload  string          `json:"payload"`
	Sent     int             `json:"sent"`
	RTT      *int64          `json:"rtt_us"` // null without answer
	Clock    string          `json:"clock,omitempty"`
	ICMP     *probeICMP      `json:"icmp"`
	Reply    *probeJSONReply `json:"reply"`
	Expected *bool           `json:"expected,omitempty"` // only with --expect
	Note     string          `json:"note,omitempty"`
	Error    string          `json:"error,omitempty"`
}

type probeJSONReply struct {
	Bytes int    `json:"bytes"`
	From  string `json:"from"` // address and port
	Fact  string `json:"fact,omitempty"`
	Hex   string `json:"hex"`
}

// writeProbeJSON writes the object of one port and a newline. expect is what the result was checked against.
func writeProbeJSON(w io.Writer, r *probeResult, expect *payload.Expect) error {
	o := probeJSON{V: 1, Port: r.target.Port(), State: r.state, Payload: r.payload, Sent: r.sent, ICMP: r.icmp,
		Note: r.silent}
	o.Host, o.Address = hostAndAddress(r.host, r.target.Addr())
	if r.state == probeOpen || r.state == probeClosed || r.state == probeFiltered {
		us := r.rtt.Microseconds()
		o.RTT, o.Clock = &us, "user"
		if r.kernel {
			o.Clock = "kernel"
		}
	}
	if r.state == probeOpen {
		o.Reply = &probeJSONReply{Bytes: len(r.reply), From: r.from.String(), Fact: r.fact, Hex: hex.EncodeToString(r.reply)}
		if expect.Given() {
			expected := !r.wrong
			o.Expected = &expected
		}
	}
	if r.err != nil {
		o.Error = r.err.Error()
	}
	return json.NewEncoder(w).Encode(o)
}
