package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// mumblePong is the length of an answer: version, the 8 bytes of the request,
// users, maximum users, bandwidth.
const mumblePong = 24

// buildMumble returns a ping: four zeros, and 8 random bytes, which the server
// repeats.
func buildMumble(*Target) []byte { return append(make([]byte, 4), nonce(8)...) }

// matchMumble accepts a pong with our 8 bytes. The fact is the server's version
// and its users.
func matchMumble(x *Exchange) (Answer, bool) {
	r := x.Reply
	if len(r) != mumblePong || len(x.Request) != 12 || !bytes.Equal(r[4:12], x.Request[4:]) {
		return Answer{}, false
	}
	return Answer{Fact: fmt.Sprintf("version %d.%d.%d, %d/%d users", r[1], r[2], r[3],
		binary.BigEndian.Uint32(r[12:]), binary.BigEndian.Uint32(r[16:]))}, true
}
