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
var icmpNames = map[[2]int]string{
	{3, 0}: "network unreachable", {3, 1}: "host unreachable", {3, 2}: "protocol unreachable", {3, 3}: "port unreachable",
	{3, 4}: "fragmentation needed", {3, 5}: "source route failed", {3, 6}: "network unknown", {3, 7}: "host unknown",
	{3, 8}: "source host isolated", {3, 9}: "network prohibited", {3, 10}: "host prohibited",
	{3, 11}: "network unreachable for this service", {3, 12}: "host unreachable for this service",
	{3, 13}: "administratively prohibited", {3, 14}: "host precedence violation", {3, 15}: "precedence cutoff",
	{11, 0}: "ttl exceeded", {11, 1}: "reassembly time exceeded", {12, 0}: "parameter problem",
}

// icmp6Names are the errors of RFC 4443 3 by type and code.
var icmp6Names = map[[2]int]string{
	{1, 0}: "no route", {1, 1}: "administratively prohibited", {1, 2}: "beyond scope of source address",
	{1, 3}: "address unreachable", {1, 4}: "port unreachable", {1, 5}: "source address failed policy",
	{1, 6}: "route rejected", {2, 0}: "packet too big", {3, 0}: "hop limit exceeded",
	{3, 1}: "reassembly time exceeded", {4, 0}: "header field invalid", {4, 1}: "next header unknown",
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
	family, names := "icmp", icmpNames
	if i.V6 {
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
