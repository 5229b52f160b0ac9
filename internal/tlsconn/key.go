package tlsconn

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// A Key is the secret that both ends hold: 128 random bits. An attacker that
// connects to a listener can test keys offline against the identity that it
// presents, so a key must come from NewKey and not from a password.
type Key [16]byte

// A key is written as 26 characters of base32 (RFC 4648, section 6) and a check
// character, which distinguishes most typing errors from a wrong key.
const (
	keyDigits = 26
	alphabet  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewKey returns a random key.
func NewKey() (k Key) {
	rand.Read(k[:]) // never fails: crypto/rand ends the process instead
	return k
}

// String returns the text that ParseKey reads: 27 characters of A-Z and 2-7.
func (k Key) String() string {
	sum := sha256.Sum256(k[:])
	return encoding.EncodeToString(k[:]) + alphabet[sum[0]>>3:][:1]
}

// ErrNoKey is the error of ParseKey for a text that does not look like a key,
// such as a password.
var ErrNoKey = errors.New("this is no key")

// A TypoError is the error of ParseKey for a text that looks like a mistyped
// key.
type TypoError struct {
	Length   int // of the text, if it is wrong; else 0
	Position int // of the first character that no key has, from 1; 0 if there is none
}

// Error describes the position of the mistake, and never quotes the key.
func (e *TypoError) Error() string {
	switch {
	case e.Length > 0:
		return fmt.Sprintf("mistyped: %d characters where a key has %d", e.Length, keyDigits+1)
	case e.Position > 0:
		return fmt.Sprintf("mistyped: character %d is none that a key has (A-Z, 2-7)", e.Position)
	}
	return "mistyped: the check character at the end does not fit the others"
}

// ParseKey reads a key in upper or lower case, with any spaces and dashes
// between the characters and a line end behind them. The error is ErrNoKey or a
// *TypoError and never quotes the text, which may be a secret.
func ParseKey(text string) (Key, error) {
	var clean []byte
	for _, c := range []byte(strings.ToUpper(strings.TrimRight(text, "\r\n"))) {
		if c != ' ' && c != '-' {
			clean = append(clean, c)
		}
	}
	strange := 0 // position of the first digit that base32 lacks
	for i, c := range clean {
		switch {
		case strings.IndexByte(alphabet, c) >= 0:
		case c < '0' || c > '9':
			return Key{}, ErrNoKey
		case strange == 0:
			strange = i + 1
		}
	}
	switch {
	case len(clean) < keyDigits-2 || len(clean) > keyDigits+4:
		return Key{}, ErrNoKey
	case len(clean) != keyDigits+1:
		return Key{}, &TypoError{Length: len(clean)}
	case strange > 0:
		return Key{}, &TypoError{Position: strange}
	}
	var k Key
	if _, err := encoding.Decode(k[:], clean[:keyDigits]); err != nil {
		return Key{}, ErrNoKey
	}
	if k.String() != string(clean) {
		return Key{}, &TypoError{}
	}
	return k, nil
}

// A Class is what a connection carries. The two ends of one have the same
// class: nothing on the path can lead a stream to an end that stores files,
// although one key is for both.
type Class string

// The classes.
const (
	Stream Class = "stream" // bytes without a meaning: a pipe, an echo, a raw file
	Files  Class = "files"  // the protocol of files that are pushed and pulled
)

// version is part of the ALPN name and of the identities: ends of different
// versions fail to connect.
const version = "purr/2"

// protocol returns the name of the class in ALPN (RFC 7301).
func (c Class) protocol() string { return version + "-" + string(c) }

// Config returns the TLS configuration of the listening or the dialling end.
// For each class the key yields an Ed25519 identity for either end; an end
// presents its own and accepts only the other. So there are no authorities,
// names or dates to check. The session keys come from an ephemeral exchange: a
// key that leaks later does not decrypt recorded traffic.
func (k Key) Config(class Class, listener bool) (*tls.Config, error) {
	own, other := "dialer", "listener"
	if listener {
		own, other = other, own
	}
	ours, err := k.identity(class, own)
	if err != nil {
		return nil, err
	}
	theirs, err := k.identity(class, other)
	if err != nil {
		return nil, err
	}
	// Only the public key counts; X.509 requires the rest.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, ours.Public(), ours)
	if err != nil {
		return nil, err
	}
	expected := theirs.Public().(ed25519.PublicKey)
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: ours}},
		NextProtos:             []string{class.protocol()},
		SessionTicketsDisabled: true,
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // VerifyConnection is the whole check
		VerifyConnection: func(state tls.ConnectionState) error {
			presented, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
			if !ok || subtle.ConstantTimeCompare(presented, expected) != 1 {
				return ErrWrongKey
			}
			if state.NegotiatedProtocol != class.protocol() { // ALPN is optional in TLS
				return ErrOtherProtocol
			}
			return nil
		},
	}, nil
}

// identity derives the key pair of a role, "dialer" or "listener", in a class
// with HKDF (RFC 5869).
func (k Key) identity(class Class, role string) (ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, k[:], nil, fmt.Sprintf("%s tls identity %s %s", version, class, role), ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
