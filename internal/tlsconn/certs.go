package tlsconn

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"time"
)

// Certs are the certificates of one end: its own, and those that it accepts of
// the other. The zero value is a dialer that trusts the system's roots.
type Certs struct {
	// Own is shown to the other end. A listener needs one; a dialer shows it if
	// it is asked.
	Own *tls.Certificate

	// Roots have issued what a listener may show; nil: the system's.
	Roots *x509.CertPool

	// ClientCA, if set, makes a listener demand a certificate that it has issued.
	ClientCA *x509.CertPool

	// ServerName is the host name or IP address for which the certificate of a
	// listener has to be; a name is sent as SNI (RFC 6066, section 3).
	ServerName string

	// Pin, if set, replaces roots, name and date: any certificate with this key
	// is accepted, and no other.
	Pin *Pin

	// Insecure accepts any certificate.
	Insecure bool

	// ALPN are the protocols to agree on, in order (RFC 7301); nil: none.
	ALPN []string
}

// Config returns the configuration for this end, for TLS 1.2 and later. server
// is true at the end that accepts the connection. A certificate that is not
// accepted fails the handshake with a *CertError.
func (c *Certs) Config(server bool) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: c.ALPN,
		ServerName: c.ServerName,

		// VerifyConnection checks, with errors that have more in them.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if server {
				return c.verifyClient(state)
			}
			return c.verifyServer(state)
		},
	}
	if c.Own != nil {
		config.Certificates = []tls.Certificate{*c.Own}
		// Without it, a certificate is shown only if its issuer is on the
		// listener's list.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.Own, nil }
	}
	if server && (c.ClientCA != nil || c.Pin != nil) {
		config.ClientAuth, config.ClientCAs = tls.RequestClientCert, c.ClientCA
	}
	return config
}

// verifyServer checks the certificate of a listener.
func (c *Certs) verifyServer(state tls.ConnectionState) error {
	switch {
	case c.Pin != nil:
		return c.Pin.verify(state)
	case c.Insecure:
		return nil
	case c.ServerName == "": // crypto/x509 would accept any name
		return &CertError{Reason: "there is no name for which it has to be"}
	}
	return verifyChain(state, x509.VerifyOptions{Roots: c.Roots, DNSName: c.ServerName})
}

// verifyClient checks the certificate of a client, if one is demanded.
func (c *Certs) verifyClient(state tls.ConnectionState) error {
	switch {
	case c.Pin != nil:
		return c.Pin.verify(state)
	case c.ClientCA == nil:
		return nil
	}
	return verifyChain(state, x509.VerifyOptions{Roots: c.ClientCA, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// verifyChain checks the chain from the peer's certificate to a root. The
// certificates that the peer has sent behind its own may be links of the chain.
// The error is a *CertError.
func verifyChain(state tls.ConnectionState, options x509.VerifyOptions) error {
	if len(state.PeerCertificates) == 0 {
		return &CertError{Reason: "there is none"}
	}
	options.Intermediates = x509.NewCertPool()
	for _, between := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(between)
	}
	leaf := state.PeerCertificates[0]
	if _, err := leaf.Verify(options); err != nil {
		return newCertError(leaf, certReason(leaf, err), err)
	}
	return nil
}

// A Pin is the SHA-256 of a public key, as its certificate contains it
// (SubjectPublicKeyInfo in RFC 7469, section 2.4). It is the same for every
// certificate of the key.
type Pin [sha256.Size]byte

// PinOf returns the pin of a certificate's key.
func PinOf(cert *x509.Certificate) Pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// String returns the pin as sha256:BASE64.
func (p Pin) String() string { return "sha256:" + base64.StdEncoding.EncodeToString(p[:]) }

// ParsePin reads a pin as sha256:BASE64, in curl's form sha256//BASE64, or in
// hexadecimal digits with or without the prefix.
func ParsePin(text string) (Pin, error) {
	digest, ok := strings.CutPrefix(text, "sha256//")
	if !ok {
		digest, ok = strings.CutPrefix(text, "sha256:")
	}
	b, err := hex.DecodeString(digest)
	if ok && (err != nil || len(b) != sha256.Size) {
		b, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(digest, "="))
	}
	if err != nil || len(b) != sha256.Size {
		return Pin{}, fmt.Errorf("%q is no sha256:BASE64 of %d bytes", text, sha256.Size)
	}
	return Pin(b), nil
}

// verify checks that the peer has the pinned key.
func (p *Pin) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return &CertError{Reason: "there is none"}
	}
	leaf := state.PeerCertificates[0]
	if PinOf(leaf) != *p {
		return newCertError(leaf, "it has another key than the pinned one", nil)
	}
	return nil
}

// LoadCert reads a certificate, the certificates between it and its root, and
// its key from PEM files. An empty keyFile means that certFile holds both.
func LoadCert(certFile, keyFile string) (*tls.Certificate, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	keyPEM := certPEM
	if keyFile != "" {
		if keyPEM, err = os.ReadFile(keyFile); err != nil {
			return nil, err
		}
	} else {
		keyFile = certFile
	}
	if isEncrypted(keyPEM) {
		return nil, fmt.Errorf("%s: the key is encrypted: decrypt it with \"openssl pkey -in FILE -out FILE\"", keyFile)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	switch {
	case err == nil:
		return &cert, nil
	case !hasBlock(certPEM, "CERTIFICATE"):
		return nil, fmt.Errorf("%s: there is no certificate in PEM in it", certFile)
	case !hasBlock(keyPEM, "PRIVATE KEY"):
		return nil, fmt.Errorf("%s: there is no private key in PEM in it", keyFile)
	}
	return nil, fmt.Errorf("%s: %w", keyFile, errors.New(strings.TrimPrefix(err.Error(), "tls: ")))
}

// hasBlock reports whether there is a block in PEM whose type ends with kind.
func hasBlock(text []byte, kind string) bool {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, kind) {
			return true
		}
	}
}

// isEncrypted reports whether the first key has a passphrase: PKCS #8, or the
// older form of OpenSSL (RFC 1421).
func isEncrypted(text []byte) bool {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
		}
	}
}

// LoadRoots reads certificates from a file in PEM.
func LoadRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bytes.TrimSpace(text)) {
		return nil, fmt.Errorf("%s: there is no certificate in PEM in it", file)
	}
	return pool, nil
}

// certTime is how long a self-made certificate is valid.
const certTime = 365 * 24 * time.Hour

// NewCert returns a certificate for some names and addresses with a new key on
// the curve P-256, signed by itself, and its pin. The other end accepts the
// certificate by the pin.
func NewCert(names ...string) (*tls.Certificate, Pin, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, Pin{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, Pin{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "purr"},
		NotBefore:    now.Add(-time.Hour), // clocks differ
		NotAfter:     now.Add(certTime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, Pin{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, Pin{}, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, PinOf(leaf), nil
}
