package payload

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// RADIUS, RFC 2865 3 and RFC 5997.
const (
	radiusHeader               = 20
	radiusStatusServer         = 12
	radiusMessageAuthenticator = 80
)

// radiusCodes names the answers to a Status-Server, RFC 5997 3.
var radiusCodes = [...]string{2: "Access-Accept", 3: "Access-Reject", 5: "Accounting-Response"}

// buildRADIUS returns a Status-Server with a Message-Authenticator only: the
// HMAC-MD5 of the packet with 16 zero bytes in its own place (RFC 3579 3.2, RFC
// 5997 2).
func buildRADIUS(to *Target) []byte {
	const length = radiusHeader + 2 + md5.Size
	m := append([]byte{radiusStatusServer, nonce(1)[0], 0, length}, nonce(16)...)
	m = append(m, radiusMessageAuthenticator, 2+md5.Size)
	mac := hmac.New(md5.New, to.Secret)
	mac.Write(m)
	mac.Write(make([]byte, md5.Size))
	return mac.Sum(m)
}

// matchRADIUS accepts a reply to the identifier of the request, if its Response
// Authenticator proves that the server knows the secret.
func matchRADIUS(x *Exchange) (Answer, bool) {
	r := x.Reply
	if len(r) < radiusHeader || len(x.Request) < radiusHeader || r[1] != x.Request[1] {
		return Answer{}, false
	}
	length := int(binary.BigEndian.Uint16(r[2:]))
	if length < radiusHeader || length > len(r) {
		return Answer{}, false
	}
	sum := md5.New()
	sum.Write(r[:4])
	sum.Write(x.Request[4:radiusHeader])
	sum.Write(r[radiusHeader:length])
	sum.Write(x.Secret)
	if subtle.ConstantTimeCompare(sum.Sum(nil), r[4:radiusHeader]) != 1 {
		return Answer{}, false
	}
	if code := int(r[0]); code < len(radiusCodes) && radiusCodes[code] != "" {
		return Answer{Fact: radiusCodes[code]}, true
	}
	return Answer{Fact: fmt.Sprintf("code %d", r[0])}, true
}
