package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/icholy/digest"
)

const (
	realm     = "purr"
	nonceTime = 5 * time.Minute // how long a nonce is valid
)

// nonce returns a nonce for Digest that this Server recognises without keeping
// it: the time by the monotonic clock, and an HMAC over it.
func (s *Server) nonce(now time.Time) string {
	key, begun := s.nonceKey()
	b := binary.BigEndian.AppendUint64(nil, uint64(now.Sub(begun)))
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(b)
	return hex.EncodeToString(append(b, mac.Sum(nil)[:16]...))
}

// nonceAge returns the age of a nonce; ok is false if the nonce is not of this
// Server.
func (s *Server) nonceAge(nonce string) (age time.Duration, ok bool) {
	b, err := hex.DecodeString(nonce)
	if err != nil || len(b) < 8 {
		return 0, false
	}
	_, begun := s.nonceKey()
	made := begun.Add(time.Duration(binary.BigEndian.Uint64(b)))
	return time.Since(made), hmac.Equal([]byte(strings.ToLower(nonce)), []byte(s.nonce(made)))
}

// isDigest reports as known whether text, the Proxy-Authorization of a request,
// proves the password by Digest (RFC 7616) for just this request. stale is true
// if it would, and only its nonce is too old.
func (s *Server) isDigest(text string, request *http.Request) (known, stale bool) {
	given, err := digest.ParseCredentials(text)
	if err != nil || given.QOP != "auth" || given.Realm != realm {
		return false, false
	}
	// For an absolute URI, curl has the path only.
	if given.URI != request.RequestURI && given.URI != request.URL.RequestURI() {
		return false, false
	}
	switch strings.ToUpper(given.Algorithm) {
	case "", "MD5", "SHA-256":
	default:
		return false, false
	}
	age, ok := s.nonceAge(given.Nonce)
	if !ok {
		return false, false
	}
	challenge := &digest.Challenge{Realm: realm, Nonce: given.Nonce, Algorithm: given.Algorithm, QOP: []string{"auth"}}
	want, err := digest.Digest(challenge, digest.Options{
		Method: request.Method, URI: given.URI, Count: given.Nc, Username: s.User, Password: s.Password, Cnonce: given.Cnonce,
	})
	if err != nil || equal(given.Username, s.User)&equal(strings.ToLower(given.Response), want.Response) != 1 {
		return false, false
	}
	return age <= nonceTime, age > nonceTime
}
