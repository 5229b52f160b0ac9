package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// QUIC, RFC 8999.
const (
	quicLongHeader = 0x80
	quicGrease     = 0x1a2a3a4a // versions of the form ?a?a?a?a are reserved, RFC 9000 15
	quicIDLen      = 8
	quicDatagram   = 1200 // servers ignore a first datagram smaller than this, RFC 9000 14.1
	quicMost       = 16   // versions shown
)

// buildQUIC returns a first packet of a reserved version, with random
// connection IDs. A server answers it with version negotiation, and keeps no
// state.
func buildQUIC(*Target) []byte {
	m := binary.BigEndian.AppendUint32([]byte{quicLongHeader | 0x40}, quicGrease)
	m = append(append(m, quicIDLen), nonce(quicIDLen)...) // destination
	m = append(append(m, quicIDLen), nonce(quicIDLen)...) // source
	return append(m, make([]byte, quicDatagram-len(m))...)
}

// matchQUIC accepts a version negotiation packet with our two connection IDs in
// exchanged places.
func matchQUIC(x *Exchange) (Answer, bool) {
	const head = 1 + 4
	const want = head + 1 + quicIDLen + 1 + quicIDLen
	q, r := x.Request, x.Reply
	if len(q) < want || len(r) < want || r[0]&quicLongHeader == 0 || binary.BigEndian.Uint32(r[1:]) != 0 {
		return Answer{}, false
	}
	destination, source := q[head:head+1+quicIDLen], q[head+1+quicIDLen:want]
	if !bytes.Equal(r[head:head+1+quicIDLen], source) || !bytes.Equal(r[head+1+quicIDLen:want], destination) {
		return Answer{}, false
	}
	var names []string
	for list := r[want:]; len(list) >= 4 && len(names) < quicMost; list = list[4:] {
		if v := binary.BigEndian.Uint32(list); v&0x0f0f0f0f != 0x0a0a0a0a {
			names = append(names, quicVersion(v))
		}
	}
	return Answer{Fact: "versions " + strings.Join(names, " ")}, true
}

// quicVersion returns the name of a version: that of RFC 9000 or RFC 9369, a
// draft's number, or else the version in hexadecimal.
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
