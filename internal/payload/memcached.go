package payload

import (
	"bytes"
	"encoding/binary"

	"purr/internal/display"
)

// memcachedFrame is the length of the header of each datagram: request id,
// sequence number, number of datagrams and a reserved field, 16 bits each.
const memcachedFrame = 8

// buildMemcached returns the version command: unlike stats it does not amplify.
func buildMemcached(*Target) []byte {
	return append(nonce(2), "\x00\x00\x00\x01\x00\x00version\r\n"...)
}

// matchMemcached accepts the first datagram of a reply with our request ID. The
// fact is its first line.
func matchMemcached(x *Exchange) (Answer, bool) {
	r := x.Reply
	if len(r) < memcachedFrame || len(x.Request) < memcachedFrame || !bytes.Equal(r[:2], x.Request[:2]) ||
		r[2] != 0 || r[3] != 0 || binary.BigEndian.Uint16(r[4:]) == 0 {
		return Answer{}, false
	}
	line, _, _ := bytes.Cut(r[memcachedFrame:], []byte("\r\n"))
	return Answer{Fact: display.Payload(line, 80)}, true
}
