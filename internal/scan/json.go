package scan

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/netip"

	"purr/internal/display"
)

// The objects of WriteTCPJSON and WriteUDPJSON. Their member names are a
// promise.
type (
	tcpJSON struct {
		V       int       `json:"v"`
		Host    string    `json:"host"`
		Address string    `json:"address,omitempty"` // where host is a name
		Port    uint16    `json:"port"`
		State   State     `json:"state"`
		RTT     *int64    `json:"rtt_us"` // null without an answer
		Banner  string    `json:"banner,omitempty"`
		ICMP    *icmpJSON `json:"icmp,omitempty"`
		Error   string    `json:"error,omitempty"`
	}
	udpJSON struct {
		V        int        `json:"v"`
		Host     string     `json:"host"`
		Address  string     `json:"address,omitempty"` // where host is a name
		Port     uint16     `json:"port"`
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
)

// hostAndAddress returns the members "host", as the user wrote it, and
// "address", which is empty if it is the same or not known.
func hostAndAddress(t Target) (host, address string) {
	address = t.Addr.Addr().String()
	switch {
	case t.Host == "":
		return address, ""
	case t.Host == address || !t.Addr.Addr().IsValid():
		return t.Host, ""
	}
	return t.Host, address
}

// newICMPJSON returns the JSON form of an ICMP error; nil for nil, which omits
// it.
func newICMPJSON(i *ICMP) *icmpJSON {
	if i == nil {
		return nil
	}
	return &icmpJSON{i.Type, i.Code, i.From}
}

// WriteTCPJSON writes a JSON object for one TCP port and a newline. The banner
// is escaped as for a terminal.
func WriteTCPJSON(w io.Writer, r *Result) error {
	o := tcpJSON{V: 1, Port: r.Addr.Port(), State: r.State, ICMP: newICMPJSON(r.ICMP), Banner: display.Payload(r.Reply, MaxBanner)}
	o.Host, o.Address = hostAndAddress(r.Target)
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
// member "note", left out if empty; "expected" appears where expect is set.
func WriteUDPJSON(w io.Writer, r *Result, note string, expect bool) error {
	o := udpJSON{V: 1, Port: r.Addr.Port(), State: r.State, Payload: r.UDP.Payload, Sent: r.UDP.Sent, ICMP: newICMPJSON(r.ICMP), Note: note}
	o.Host, o.Address = hostAndAddress(r.Target)
	if r.State == Open || r.State == Closed || r.State == Filtered {
		us := r.RTT.Microseconds()
		o.RTT, o.Clock = &us, "user"
		if r.UDP.KernelRTT {
			o.Clock = "kernel"
		}
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
