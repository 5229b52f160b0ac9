package scan

import (
	"fmt"
	"net/netip"
)

// An ICMP is an ICMP or ICMPv6 error about a request.
type ICMP struct {
	Type, Code int
	From       netip.Addr // its sender; invalid if not known
	V6         bool       // ICMPv6
}

// icmpNames are the errors of RFC 792, RFC 1122 3.2.2.1 and RFC 1812 5.2.7.1 by
// type and code.
var icmpNames = [...][]string{
	3: {"network unreachable", "host unreachable", "protocol unreachable", "port unreachable", "fragmentation needed",
		"source route failed", "network unknown", "host unknown", "source host isolated", "network prohibited", "host prohibited",
		"network unreachable for this service", "host unreachable for this service", "administratively prohibited",
		"host precedence violation", "precedence cutoff"},
	11: {"ttl exceeded", "reassembly time exceeded"},
	12: {"parameter problem"},
}

// icmp6Names are the errors of RFC 4443 3 by type and code.
var icmp6Names = [...][]string{
	1: {"no route", "administratively prohibited", "beyond scope of source address", "address unreachable", "port unreachable",
		"source address failed policy", "route rejected"},
	2: {"packet too big"},
	3: {"hop limit exceeded", "reassembly time exceeded"},
	4: {"header field invalid", "next header unknown"},
}

// state returns the state that the error proves for a UDP port of target. Only
// the target itself knows that a port is closed; from another address the same
// error is a filter's.
func (i *ICMP) state(target netip.Addr) State {
	port := i.Type == 3 && i.Code == 3
	if i.V6 {
		port = i.Type == 1 && i.Code == 4
	}
	if port && i.From == target.WithZone("") {
		return Closed
	}
	return Filtered
}

// tooBig reports whether the error is about the size of the datagram only.
func (i *ICMP) tooBig() bool {
	if i.V6 {
		return i.Type == 2
	}
	return i.Type == 3 && i.Code == 4
}

// String returns "icmp 3/13 administratively prohibited, from 10.0.1.254".
func (i *ICMP) String() string {
	if i == nil {
		return "<nil>"
	}
	family, names := "icmp", icmpNames[:]
	if i.V6 {
		family, names = "icmp6", icmp6Names[:]
	}
	s := fmt.Sprintf("%s %d/%d", family, i.Type, i.Code)
	if i.Type < len(names) && i.Code < len(names[i.Type]) {
		s += " " + names[i.Type][i.Code]
	}
	if i.From.IsValid() {
		s += ", from " + i.From.String()
	}
	return s
}
