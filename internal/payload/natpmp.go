package payload

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// natPMPResults names the result codes of RFC 6886 3.5.
var natPMPResults = []string{"", "unsupported version", "not authorised", "network failure", "out of resources", "unsupported opcode"}

// buildNATPMP returns a request for the external address (RFC 6886 3.2).
func buildNATPMP(*Target) []byte { return []byte{0, 0} }

// matchNATPMP accepts a response to the request. The fact is the external
// address or the result code. A router without NAT-PMP answers with version 2,
// which is PCP (RFC 6887 9).
func matchNATPMP(x *Exchange) (Answer, bool) {
	r := x.Reply
	if len(x.Request) != 2 || len(r) < 8 || r[1]&0x80 == 0 {
		return Answer{}, false
	}
	if r[0] == 2 {
		return Answer{Fact: "PCP only"}, true
	}
	if r[0] != 0 || r[1] != 128 {
		return Answer{}, false
	}
	if code := int(binary.BigEndian.Uint16(r[2:])); code != 0 || len(r) < 12 {
		if code > 0 && code < len(natPMPResults) {
			return Answer{Fact: natPMPResults[code]}, true
		}
		return Answer{Fact: fmt.Sprintf("result %d", code)}, true
	}
	up := time.Duration(binary.BigEndian.Uint32(r[4:])) * time.Second
	return Answer{Fact: fmt.Sprintf("external address %s, up %v", netip.AddrFrom4([4]byte(r[8:12])), up)}, true
}
