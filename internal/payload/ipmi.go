package payload

// asfHeader is RMCP version 6, sequence 0xff (no acknowledgement), class ASF,
// and ASF's enterprise number 4542 (DSP0136 3.2.2).
const (
	asfHeader = "\x06\x00\xff\x06\x00\x00\x11\xbe"
	asfPing   = 0x80
	asfPong   = 0x40
)

// buildASF returns a presence ping. The pong repeats its tag.
func buildASF(*Target) []byte {
	tag := nonce(1)[0] % 0xff // 0xff asks for no answer
	return append([]byte(asfHeader), asfPing, tag, 0, 0)
}

// matchASF accepts the pong with the tag of the ping. The fact reports the
// support of IPMI.
func matchASF(x *Exchange) (Answer, bool) {
	r := x.Reply
	// Byte 2 is the server's own sequence number.
	if len(r) < 12 || len(x.Request) < 10 || r[0] != asfHeader[0] || string(r[3:8]) != asfHeader[3:] ||
		r[8] != asfPong || r[9] != x.Request[9] {
		return Answer{}, false
	}
	const entities = 12 + 8 // after two enterprise fields
	if len(r) > entities && r[entities]&0x80 != 0 {
		return Answer{Fact: "IPMI supported"}, true
	}
	return Answer{Fact: "ASF, no IPMI"}, true
}
