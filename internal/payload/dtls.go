package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

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

// dtlsSuites are the cipher suites offered: ECDHE with AES-GCM and ChaCha20,
// CCM_8 and PSK for CoAP devices (RFC 7252 9.1.3), RSA for old servers, and the
// renegotiation signal.
var dtlsSuites = []uint16{0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc0ae, 0xc0a8, 0x009c, 0x002f, 0x00ff}

// dtlsVector returns the parts, preceded by their length in size bytes, most
// significant byte first.
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

// buildDTLS returns a ClientHello without a cookie. A server answers with the
// cookie (RFC 6347 4.2.1).
func buildDTLS(*Target) []byte {
	extension := func(kind uint16, content []byte) []byte {
		return append(dtlsUint16s(kind), dtlsVector(2, content)...)
	}
	hello := bytes.Join([][]byte{
		dtlsUint16s(dtlsVersion12),
		nonce(32),
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

// matchDTLS accepts a HelloVerifyRequest, a ServerHello or an alert. None of
// them repeats a value of the ClientHello; only the port shows that it is the
// answer.
func matchDTLS(x *Exchange) (Answer, bool) {
	r := x.Reply
	if len(x.Request) < dtlsRecord || x.Request[0] != dtlsHandshake || len(r) < dtlsRecord+2 || r[1] != 0xfe || r[2] < 0xfc ||
		int(binary.BigEndian.Uint16(r[11:])) > len(r)-dtlsRecord {
		return Answer{}, false
	}
	switch {
	case r[0] == dtlsHandshake && len(r) >= dtlsRecord+dtlsHandshakeLen && r[dtlsRecord] == dtlsHelloVerify:
		return Answer{Fact: "HelloVerifyRequest"}, true
	case r[0] == dtlsHandshake && len(r) >= dtlsRecord+dtlsHandshakeLen && r[dtlsRecord] == dtlsServerHello:
		return Answer{Fact: "ServerHello"}, true
	case r[0] == dtlsAlert:
		return Answer{Fact: fmt.Sprintf("alert %d", r[dtlsRecord+1])}, true
	}
	return Answer{}, false
}
