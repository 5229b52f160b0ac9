package payload

import "bytes"

// buildCoAP returns an empty confirmable message. A server must reject it with
// a reset (RFC 7252 4.3).
func buildCoAP(*Target) []byte { return append([]byte{0x40, 0}, nonce(2)...) }

// matchCoAP accepts a reset with the message ID of the request.
func matchCoAP(x *Exchange) (Answer, bool) {
	ok := len(x.Request) == 4 && len(x.Reply) == 4 && x.Reply[0] == 0x70 && x.Reply[1] == 0 &&
		bytes.Equal(x.Reply[2:], x.Request[2:])
	if !ok {
		return Answer{}, false
	}
	return Answer{Fact: "reset"}, true
}
