package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"purr/internal/display"
)

// buildSIP returns an OPTIONS request. With rport (RFC 3581) the answer comes back to our source port whatever a NAT
// made of the address in Via.
func buildSIP(to *payloadTarget) []byte {
	local := to.local
	if !local.IsValid() {
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), 5060)
	}
	host := to.addr.Addr().WithZone("").String()
	if to.addr.Addr().Is6() {
		host = "[" + host + "]"
	}
	lines := []string{
		fmt.Sprintf("OPTIONS sip:%s:%d SIP/2.0", host, to.addr.Port()),
		// The magic cookie marks the branch as unique, RFC 3261 8.1.1.7.
		fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport", local, payloadHexNonce(8)),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <sip:purr@%s>;tag=%s", local, payloadHexNonce(4)),
		fmt.Sprintf("To: <sip:%s:%d>", host, to.addr.Port()),
		"Call-ID: " + payloadHexNonce(8),
		"CSeq: 1 OPTIONS",
		fmt.Sprintf("Contact: <sip:purr@%s>", local),
		"Accept: application/sdp",
		"Content-Length: 0",
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

// matchSIP takes any status line with our Call-ID.
func matchSIP(x *payloadExchange) (payloadAnswer, bool) {
	status, ok := bytes.CutPrefix(x.reply, []byte("SIP/2.0 "))
	id := textHeader(x.request, "call-id", "i")
	if !ok || id == "" || textHeader(x.reply, "call-id", "i") != id {
		return payloadAnswer{}, false
	}
	status, _, _ = bytes.Cut(status, []byte("\r\n"))
	return payloadAnswer{fact: display.Payload(status, 80)}, true
}

// textHeader returns the value of a header of a message in the style of RFC 822, known by its name in lower case or
// the compact form, or "".
func textHeader(message []byte, name, compact string) string {
	for line := range bytes.Lines(message) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return ""
		}
		key, value, ok := strings.Cut(string(line), ":")
		key = strings.ToLower(strings.TrimSpace(key))
		if ok && (key == name || key == compact) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// buildSSDP searches for every device and service. MX says how long answers to a multicast may be spread; a
// unicast search has none (UPnP Device Architecture 2.0, 1.3.2).
func buildSSDP(to *payloadTarget) []byte {
	search := "M-SEARCH * HTTP/1.1\r\nHOST: " + to.addr.String() + "\r\nMAN: \"ssdp:discover\"\r\n"
	if to.addr.Addr().IsMulticast() {
		search += "MX: 1\r\n"
	}
	return []byte(search + "ST: ssdp:all\r\nUSER-AGENT: purr/1 UPnP/2.0 purr/1\r\n\r\n")
}

// matchSSDP takes any HTTP 200: the protocol repeats nothing of a search, so only our port tells whose answer it is.
func matchSSDP(x *payloadExchange) (payloadAnswer, bool) {
	if !bytes.HasPrefix(x.reply, []byte("HTTP/1.1 200")) {
		return payloadAnswer{}, false
	}
	return payloadAnswer{fact: display.Payload([]byte(textHeader(x.reply, "server", "")), 80)}, true
}

// TFTP opcodes, RFC 1350 5.
const (
	tftpRRQ   = 1
	tftpDATA  = 3
	tftpERROR = 5
)

// buildTFTP asks for a file that nobody has.
func buildTFTP(*payloadTarget) []byte {
	return append([]byte{0, tftpRRQ}, "purr-probe-"+payloadHexNonce(4)+"\x00octet\x00"...)
}

// matchTFTP takes an ERROR, or the first block of DATA, which it stops with an ERROR: the server would repeat the block for
// a minute otherwise.
func matchTFTP(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	if len(r) < 4 || r[0] != 0 || len(x.request) < 2 || x.request[1] != tftpRRQ {
		return payloadAnswer{}, false
	}
	switch code := binary.BigEndian.Uint16(r[2:]); {
	case r[1] == tftpERROR:
		text, _, _ := bytes.Cut(r[4:], []byte{0})
		return payloadAnswer{fact: fmt.Sprintf("error %d %s", code, payloadQuoted(text, 80))}, true
	case r[1] == tftpDATA && code == 1:
		stop := append([]byte{0, tftpERROR, 0, 0}, "only a probe\x00"...)
		return payloadAnswer{fact: fmt.Sprintf("data, %d bytes", len(r)-4), next: stop, final: true}, true
	}
	return payloadAnswer{}, false
}

// memcachedFrame is the length of the header in front of each datagram: request id, sequence number, number of datagrams,
// reserved, 16 bits each.
const memcachedFrame = 8

// buildMemcached asks for the version, whose answer is smaller than most; never for stats, which amplifies.
func buildMemcached(*payloadTarget) []byte {
	return append(payloadNonce(2), "\x00\x00\x00\x01\x00\x00version\r\n"...)
}

func matchMemcached(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	if len(r) < memcachedFrame || len(x.request) < memcachedFrame || !bytes.Equal(r[:2], x.request[:2]) ||
		r[2] != 0 || r[3] != 0 || binary.BigEndian.Uint16(r[4:]) == 0 {
		return payloadAnswer{}, false
	}
	line, _, _ := bytes.Cut(r[memcachedFrame:], []byte("\r\n"))
	return payloadAnswer{fact: display.Payload(line, 80)}, true
}

// gameHeader stands in front of every out-of-band datagram of the Quake family.
const gameHeader = "\xff\xff\xff\xff"

const a2sInfo = gameHeader + "TSource Engine Query\x00"

func buildA2S(*payloadTarget) []byte { return []byte(a2sInfo) }

// matchA2S takes the information itself, or a challenge, which the request is repeated with. Servers have sent a
// challenge first since 2020; one that challenges our repetition is left alone.
func matchA2S(x *payloadExchange) (payloadAnswer, bool) {
	r, ok := bytes.CutPrefix(x.reply, []byte(gameHeader))
	if !ok || len(r) == 0 || !bytes.HasPrefix(x.request, []byte(a2sInfo)) {
		return payloadAnswer{}, false
	}
	switch {
	case r[0] == 'A' && len(r) == 5:
		a := payloadAnswer{fact: "challenge"}
		if len(x.request) == len(a2sInfo) {
			a.next = append([]byte(a2sInfo), r[1:5]...)
		}
		return a, true
	case r[0] == 'I' && len(r) > 2:
		fields := bytes.SplitN(r[2:], []byte{0}, 5) // name, map, folder, game, the rest
		fact := payloadQuoted(fields[0], 60)
		if len(fields) > 1 {
			fact += ", map " + display.Payload(fields[1], 30)
		}
		if len(fields) == 5 && len(fields[4]) >= 4 { // app id (2), players, most players
			fact += fmt.Sprintf(", %d/%d players", fields[4][2], fields[4][3])
		}
		return payloadAnswer{fact: fact}, true
	}
	return payloadAnswer{}, false
}

func buildQuake3(*payloadTarget) []byte { return []byte(gameHeader + "getinfo " + payloadHexNonce(8)) }

// matchQuake3 reads an infoResponse: one line of \key\value pairs, in which the server repeats our nonce as challenge.
func matchQuake3(x *payloadExchange) (payloadAnswer, bool) {
	info, ok := bytes.CutPrefix(x.reply, []byte(gameHeader+"infoResponse\n\\"))
	nonce, asked := bytes.CutPrefix(x.request, []byte(gameHeader+"getinfo "))
	if !ok || !asked {
		return payloadAnswer{}, false
	}
	values := map[string]string{}
	fields := strings.SplitN(strings.TrimRight(string(info), "\x00\n"), `\`, 129) // a real one has about 15 pairs
	for i := 0; i+1 < len(fields); i += 2 {
		values[fields[i]] = fields[i+1]
	}
	if values["challenge"] != strings.TrimSpace(string(nonce)) {
		return payloadAnswer{}, false
	}
	text := func(key string) string { return display.Payload([]byte(values[key]), 40) }
	return payloadAnswer{fact: fmt.Sprintf("%s, map %s, %s/%s players", payloadQuoted([]byte(values["hostname"]), 60),
		text("mapname"), text("clients"), text("sv_maxclients"))}, true
}
