package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"purr/internal/display"
)

// NTP, RFC 5905 7.3: offsets into the packet.
const (
	ntpLen        = 48
	ntpRefID      = 12
	ntpOrigin     = 24
	ntpReceive    = 32
	ntpTransmit   = 40
	ntpModeServer = 4
)

// buildNTP is a client packet without anything but a transmit timestamp, which is random: the server repeats it,
// and it does not give our clock away (draft-ietf-ntp-data-minimization).
func buildNTP(*payloadTarget) []byte {
	p := make([]byte, ntpLen)
	p[0] = 0x23 // no leap warning, version 4, mode 3 (client)
	copy(p[ntpTransmit:], payloadNonce(8))
	return p
}

func matchNTP(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	if len(r) < ntpLen || len(x.request) < ntpLen || r[0]&7 != ntpModeServer ||
		!bytes.Equal(r[ntpOrigin:ntpReceive], x.request[ntpTransmit:ntpLen]) {
		return payloadAnswer{}, false
	}
	if r[1] == 0 { // a kiss-o'-death says in the reference ID why it will not serve us (RFC 5905 7.4)
		return payloadAnswer{fact: "kiss-o'-death " + display.Payload(bytes.TrimRight(r[ntpRefID:ntpRefID+4], "\x00"), 4)}, true
	}
	fact := fmt.Sprintf("stratum %d", r[1])
	if r[0]>>6 == 3 || r[1] >= 16 {
		return payloadAnswer{fact: fact + ", not synchronised"}, true
	}
	if !x.sent.IsZero() {
		fact += fmt.Sprintf(", offset %+.3f ms", float64(ntpOffset(x))/float64(time.Millisecond))
	}
	return payloadAnswer{fact: fact}, true
}

// ntpOffset returns how far the server's clock is ahead of ours: ((T2-T1)+(T3-T4))/2, RFC 5905 8.
func ntpOffset(x *payloadExchange) time.Duration {
	ahead := ntpTime(x.reply[ntpReceive:], x.sent).Sub(x.sent)
	behind := ntpTime(x.reply[ntpTransmit:], x.received).Sub(x.received)
	return ahead/2 + behind/2 // halves first: two offsets of a hundred years overflow together
}

// ntpTime reads an NTP timestamp as the moment nearest to about, which settles its era (RFC 5905 6).
func ntpTime(b []byte, about time.Time) time.Time {
	const since1900 = 2208988800 // seconds from the NTP epoch to Unix's
	seconds := binary.BigEndian.Uint32(b)
	delta := int32(seconds - uint32(about.Unix()+since1900))
	nanos := uint64(binary.BigEndian.Uint32(b[4:])) * 1e9 >> 32
	return time.Unix(about.Unix()+int64(delta), int64(nanos))
}

// STUN, RFC 8489 5, 14.
const (
	stunHeader       = 20
	stunRequest      = 0x0001
	stunSuccess      = 0x0101
	stunError        = 0x0111
	stunMapped       = 0x0001
	stunErrorCode    = 0x0009
	stunXORMapped    = 0x0020
	stunIPv4         = 1
	stunIPv6         = 2
	stunMagicCookie  = "\x21\x12\xa4\x42"
	stunMostAttrs    = 32
	stunAddressAt    = 4 // after a zero byte, the family and the port
	stunAttrHeadSize = 4
)

func buildSTUN(*payloadTarget) []byte {
	return append([]byte("\x00\x01\x00\x00"+stunMagicCookie), payloadNonce(12)...)
}

func matchSTUN(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	if len(r) < stunHeader || len(x.request) < stunHeader || binary.BigEndian.Uint16(x.request) != stunRequest ||
		!bytes.Equal(r[4:stunHeader], x.request[4:stunHeader]) {
		return payloadAnswer{}, false
	}
	kind := binary.BigEndian.Uint16(r)
	if kind != stunSuccess && kind != stunError {
		return payloadAnswer{}, false
	}
	var mapped, xored, failure string
	attrs := r[stunHeader:]
	for i := 0; i < stunMostAttrs && len(attrs) >= stunAttrHeadSize; i++ {
		length := int(binary.BigEndian.Uint16(attrs[2:]))
		padded := stunAttrHeadSize + (length+3)&^3
		if len(attrs) < stunAttrHeadSize+length {
			break
		}
		value := attrs[stunAttrHeadSize:][:length]
		switch binary.BigEndian.Uint16(attrs) {
		case stunXORMapped:
			xored = stunAddress(value, r[4:stunHeader])
		case stunMapped:
			mapped = stunAddress(value, make([]byte, 16))
		case stunErrorCode:
			if length >= 4 {
				failure = fmt.Sprintf("error %d %s", int(value[2]&7)*100+int(value[3]), display.Payload(value[4:], 60))
			}
		}
		attrs = attrs[min(padded, len(attrs)):]
	}
	switch {
	case kind == stunError:
		return payloadAnswer{fact: failure}, true
	case xored != "":
		return payloadAnswer{fact: "public address " + xored}, true
	case mapped != "":
		return payloadAnswer{fact: "public address " + mapped}, true
	}
	return payloadAnswer{}, true
}

// stunAddress reads an address attribute whose port and address are XORed with key, the cookie and the transaction ID
// (RFC 8489 14.2), or returns "".
func stunAddress(value, key []byte) string {
	if len(value) < stunAddressAt {
		return ""
	}
	port := binary.BigEndian.Uint16(value[2:]) ^ binary.BigEndian.Uint16(key)
	raw := value[stunAddressAt:]
	if (value[1] != stunIPv4 || len(raw) != 4) && (value[1] != stunIPv6 || len(raw) != 16) {
		return ""
	}
	plain := make([]byte, len(raw))
	for i := range raw {
		plain[i] = raw[i] ^ key[i]
	}
	addr, _ := netip.AddrFromSlice(plain)
	return netip.AddrPortFrom(addr, port).String()
}

// buildCoAP is an empty confirmable message: a server must reject it with a reset (RFC 7252 4.3).
func buildCoAP(*payloadTarget) []byte { return append([]byte{0x40, 0}, payloadNonce(2)...) }

func matchCoAP(x *payloadExchange) (payloadAnswer, bool) {
	ok := len(x.request) == 4 && len(x.reply) == 4 && x.reply[0] == 0x70 && x.reply[1] == 0 &&
		bytes.Equal(x.reply[2:], x.request[2:])
	if !ok {
		return payloadAnswer{}, false
	}
	return payloadAnswer{fact: "reset"}, true
}

// rpcNull returns a call of procedure 0, which does nothing, without authentication (RFC 5531 9).
func rpcNull(program, version uint32) []byte {
	call := payloadNonce(4) // xid
	for _, n := range []uint32{0, 2, program, version, 0, 0, 0, 0, 0} {
		call = binary.BigEndian.AppendUint32(call, n)
	}
	return call
}

func buildRPCBind(*payloadTarget) []byte { return rpcNull(100000, 2) }
func buildNFS(*payloadTarget) []byte     { return rpcNull(100003, 3) }

// rpcAccept names accept_stat, RFC 5531 9.
var rpcAccept = []string{"SUCCESS", "PROG_UNAVAIL", "PROG_MISMATCH", "PROC_UNAVAIL", "GARBAGE_ARGS", "SYSTEM_ERR"}

func matchRPC(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	if len(r) < 16 || len(x.request) < 40 || !bytes.Equal(r[:4], x.request[:4]) || binary.BigEndian.Uint32(r[4:]) != 1 {
		return payloadAnswer{}, false
	}
	if binary.BigEndian.Uint32(r[8:]) != 0 { // MSG_DENIED
		return payloadAnswer{fact: fmt.Sprintf("denied, reject_stat %d", binary.BigEndian.Uint32(r[12:]))}, true
	}
	if len(r) < 20 {
		return payloadAnswer{fact: "accepted"}, true
	}
	// The verifier stands before accept_stat: its flavour, its length, and as many bytes, padded to four.
	at := 20 + (int64(binary.BigEndian.Uint32(r[16:]))+3)&^3
	if int64(len(r)) < at+4 {
		return payloadAnswer{fact: "accepted"}, true
	}
	if stat := binary.BigEndian.Uint32(r[at:]); int(stat) < len(rpcAccept) {
		return payloadAnswer{fact: rpcAccept[stat]}, true
	}
	return payloadAnswer{fact: "accepted"}, true
}

// OpenVPN opcodes stand in the upper five bits of the first byte.
const (
	openvpnClientReset = 7
	openvpnServerReset = 8
)

// buildOpenVPN is P_CONTROL_HARD_RESET_CLIENT_V2: our session, no acknowledgements, packet 0.
func buildOpenVPN(*payloadTarget) []byte {
	return append(append([]byte{openvpnClientReset << 3}, payloadNonce(8)...), 0, 0, 0, 0, 0)
}

// matchOpenVPN takes the server's reset, which acknowledges at least one packet of our session.
func matchOpenVPN(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	if len(r) < 10 || len(x.request) < 9 || r[0]>>3 != openvpnServerReset {
		return payloadAnswer{}, false
	}
	acks := int(r[9])
	at := 10 + 4*acks // where the remote session stands
	if acks == 0 || len(r) < at+8 || !bytes.Equal(r[at:at+8], x.request[1:9]) {
		return payloadAnswer{}, false
	}
	return payloadAnswer{fact: "server reset, no tls-auth"}, true
}

// mumblePong is the length of the answer: version, our 8 bytes, users, most users, bandwidth.
const mumblePong = 24

func buildMumble(*payloadTarget) []byte { return append(make([]byte, 4), payloadNonce(8)...) }

func matchMumble(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	if len(r) != mumblePong || len(x.request) != 12 || !bytes.Equal(r[4:12], x.request[4:]) {
		return payloadAnswer{}, false
	}
	return payloadAnswer{fact: fmt.Sprintf("version %d.%d.%d, %d/%d users", r[1], r[2], r[3],
		binary.BigEndian.Uint32(r[12:]), binary.BigEndian.Uint32(r[16:]))}, true
}

// natPMPResults names the result codes of RFC 6886 3.5.
var natPMPResults = []string{"", "unsupported version", "not authorised", "network failure", "out of resources", "unsupported opcode"}

func buildNATPMP(*payloadTarget) []byte { return []byte{0, 0} }

// matchNATPMP reads the external address. An answer of version 2 comes from a router that speaks PCP only (RFC 6887 9).
func matchNATPMP(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	if len(x.request) != 2 || len(r) < 8 || r[1]&0x80 == 0 {
		return payloadAnswer{}, false
	}
	if r[0] == 2 {
		return payloadAnswer{fact: "PCP only"}, true
	}
	if r[0] != 0 || r[1] != 128 {
		return payloadAnswer{}, false
	}
	if code := int(binary.BigEndian.Uint16(r[2:])); code != 0 || len(r) < 12 {
		if code > 0 && code < len(natPMPResults) {
			return payloadAnswer{fact: natPMPResults[code]}, true
		}
		return payloadAnswer{fact: fmt.Sprintf("result %d", code)}, true
	}
	up := time.Duration(binary.BigEndian.Uint32(r[4:])) * time.Second
	return payloadAnswer{fact: fmt.Sprintf("external address %s, up %v", netip.AddrFrom4([4]byte(r[8:12])), up)}, true
}

// asfHeader is RMCP version 6, sequence 0xff (do not acknowledge), class ASF, and ASF's enterprise number 4542 (DSP0136
// 3.2.2).
const (
	asfHeader = "\x06\x00\xff\x06\x00\x00\x11\xbe"
	asfPing   = 0x80
	asfPong   = 0x40
)

// buildASF is a presence ping; the pong repeats its tag.
func buildASF(*payloadTarget) []byte {
	tag := payloadNonce(1)[0] % 0xff // 0xff asks for no answer
	return append([]byte(asfHeader), asfPing, tag, 0, 0)
}

func matchASF(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	// The sequence number in byte 2 is the server's own.
	if len(r) < 12 || len(x.request) < 10 || r[0] != asfHeader[0] || string(r[3:8]) != asfHeader[3:] ||
		r[8] != asfPong || r[9] != x.request[9] {
		return payloadAnswer{}, false
	}
	const entities = 12 + 8 // after two enterprise fields
	if len(r) > entities && r[entities]&0x80 != 0 {
		return payloadAnswer{fact: "IPMI supported"}, true
	}
	return payloadAnswer{fact: "ASF, no IPMI"}, true
}

// The echo request is text, so that it harms nobody who shows it:
//
//	purr-ping SESSION SEQUENCE COUNT\n
//
// in 16, 8 and 8 hex digits. SESSION is random. COUNT leaves as zeros; an echo server that counts writes there how many
// requests of this session it has seen (see countPing), any other sends the zeros back.
const (
	echoPrefix     = "purr-ping "
	echoSessionAt  = len(echoPrefix)
	echoSequenceAt = echoSessionAt + 16 + 1
	echoCountAt    = echoSequenceAt + 8 + 1
	echoLen        = echoCountAt + 8 + 1
)

func buildEcho(*payloadTarget) []byte { return echoRequest(payloadHexNonce(8), 0) }

// echoRequest returns the request with this sequence number; session is 16 characters.
func echoRequest(session string, sequence uint32) []byte {
	return fmt.Appendf(nil, "%s%s %08x %s\n", echoPrefix, session, sequence, strings.Repeat("0", 8))
}

// matchEcho takes the same bytes; of our own request the count may differ.
func matchEcho(x *payloadExchange) (payloadAnswer, bool) {
	if len(x.request) == 0 {
		return payloadAnswer{}, false
	}
	if bytes.Equal(x.reply, x.request) {
		return payloadAnswer{fact: "same bytes"}, true
	}
	if _, ok := echoCount(x.reply); ok && len(x.request) == echoLen && bytes.Equal(x.reply[:echoCountAt], x.request[:echoCountAt]) {
		return payloadAnswer{fact: "same bytes, counted"}, true
	}
	return payloadAnswer{}, false
}

// echoCount returns the count in an echo request or answer, and whether it is one.
func echoCount(b []byte) (count uint32, ok bool) {
	if len(b) != echoLen || !bytes.HasPrefix(b, []byte(echoPrefix)) || b[echoLen-1] != '\n' {
		return 0, false
	}
	for _, c := range b[echoCountAt : echoLen-1] {
		digit := strings.IndexByte("0123456789abcdef", c)
		if digit < 0 {
			return 0, false
		}
		count = count<<4 | uint32(digit)
	}
	return count, true
}
