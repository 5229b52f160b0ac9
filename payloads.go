package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"purr/internal/display"
)

// A payload is one way of asking a UDP service for an answer. All requests are small, carry a fresh nonce, change
// nothing at the far end, and were written from the documents named in doc.
type payload struct {
	name  string
	ports []uint16 // where auto uses it
	doc   string   // what is asked, and the document that says so

	// build returns a request with a nonce of its own. It is nil where silent is set.
	build func(to *payloadTarget) []byte

	// match says whether x.reply answers x.request. It keeps nothing, allocates in proportion to the reply at most
	// and never panics, whatever the two contain.
	match func(x *payloadExchange) (payloadAnswer, bool)

	needsSecret bool   // without a secret the service never answers
	needsLocal  bool   // build wants to know payloadTarget.local
	silent      string // why this service cannot be made to answer; an empty datagram is sent instead
}

// payloadTarget is what a request may need to know about where it goes.
type payloadTarget struct {
	host   string         // as the user wrote it
	addr   netip.AddrPort // where it is sent
	local  netip.AddrPort // our own address on that way; invalid unless the payload needs it
	secret []byte         // RADIUS shared secret, SNMP community
}

// payloadExchange is a request and what came back.
type payloadExchange struct {
	request, reply []byte
	sent, received time.Time // of the same clock
	secret         []byte
}

// payloadAnswer is what a reply says.
type payloadAnswer struct {
	fact  string // the one thing worth reading, in printable ASCII; may be empty
	next  []byte // if not nil: a datagram to send to where the reply came from
	final bool   // nothing more comes after next: it only ends the conversation
}

// payloadRandom is the source of all nonces; tests make it predictable.
var payloadRandom io.Reader = rand.Reader

// payloadNonce returns n random bytes.
func payloadNonce(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(payloadRandom, b); err != nil {
		panic("purr: no random numbers: " + err.Error()) // crypto/rand itself never returns an error
	}
	return b
}

// payloadHexNonce returns 2*n random hex digits, for requests that are text.
func payloadHexNonce(n int) string { return hex.EncodeToString(payloadNonce(n)) }

// payloads is the table behind --payload NAME and --list-payloads, sorted by what it is about.
var payloads = []*payload{
	{name: "dns", ports: []uint16{53}, build: buildDNS, match: matchDNS,
		doc: "name servers of the root (RFC 1035 4.1)"},
	{name: "mdns", ports: []uint16{5353}, build: buildMDNS, match: matchMDNS,
		doc: "list of service types, unicast; answered on the same link only (RFC 6762 6.7, RFC 6763 9)"},
	{name: "netbios", ports: []uint16{137}, build: buildNetBIOS, match: matchNetBIOS,
		doc: "node status: names and MAC address (RFC 1002 4.2.17)"},
	{name: "ntp", ports: []uint16{123}, build: buildNTP, match: matchNTP,
		doc: "time: stratum and offset (RFC 5905 7.3)"},
	{name: "snmp", ports: []uint16{161}, build: buildSNMP3, match: matchSNMP3,
		doc: "SNMPv3 engine discovery, needs no credentials (RFC 3414 4)"},
	{name: "snmp2c", ports: []uint16{161}, build: buildSNMP2, match: matchSNMP2,
		doc: "sysUpTime with community public or the secret; silent if that is wrong (RFC 3416)"},
	{name: "sip", ports: []uint16{5060}, build: buildSIP, match: matchSIP, needsLocal: true,
		doc: "OPTIONS: the status line (RFC 3261 11)"},
	{name: "tftp", ports: []uint16{69}, build: buildTFTP, match: matchTFTP,
		doc: "read of a file that is not there; the answer comes from another port (RFC 1350 4)"},
	{name: "stun", ports: []uint16{3478}, build: buildSTUN, match: matchSTUN,
		doc: "binding request: our public address (RFC 8489)"},
	{name: "ssdp", ports: []uint16{1900}, build: buildSSDP, match: matchSSDP,
		doc: "M-SEARCH for everything (UPnP Device Architecture 2.0 1.3.2)"},
	{name: "memcached", ports: []uint16{11211}, build: buildMemcached, match: matchMemcached,
		doc: "version (memcached doc/protocol.txt, UDP protocol)"},
	{name: "ike", ports: []uint16{500}, build: buildIKE, match: matchIKE,
		doc: "IKE_SA_INIT with one proposal (RFC 7296 1.2)"},
	{name: "ike-nat", ports: []uint16{4500}, build: buildIKENAT, match: matchIKENAT,
		doc: "the same behind the non-ESP marker (RFC 3948 2.2)"},
	{name: "radius", ports: []uint16{1812, 1813}, build: buildRADIUS, match: matchRADIUS, needsSecret: true,
		doc: "Status-Server; needs the shared secret, silent without it (RFC 5997)"},
	{name: "quic", ports: []uint16{443, 853, 8443}, build: buildQUIC, match: matchQUIC,
		doc: "version negotiation, 1200 bytes (RFC 8999 6)"},
	{name: "dtls", ports: []uint16{443, 4433, 5061, 5349, 5684, 10161}, build: buildDTLS, match: matchDTLS,
		doc: "ClientHello without a cookie (RFC 6347 4.2.1)"},
	{name: "coap", ports: []uint16{5683}, build: buildCoAP, match: matchCoAP,
		doc: "empty confirmable message, the CoAP ping (RFC 7252 4.3)"},
	{name: "rpcbind", ports: []uint16{111}, build: buildRPCBind, match: matchRPC,
		doc: "NULL call of program 100000 (RFC 5531 9, RFC 1833 3)"},
	{name: "nfs", ports: []uint16{2049}, build: buildNFS, match: matchRPC,
		doc: "NULL call of program 100003 version 3 (RFC 1813 3.3.0)"},
	{name: "openvpn", ports: []uint16{1194}, build: buildOpenVPN, match: matchOpenVPN,
		doc: "hard reset; silent with tls-auth or tls-crypt (OpenVPN protocol documentation)"},
	{name: "mumble", ports: []uint16{64738}, build: buildMumble, match: matchMumble,
		doc: "server list ping: version and users (Mumble protocol documentation)"},
	{name: "echo", ports: []uint16{7}, build: buildEcho, match: matchEcho,
		doc: "45 bytes that must come back; purr -u -l -k --echo answers too (RFC 862)"},
	{name: "a2s", ports: []uint16{27015, 27016, 27017, 27018, 27019, 27020}, build: buildA2S, match: matchA2S,
		doc: "A2S_INFO of Source engine games: name, map, players (Valve developer wiki, Server queries)"},
	{name: "quake3", ports: []uint16{27960}, build: buildQuake3, match: matchQuake3,
		doc: "getinfo (ioquake3 source, sv_main.c)"},
	{name: "nat-pmp", ports: []uint16{5351}, build: buildNATPMP, match: matchNATPMP,
		doc: "external address of a router, on the same link only (RFC 6886 3.2)"},
	{name: "ipmi", ports: []uint16{623}, build: buildASF, match: matchASF,
		doc: "ASF presence ping (DMTF DSP0136 3.2.4)"},
	{name: "syslog", ports: []uint16{514}, silent: "syslog over UDP never answers (RFC 5426 3.1)",
		doc: "never answers"},
	{name: "netflow", ports: []uint16{2055, 4739, 9995, 9996, 6343},
		silent: "NetFlow, IPFIX and sFlow collectors never answer (RFC 7011 10.3)", doc: "never answers"},
	{name: "statsd", ports: []uint16{8125}, silent: "statsd never answers", doc: "never answers"},
	{name: "snmptrap", ports: []uint16{162}, silent: "a trap has no answer (RFC 3416 4.2.6)", doc: "never answers"},
	{name: "wireguard", ports: []uint16{51820},
		silent: "WireGuard is silent to strangers by design (whitepaper 5.3), it cannot be probed", doc: "never answers strangers"},
	{name: "none", doc: "an empty datagram", build: func(*payloadTarget) []byte { return []byte{} }},
}

// payloadGeneric are the tries for a port that the table does not know.
var payloadGeneric = []string{"echo", "dns", "stun"}

// payloadByName returns the entry of that name, or nil.
func payloadByName(name string) *payload {
	for _, p := range payloads {
		if p.name == name {
			return p
		}
	}
	return nil
}

// payloadsForPort returns what to try on a port, in this order, and whether the port is one the table knows.
// Entries that need a secret are left out unless there is one.
func payloadsForPort(port uint16, haveSecret bool) (tries []*payload, known bool) {
	for _, p := range payloads {
		if slices.Contains(p.ports, port) {
			known = true
			if haveSecret || !p.needsSecret {
				tries = append(tries, p)
			} else {
				needs := *p
				needs.build, needs.match = nil, nil
				needs.silent = p.name + " answers only those who know its secret: give it with --secret-file"
				tries = append(tries, &needs)
			}
		}
	}
	if known {
		return tries, true
	}
	for _, name := range payloadGeneric {
		tries = append(tries, payloadByName(name))
	}
	return tries, false
}

// payloadList is the text of --list-payloads.
func payloadList() string {
	var b strings.Builder
	for _, p := range payloads {
		var ports []string
		for _, n := range p.ports {
			ports = append(ports, strconv.Itoa(int(n)))
		}
		about := p.doc
		if p.silent != "" {
			about = p.silent
		}
		line := fmt.Sprintf("%-10s %-24s %s", p.name, strings.Join(ports, ","), about)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// payloadQuoted is payloadText in double quotes.
func payloadQuoted(b []byte, max int) string {
	return `"` + strings.ReplaceAll(display.Payload(b, max), `"`, `\"`) + `"`
}

const pingCountBits = 64 // how far back a pingCounter knows what it has counted

// pingCounter counts the requests of one peer. The zero value is ready.
type pingCounter struct {
	session [16]byte
	count   uint32
	highest uint32
	seen    uint64 // bit i: highest-i was counted
}

// stamp writes into a ping of purr how many different ones of its session have arrived, this one included. It leaves
// everything else as it is, and says whether b was one.
func (c *pingCounter) stamp(b []byte) bool {
	if count, ok := echoCount(b); !ok || count != 0 {
		return false
	}
	var seq uint32
	if n, err := fmt.Sscanf(string(b[echoSequenceAt:echoSequenceAt+8]), "%08x", &seq); n != 1 || err != nil {
		return false
	}
	if session := [16]byte(b[echoSessionAt:]); session != c.session {
		*c = pingCounter{session: session, highest: seq, seen: 1, count: 1}
	} else if ahead := int64(seq) - int64(c.highest); ahead > 0 {
		c.seen = c.seen<<uint(min(ahead, pingCountBits)) | 1
		c.highest = seq
		c.count++
	} else if bit := uint64(1) << uint(min(-ahead, pingCountBits)); bit != 0 && c.seen&bit == 0 {
		c.seen |= bit
		c.count++
	}
	copy(b[echoCountAt:], fmt.Sprintf("%08x", c.count))
	return true
}
