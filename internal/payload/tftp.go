package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// TFTP opcodes, RFC 1350 5.
const (
	tftpRRQ   = 1
	tftpDATA  = 3
	tftpERROR = 5
)

// buildTFTP returns a read request for a random name, which no server has.
func buildTFTP(*Target) []byte {
	return append([]byte{0, tftpRRQ}, "purr-probe-"+hexNonce(4)+"\x00octet\x00"...)
}

// matchTFTP accepts an ERROR or the first block of DATA. It stops DATA with an
// ERROR; otherwise the server would repeat the block for a minute.
func matchTFTP(x *Exchange) (Answer, bool) {
	r := x.Reply
	if len(r) < 4 || r[0] != 0 || len(x.Request) < 2 || x.Request[1] != tftpRRQ {
		return Answer{}, false
	}
	switch code := binary.BigEndian.Uint16(r[2:]); {
	case r[1] == tftpERROR:
		text, _, _ := bytes.Cut(r[4:], []byte{0})
		return Answer{Fact: fmt.Sprintf("error %d %s", code, Quote(text, 80))}, true
	case r[1] == tftpDATA && code == 1:
		stop := append([]byte{0, tftpERROR, 0, 0}, "only a probe\x00"...)
		return Answer{Fact: fmt.Sprintf("data, %d bytes", len(r)-4), Next: stop, Final: true}, true
	}
	return Answer{}, false
}
