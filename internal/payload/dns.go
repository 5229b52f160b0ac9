package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"

	"purr/internal/display"
)

// DNS header flags and sizes, RFC 1035 4.1.1.
const (
	dnsHeaderLen = 12
	dnsResponse  = 0x80 // QR, in byte 2
	dnsOpcode    = 0x78 // in byte 2
)

// dnsRcodes names the response codes of RFC 1035 4.1.1 and RFC 2136 2.2.
var dnsRcodes = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
	"NXRRSET", "NOTAUTH", "NOTZONE"}

// dnsQuery returns a query with one question and a random ID.
func dnsQuery(flags uint16, name string, qtype uint16) []byte {
	q := append(nonce(2), byte(flags>>8), byte(flags), 0, 1, 0, 0, 0, 0, 0, 0)
	for _, label := range strings.FieldsFunc(name, func(r rune) bool { return r == '.' }) {
		q = append(append(q, byte(len(label))), label...)
	}
	q = append(q, 0)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(q, qtype), 1) // class IN
}

// buildDNS returns a query for the name servers of the root with RD set. With
// 17 bytes it is the shortest query, and every server has an answer or an rcode
// for it.
func buildDNS(*Target) []byte { return dnsQuery(0x0100, ".", 2) }

// matchDNS accepts any response to the query. The fact is its rcode, and the
// number of records in the answer.
func matchDNS(x *Exchange) (Answer, bool) {
	if !dnsAnswers(x) {
		return Answer{}, false
	}
	code := int(x.Reply[3] & 15)
	fact := fmt.Sprintf("rcode %d", code)
	if code < len(dnsRcodes) {
		fact = dnsRcodes[code]
	}
	if n := binary.BigEndian.Uint16(x.Reply[6:]); n > 0 {
		fact += fmt.Sprintf(", records: %d", n)
	}
	return Answer{Fact: fact}, true
}

// dnsAnswers reports whether the reply is a response with the ID and opcode of
// the query.
func dnsAnswers(x *Exchange) bool {
	return len(x.Request) >= dnsHeaderLen && len(x.Reply) >= dnsHeaderLen && bytes.Equal(x.Reply[:2], x.Request[:2]) &&
		x.Reply[2]&dnsResponse != 0 && x.Reply[2]&dnsOpcode == x.Request[2]&dnsOpcode
}

// buildMDNS returns a query for the service types of the link. From a source
// port other than 5353 it is a legacy unicast query, so the answer repeats its
// ID (RFC 6762 6.7).
func buildMDNS(*Target) []byte { return dnsQuery(0, "_services._dns-sd._udp.local", 12) }

// matchMDNS accepts any response to the query. The fact is the number of
// service types in it.
func matchMDNS(x *Exchange) (Answer, bool) {
	if !dnsAnswers(x) {
		return Answer{}, false
	}
	return Answer{Fact: fmt.Sprintf("service types: %d", binary.BigEndian.Uint16(x.Reply[6:]))}, true
}

// netbiosStatus is the query type of a node status request, RFC 1002 4.2.1.2.
const netbiosStatus = 0x21

// buildNetBIOS returns a node status request for the name "*", which every node
// answers.
func buildNetBIOS(*Target) []byte {
	// First-level encoding (RFC 1001 14.1) turns each half byte into a letter
	// from 'A'. The name is '*' and 15 NULs.
	name := []byte{'A' + '*'>>4, 'A' + '*'&15}
	name = append(name, bytes.Repeat([]byte{'A'}, 30)...)
	return dnsQuery(0, string(name), netbiosStatus)
}

// matchNetBIOS accepts any response to the query. The fact is its first name,
// the number of names and the MAC address (RFC 1002 4.2.18), or the rcode.
func matchNetBIOS(x *Exchange) (Answer, bool) {
	if !dnsAnswers(x) {
		return Answer{}, false
	}
	const rr = dnsHeaderLen + 34 // the record's name is always 1+32+1 bytes
	r := x.Reply
	if len(r) < rr+11 || binary.BigEndian.Uint16(r[rr:]) != netbiosStatus {
		return Answer{Fact: fmt.Sprintf("rcode %d", r[3]&15)}, true
	}
	count, names := int(r[rr+10]), r[rr+11:]
	const entry = 15 + 1 + 2
	if len(names) < count*entry {
		return Answer{Fact: "cut off"}, true
	}
	fact := fmt.Sprintf("%d names", count)
	if count > 0 {
		fact = strings.TrimRight(display.Payload(names[:15], 15), " ") + ", " + fact
	}
	if rest := names[count*entry:]; len(rest) >= 6 {
		fact += ", mac " + net.HardwareAddr(rest[:6]).String()
	}
	return Answer{Fact: fact}, true
}
