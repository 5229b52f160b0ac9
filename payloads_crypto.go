package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"strings"
)

// IKEv2, RFC 7296 3.
const (
	ikeHeader        = 28
	ikeSAInit        = 34
	ikeFlagInitiator = 0x08
	ikeFlagResponse  = 0x20
	ikePayloadSA     = 33
	ikePayloadKE     = 34
	ikePayloadNonce  = 40
	ikePayloadNotify = 41
	ikeNonESPMarker  = "\x00\x00\x00\x00"
)

// ikeNotify names the notify types that a first answer carries, RFC 7296 3.10.1.
var ikeNotify = map[uint16]string{1: "UNSUPPORTED_CRITICAL_PAYLOAD", 5: "INVALID_MAJOR_VERSION", 7: "INVALID_SYNTAX",
	14: "NO_PROPOSAL_CHOSEN", 17: "INVALID_KE_PAYLOAD", 24: "AUTHENTICATION_FAILED", 35: "NO_ADDITIONAL_SAS",
	16388: "NAT_DETECTION_SOURCE_IP", 16390: "COOKIE"}

// ikePayload returns a payload with its generic header, RFC 7296 3.2.
func ikePayload(next byte, content ...[]byte) []byte {
	body := bytes.Join(content, nil)
	return append(binary.BigEndian.AppendUint16([]byte{next, 0}, uint16(4+len(body))), body...)
}

// ikeProposal returns one proposal: AES-CBC-256, PRF and integrity with HMAC-SHA2-256, and a choice of groups, of which
// 31 (X25519) is the one that the key exchange is for.
func ikeProposal() []byte {
	transforms := []struct {
		kind  byte
		id    uint16
		attrs []byte
	}{
		{1, 12, []byte{0x80, 14, 1, 0}}, // key length 256
		{2, 5, nil},
		{3, 12, nil},
		{4, 31, nil}, {4, 19, nil}, {4, 14, nil},
	}
	var list []byte
	for i, t := range transforms {
		more := byte(3)
		if i == len(transforms)-1 {
			more = 0
		}
		list = append(list, more, 0, 0, byte(8+len(t.attrs)), t.kind, 0, byte(t.id>>8), byte(t.id))
		list = append(list, t.attrs...)
	}
	return append([]byte{0, 0, 0, byte(8 + len(list)), 1, 1, 0, byte(len(transforms))}, list...)
}

func buildIKE(*payloadTarget) []byte {
	payloads := bytes.Join([][]byte{
		ikePayload(ikePayloadKE, ikeProposal()),
		// Any 32 bytes are an X25519 public key, and the exchange ends before anyone needs the private one.
		ikePayload(ikePayloadNonce, []byte{0, 31, 0, 0}, payloadNonce(32)),
		ikePayload(0, payloadNonce(32)),
	}, nil)
	m := append(payloadNonce(8), make([]byte, 8)...) // the responder's SPI is not known yet
	m = append(m, ikePayloadSA, 0x20, ikeSAInit, ikeFlagInitiator, 0, 0, 0, 0)
	m = binary.BigEndian.AppendUint32(m, uint32(ikeHeader+len(payloads)))
	return append(m, payloads...)
}

func buildIKENAT(to *payloadTarget) []byte { return append([]byte(ikeNonESPMarker), buildIKE(to)...) }

func matchIKENAT(x *payloadExchange) (payloadAnswer, bool) {
	request, asked := bytes.CutPrefix(x.request, []byte(ikeNonESPMarker))
	reply, ok := bytes.CutPrefix(x.reply, []byte(ikeNonESPMarker))
	if !ok || !asked {
		return payloadAnswer{}, false
	}
	return matchIKE(&payloadExchange{request: request, reply: reply})
}

// matchIKE takes any response for our SPI. A responder that speaks only IKEv1 answers in its own version.
func matchIKE(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	if len(r) < ikeHeader || len(x.request) < ikeHeader || !bytes.Equal(r[:8], x.request[:8]) {
		return payloadAnswer{}, false
	}
	if r[17]>>4 == 1 {
		return payloadAnswer{fact: "IKEv1"}, true
	}
	if r[18] != ikeSAInit || r[19]&ikeFlagResponse == 0 {
		return payloadAnswer{}, false
	}
	if r[16] == ikePayloadSA {
		return payloadAnswer{fact: "proposal accepted"}, true
	}
	if r[16] == ikePayloadNotify && len(r) >= ikeHeader+8 {
		kind := binary.BigEndian.Uint16(r[ikeHeader+6:])
		if name := ikeNotify[kind]; name != "" {
			return payloadAnswer{fact: name}, true
		}
		return payloadAnswer{fact: fmt.Sprintf("notify %d", kind)}, true
	}
	return payloadAnswer{fact: "IKE_SA_INIT"}, true
}

// RADIUS, RFC 2865 3 and RFC 5997.
const (
	radiusHeader               = 20
	radiusStatusServer         = 12
	radiusMessageAuthenticator = 80
)

// radiusCodes names the answers to a Status-Server, RFC 5997 3.
var radiusCodes = map[byte]string{2: "Access-Accept", 3: "Access-Reject", 5: "Accounting-Response"}

// buildRADIUS is a Status-Server with nothing but a Message-Authenticator, which is the HMAC-MD5 of the packet with 16 zero
// bytes in its own place (RFC 3579 3.2, RFC 5997 2).
func buildRADIUS(to *payloadTarget) []byte {
	const length = radiusHeader + 2 + md5.Size
	m := append([]byte{radiusStatusServer, payloadNonce(1)[0], 0, length}, payloadNonce(16)...)
	m = append(m, radiusMessageAuthenticator, 2+md5.Size)
	mac := hmac.New(md5.New, to.secret)
	mac.Write(m)
	mac.Write(make([]byte, md5.Size))
	return mac.Sum(m)
}

// matchRADIUS checks the Response Authenticator, so only who knows the secret can be taken for the server.
func matchRADIUS(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	if len(r) < radiusHeader || len(x.request) < radiusHeader || r[1] != x.request[1] {
		return payloadAnswer{}, false
	}
	length := int(binary.BigEndian.Uint16(r[2:]))
	if length < radiusHeader || length > len(r) {
		return payloadAnswer{}, false
	}
	sum := md5.New()
	sum.Write(r[:4])
	sum.Write(x.request[4:radiusHeader])
	sum.Write(r[radiusHeader:length])
	sum.Write(x.secret)
	if subtle.ConstantTimeCompare(sum.Sum(nil), r[4:radiusHeader]) != 1 {
		return payloadAnswer{}, false
	}
	if name := radiusCodes[r[0]]; name != "" {
		return payloadAnswer{fact: name}, true
	}
	return payloadAnswer{fact: fmt.Sprintf("code %d", r[0])}, true
}

// QUIC, RFC 8999.
const (
	quicLongHeader = 0x80
	quicGrease     = 0x1a2a3a4a // a version of the form ?a?a?a?a is one that nobody speaks, RFC 9000 15
	quicIDLen      = 8
	quicDatagram   = 1200 // servers ignore a first datagram smaller than this, RFC 9000 14.1
	quicMost       = 16   // versions shown
)

func buildQUIC(*payloadTarget) []byte {
	m := binary.BigEndian.AppendUint32([]byte{quicLongHeader | 0x40}, quicGrease)
	m = append(append(m, quicIDLen), payloadNonce(quicIDLen)...) // destination
	m = append(append(m, quicIDLen), payloadNonce(quicIDLen)...) // source
	return append(m, make([]byte, quicDatagram-len(m))...)
}

// matchQUIC takes a version negotiation packet with both our connection IDs, exchanged.
func matchQUIC(x *payloadExchange) (payloadAnswer, bool) {
	const head = 1 + 4
	const want = head + 1 + quicIDLen + 1 + quicIDLen
	q, r := x.request, x.reply
	if len(q) < want || len(r) < want || r[0]&quicLongHeader == 0 || binary.BigEndian.Uint32(r[1:]) != 0 {
		return payloadAnswer{}, false
	}
	destination, source := q[head:head+1+quicIDLen], q[head+1+quicIDLen:want]
	if !bytes.Equal(r[head:head+1+quicIDLen], source) || !bytes.Equal(r[head+1+quicIDLen:want], destination) {
		return payloadAnswer{}, false
	}
	var names []string
	for list := r[want:]; len(list) >= 4 && len(names) < quicMost; list = list[4:] {
		if v := binary.BigEndian.Uint32(list); v&0x0f0f0f0f != 0x0a0a0a0a {
			names = append(names, quicVersion(v))
		}
	}
	return payloadAnswer{fact: "versions " + strings.Join(names, " ")}, true
}

// quicVersion names a version: RFC 9000, RFC 9369, or a draft's number.
func quicVersion(v uint32) string {
	switch {
	case v == 1:
		return "v1"
	case v == 0x6b3343cf:
		return "v2"
	case v>>8 == 0xff0000:
		return fmt.Sprintf("draft-%d", v&0xff)
	}
	return fmt.Sprintf("%08x", v)
}

// DTLS 1.2, RFC 6347 4 and RFC 5246 7.4.
const (
	dtlsRecord       = 13
	dtlsHandshake    = 22
	dtlsAlert        = 21
	dtlsClientHello  = 1
	dtlsServerHello  = 2
	dtlsHelloVerify  = 3
	dtlsVersion10    = 0xfeff
	dtlsVersion12    = 0xfefd
	dtlsHandshakeLen = 12
)

// dtlsSuites are the cipher suites offered: ECDHE with AES-GCM and ChaCha20, the CCM_8 and PSK suites that CoAP devices
// have (RFC 7252 9.1.3), RSA for old servers, and the renegotiation signal.
var dtlsSuites = []uint16{0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc0ae, 0xc0a8, 0x009c, 0x002f, 0x00ff}

// dtlsVector returns b behind its length in size bytes, most significant first.
func dtlsVector(size int, parts ...[]byte) []byte {
	b := bytes.Join(parts, nil)
	head := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	return append(head[4-size:], b...)
}

// dtlsUint16s returns the numbers in network order.
func dtlsUint16s(numbers ...uint16) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

// buildDTLS is a ClientHello without a cookie, which a server answers with one (RFC 6347 4.2.1).
func buildDTLS(*payloadTarget) []byte {
	extension := func(kind uint16, content []byte) []byte {
		return append(dtlsUint16s(kind), dtlsVector(2, content)...)
	}
	hello := bytes.Join([][]byte{
		dtlsUint16s(dtlsVersion12),
		payloadNonce(32),
		{0}, // no session
		{0}, // no cookie
		dtlsVector(2, dtlsUint16s(dtlsSuites...)),
		{1, 0}, // no compression
		dtlsVector(2,
			extension(10, dtlsVector(2, dtlsUint16s(29, 23, 24))),                              // groups: X25519, P-256, P-384
			extension(11, []byte{1, 0}),                                                        // points are uncompressed
			extension(13, dtlsVector(2, dtlsUint16s(0x0403, 0x0804, 0x0401, 0x0503, 0x0501)))), // signatures
	}, nil)
	size := dtlsVector(3, hello)[:3]
	handshake := bytes.Join([][]byte{{dtlsClientHello}, size, {0, 0}, {0, 0, 0}, size, hello}, nil)       // message 0, one fragment
	record := append([]byte{dtlsHandshake, dtlsVersion10 >> 8, dtlsVersion10 & 0xff}, make([]byte, 8)...) // epoch and sequence 0
	return append(record, dtlsVector(2, handshake)...)
}

// matchDTLS takes a HelloVerifyRequest, a ServerHello or an alert. None repeats anything of a ClientHello, so only our port
// tells whose answer it is.
func matchDTLS(x *payloadExchange) (payloadAnswer, bool) {
	r := x.reply
	if len(x.request) < dtlsRecord || x.request[0] != dtlsHandshake || len(r) < dtlsRecord+2 || r[1] != 0xfe || r[2] < 0xfc ||
		int(binary.BigEndian.Uint16(r[11:])) > len(r)-dtlsRecord {
		return payloadAnswer{}, false
	}
	switch {
	case r[0] == dtlsHandshake && len(r) >= dtlsRecord+dtlsHandshakeLen && r[dtlsRecord] == dtlsHelloVerify:
		return payloadAnswer{fact: "HelloVerifyRequest"}, true
	case r[0] == dtlsHandshake && len(r) >= dtlsRecord+dtlsHandshakeLen && r[dtlsRecord] == dtlsServerHello:
		return payloadAnswer{fact: "ServerHello"}, true
	case r[0] == dtlsAlert:
		return payloadAnswer{fact: fmt.Sprintf("alert %d", r[dtlsRecord+1])}, true
	}
	return payloadAnswer{}, false
}
