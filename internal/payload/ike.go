package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
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

// ikeNotify returns the name of a notify type of a first answer, RFC 7296
// 3.10.1, or its number.
func ikeNotify(kind uint16) string {
	switch kind {
	case 1:
		return "UNSUPPORTED_CRITICAL_PAYLOAD"
	case 5:
		return "INVALID_MAJOR_VERSION"
	case 7:
		return "INVALID_SYNTAX"
	case 14:
		return "NO_PROPOSAL_CHOSEN"
	case 17:
		return "INVALID_KE_PAYLOAD"
	case 24:
		return "AUTHENTICATION_FAILED"
	case 35:
		return "NO_ADDITIONAL_SAS"
	case 16388:
		return "NAT_DETECTION_SOURCE_IP"
	case 16390:
		return "COOKIE"
	}
	return fmt.Sprintf("notify %d", kind)
}

// ikePayload returns a payload with its generic header, RFC 7296 3.2. next is
// the type of the payload that follows it, 0 for none.
func ikePayload(next byte, content ...[]byte) []byte {
	body := bytes.Join(content, nil)
	return append(binary.BigEndian.AppendUint16([]byte{next, 0}, uint16(4+len(body))), body...)
}

// ikeProposal returns one proposal: AES-CBC-256, PRF and integrity with
// HMAC-SHA2-256, and three groups. The key exchange payload is for group 31
// (X25519).
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

// buildIKE returns an IKE_SA_INIT request of IKEv2 (RFC 7296 1.2) with a random
// SPI, which the responder repeats.
func buildIKE(*Target) []byte {
	payloads := bytes.Join([][]byte{
		ikePayload(ikePayloadKE, ikeProposal()),
		// Any 32 bytes are an X25519 public key. The exchange ends before the
		// private one is needed.
		ikePayload(ikePayloadNonce, []byte{0, 31, 0, 0}, nonce(32)),
		ikePayload(0, nonce(32)),
	}, nil)
	m := append(nonce(8), make([]byte, 8)...) // the responder's SPI is not known yet
	m = append(m, ikePayloadSA, 0x20, ikeSAInit, ikeFlagInitiator, 0, 0, 0, 0)
	m = binary.BigEndian.AppendUint32(m, uint32(ikeHeader+len(payloads)))
	return append(m, payloads...)
}

// buildIKENAT returns the request of buildIKE behind the non-ESP marker, as
// port 4500 expects it (RFC 3948 2.2).
func buildIKENAT(to *Target) []byte { return append([]byte(ikeNonESPMarker), buildIKE(to)...) }

// matchIKENAT is matchIKE for a request and a reply behind the non-ESP marker.
func matchIKENAT(x *Exchange) (Answer, bool) {
	request, asked := bytes.CutPrefix(x.Request, []byte(ikeNonESPMarker))
	reply, ok := bytes.CutPrefix(x.Reply, []byte(ikeNonESPMarker))
	if !ok || !asked {
		return Answer{}, false
	}
	return matchIKE(&Exchange{Request: request, Reply: reply})
}

// matchIKE accepts any response with our SPI. A responder without IKEv2 answers
// in IKEv1.
func matchIKE(x *Exchange) (Answer, bool) {
	r := x.Reply
	if len(r) < ikeHeader || len(x.Request) < ikeHeader || !bytes.Equal(r[:8], x.Request[:8]) {
		return Answer{}, false
	}
	if r[17]>>4 == 1 {
		return Answer{Fact: "IKEv1"}, true
	}
	if r[18] != ikeSAInit || r[19]&ikeFlagResponse == 0 {
		return Answer{}, false
	}
	if r[16] == ikePayloadSA {
		return Answer{Fact: "proposal accepted"}, true
	}
	if r[16] == ikePayloadNotify && len(r) >= ikeHeader+8 {
		return Answer{Fact: ikeNotify(binary.BigEndian.Uint16(r[ikeHeader+6:]))}, true
	}
	return Answer{Fact: "IKE_SA_INIT"}, true
}
