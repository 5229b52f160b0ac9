package payload

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// Tags of the Basic Encoding Rules that SNMP uses, RFC 3416 3 and RFC 2578 7.
const (
	berInteger  = 0x02
	berOctets   = 0x04
	berNull     = 0x05
	berOID      = 0x06
	berSequence = 0x30

	snmpTimeTicks = 0x43
	snmpGet       = 0xa0
	snmpResponse  = 0xa2
	snmpReport    = 0xa8
)

// ber returns one element: the tag, the length and the parts, which have at
// most 127 bytes together.
func ber(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	return append([]byte{tag, byte(len(content))}, content...)
}

// berNumber returns an INTEGER 0 <= n < 2^31 in the fewest bytes.
func berNumber(n uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, n)
	for len(b) > 1 && b[0] == 0 && b[1] < 0x80 {
		b = b[1:]
	}
	return ber(berInteger, b)
}

// snmpID returns a random number of 31 bits. Its highest bit is set, so that it
// always takes four bytes.
func snmpID() uint32 { return binary.BigEndian.Uint32(nonce(4))&0x7fffffff | 0x40000000 }

// berReader removes elements from the front of b. After a malformed one, failed
// is true, and all further ones are empty.
type berReader struct {
	b      []byte
	failed bool
}

// next returns the content of the next element, which must have the tag.
func (r *berReader) next(tag byte) []byte {
	if r.failed || len(r.b) < 2 || r.b[0] != tag {
		r.failed = true
		return nil
	}
	length, rest := int(r.b[1]), r.b[2:]
	if length >= 0x80 { // the long form; some agents send four bytes where one is enough
		n := length & 0x7f
		if n == 0 || n > 4 || len(rest) < n {
			r.failed = true
			return nil
		}
		var long uint64
		for _, c := range rest[:n] {
			long = long<<8 | uint64(c)
		}
		if long > uint64(len(rest)) {
			r.failed = true
			return nil
		}
		length, rest = int(long), rest[n:]
	}
	if length > len(rest) {
		r.failed = true
		return nil
	}
	r.b = rest[length:]
	return rest[:length]
}

// enter returns a reader of the next element's content.
func (r *berReader) enter(tag byte) *berReader {
	content := r.next(tag)
	return &berReader{b: content, failed: r.failed}
}

// number returns the value of the next element, which must have the tag: an
// integer of one to five bytes.
func (r *berReader) number(tag byte) uint64 {
	content := r.next(tag)
	if len(content) == 0 || len(content) > 5 {
		r.failed = true
		return 0
	}
	var n uint64
	for _, c := range content {
		n = n<<8 | uint64(c)
	}
	return n
}

// buildSNMP3 returns the engine discovery of RFC 3414 4: a Get with an empty
// engine ID and no user. Every agent answers with a Report that names its
// engine.
func buildSNMP3(*Target) []byte {
	usm := ber(berSequence, ber(berOctets), berNumber(0), berNumber(0), ber(berOctets), ber(berOctets), ber(berOctets))
	return ber(berSequence,
		berNumber(3),
		ber(berSequence, berNumber(snmpID()), berNumber(65507),
			ber(berOctets, []byte{0x04}), // reportable, neither authenticated nor private
			berNumber(3)),                // the user-based security model
		ber(berOctets, usm),
		ber(berSequence, ber(berOctets), ber(berOctets),
			ber(snmpGet, berNumber(snmpID()), berNumber(0), berNumber(0), ber(berSequence))))
}

// snmp3Header parses a message up to its scoped PDU (RFC 3412 6). id is the
// message ID, usm reads the security parameters, and pdu the content of the
// scoped PDU. If the message is not of version 3, or malformed around these,
// pdu.failed is true.
func snmp3Header(message []byte) (id uint64, usm *berReader, pdu *berReader) {
	outer := &berReader{b: message}
	m := outer.enter(berSequence)
	version := m.number(berInteger)
	global := m.enter(berSequence)
	id = global.number(berInteger)
	security := m.enter(berOctets)
	usm = security.enter(berSequence)
	pdu = m.enter(berSequence)
	if version != 3 || global.failed || m.failed {
		pdu.failed = true
	}
	return id, usm, pdu
}

// matchSNMP3 accepts the report with our message ID, which answers engine
// discovery (RFC 3414 4).
func matchSNMP3(x *Exchange) (Answer, bool) {
	asked, _, request := snmp3Header(x.Request)
	id, usm, pdu := snmp3Header(x.Reply)
	if request.failed || pdu.failed || id != asked {
		return Answer{}, false
	}
	engine := usm.next(berOctets)
	boots, seconds := usm.number(berInteger), usm.number(berInteger)
	pdu.next(berOctets) // context engine
	pdu.next(berOctets) // context name
	pdu.next(snmpReport)
	if usm.failed || pdu.failed {
		return Answer{}, false
	}
	if len(engine) > 32 { // RFC 3411 5, SnmpEngineID
		engine = engine[:32]
	}
	return Answer{Fact: fmt.Sprintf("engine %s, boots %d, up %v", hex.EncodeToString(engine), boots,
		time.Duration(seconds)*time.Second)}, true
}

// sysUpTime is 1.3.6.1.2.1.1.3.0, RFC 3418 2; the first two arcs share a byte.
var sysUpTime = []byte{1*40 + 3, 6, 1, 2, 1, 1, 3, 0}

// buildSNMP2 returns a Get of sysUpTime.0. The community is the secret,
// "public" by default.
func buildSNMP2(to *Target) []byte {
	community := to.Secret
	if len(community) == 0 || len(community) > 64 {
		community = []byte("public")
	}
	return ber(berSequence, berNumber(1), ber(berOctets, community),
		ber(snmpGet, berNumber(snmpID()), berNumber(0), berNumber(0),
			ber(berSequence, ber(berSequence, ber(berOID, sysUpTime), ber(berNull)))))
}

// snmp2PDU parses a version 2c message, whose PDU must have the tag. bindings
// reads its variable bindings. If the message is of another version or
// malformed, bindings.failed is true.
func snmp2PDU(message []byte, tag byte) (id, status uint64, bindings *berReader) {
	outer := &berReader{b: message}
	m := outer.enter(berSequence)
	version := m.number(berInteger)
	m.next(berOctets)
	pdu := m.enter(tag)
	id, status = pdu.number(berInteger), pdu.number(berInteger)
	pdu.number(berInteger) // error-index
	bindings = pdu.enter(berSequence)
	if version != 1 {
		bindings.failed = true
	}
	return id, status, bindings
}

// matchSNMP2 accepts the response with our request ID. The fact is the value of
// sysUpTime, or the error status.
func matchSNMP2(x *Exchange) (Answer, bool) {
	asked, _, request := snmp2PDU(x.Request, snmpGet)
	id, status, bindings := snmp2PDU(x.Reply, snmpResponse)
	if request.failed || bindings.failed || id != asked {
		return Answer{}, false
	}
	if status != 0 {
		return Answer{Fact: fmt.Sprintf("error-status %d", status)}, true
	}
	binding := bindings.enter(berSequence)
	binding.next(berOID)
	if ticks := binding.number(snmpTimeTicks); !binding.failed {
		return Answer{Fact: fmt.Sprintf("sysUpTime %v", time.Duration(ticks)*10*time.Millisecond)}, true
	}
	return Answer{Fact: "no sysUpTime"}, true
}
