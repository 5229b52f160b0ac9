package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"purr/internal/display"
)

// STUN, RFC 8489 5 and 14.
const (
	stunHeader       = 20
	stunRequest      = 0x0001
	stunSuccess      = 0x0101
	stunError        = 0x0111
	stunMapped       = 0x0001
	stunErrorCode    = 0x0009
	stunXORMapped    = 0x0020
	stunIPv4         = 1
	stunIPv6         = 2
	stunMagicCookie  = "\x21\x12\xa4\x42"
	stunMostAttrs    = 32
	stunAddressAt    = 4 // after a zero byte, the family and the port
	stunAttrHeadSize = 4
)

// buildSTUN returns a binding request without attributes and with a random
// transaction ID (RFC 8489 5).
func buildSTUN(*Target) []byte {
	return append([]byte("\x00\x01\x00\x00"+stunMagicCookie), nonce(12)...)
}

// matchSTUN accepts a success or error response with our transaction ID. The
// fact is the mapped address, or the error.
func matchSTUN(x *Exchange) (Answer, bool) {
	r := x.Reply
	if len(r) < stunHeader || len(x.Request) < stunHeader || binary.BigEndian.Uint16(x.Request) != stunRequest ||
		!bytes.Equal(r[4:stunHeader], x.Request[4:stunHeader]) {
		return Answer{}, false
	}
	kind := binary.BigEndian.Uint16(r)
	if kind != stunSuccess && kind != stunError {
		return Answer{}, false
	}
	var mapped, xored, failure string
	attrs := r[stunHeader:]
	for i := 0; i < stunMostAttrs && len(attrs) >= stunAttrHeadSize; i++ {
		length := int(binary.BigEndian.Uint16(attrs[2:]))
		padded := stunAttrHeadSize + (length+3)&^3
		if len(attrs) < stunAttrHeadSize+length {
			break
		}
		value := attrs[stunAttrHeadSize:][:length]
		switch binary.BigEndian.Uint16(attrs) {
		case stunXORMapped:
			xored = stunAddress(value, r[4:stunHeader])
		case stunMapped:
			mapped = stunAddress(value, make([]byte, 16))
		case stunErrorCode:
			if length >= 4 {
				failure = fmt.Sprintf("error %d %s", int(value[2]&7)*100+int(value[3]), display.Payload(value[4:], 60))
			}
		}
		attrs = attrs[min(padded, len(attrs)):]
	}
	switch {
	case kind == stunError:
		return Answer{Fact: failure}, true
	case xored != "":
		return Answer{Fact: "public address " + xored}, true
	case mapped != "":
		return Answer{Fact: "public address " + mapped}, true
	}
	return Answer{}, true
}

// stunAddress returns the address in an attribute whose port and address are
// XORed with key: the cookie and the transaction ID, or zeros (RFC 8489 14.1,
// 14.2). It returns "" if the attribute is malformed.
func stunAddress(value, key []byte) string {
	if len(value) < stunAddressAt {
		return ""
	}
	port := binary.BigEndian.Uint16(value[2:]) ^ binary.BigEndian.Uint16(key)
	raw := value[stunAddressAt:]
	if (value[1] != stunIPv4 || len(raw) != 4) && (value[1] != stunIPv6 || len(raw) != 16) {
		return ""
	}
	plain := make([]byte, len(raw))
	for i := range raw {
		plain[i] = raw[i] ^ key[i]
	}
	addr, _ := netip.AddrFromSlice(plain)
	return netip.AddrPortFrom(addr, port).String()
}
