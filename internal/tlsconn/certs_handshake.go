package tlsconn

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"

	"purr/internal/sys"
)

// Kinds of a HandshakeError with certificates.
var (
	// ErrCert: the certificate of the other end is not accepted. The cause is a
	// *CertError.
	ErrCert = errors.New("the other end's certificate is not accepted")
	// ErrOwnCert: the other end does not accept our certificate, or wants one.
	ErrOwnCert = errors.New("the other end does not accept our certificate")
	// ErrNoAgreement: the other end speaks TLS, but not version 1.2 or later, or
	// with no common cipher or protocol.
	ErrNoAgreement = errors.New("no agreement on TLS 1.2 or later")
)

// certAlerts are the alerts about a certificate: RFC 8446, section 6.2.
var certAlerts = []tls.AlertError{42, 43, 44, 45, 46, 48, 49, 116}

// Alerts: RFC 8446, section 6.2.
const (
	badRecordMAC     = 20
	handshakeFailure = 40
)

// classifyCerts returns the HandshakeError for err, the failure of a handshake
// with certificates whose peer speaks TLS. version is that of the connection; 0
// if none was agreed on yet.
func classifyCerts(err error, version uint16) *HandshakeError {
	var remote *net.OpError
	switch {
	case errors.As(err, new(*CertError)):
		return &HandshakeError{Kind: ErrCert, Err: err}
	case errors.As(err, &remote) && remote.Op == "remote error":
		kind := ErrNoAgreement
		// In TLS 1.2, a server that misses a certificate may send the alert for a
		// failed agreement (RFC 5246, section 7.4.6).
		if isCertAlert(remote.Err) || version != 0 && remote.Err.Error() == tls.AlertError(handshakeFailure).Error() {
			kind = ErrOwnCert
		}
		return &HandshakeError{Kind: kind, Err: plainTLS(remote.Err)}
	case version >= tls.VersionTLS13 && sys.Cause(err).Error() == tls.AlertError(badRecordMAC).Error():
		// OpenSSL's clients send an alert about a certificate in clear text.
		return &HandshakeError{Kind: ErrOwnCert}
	case sys.IsErrno(err):
		return &HandshakeError{Err: err}
	}
	return &HandshakeError{Kind: ErrNoAgreement, Err: plainTLS(sys.Cause(err))}
}

// isCertAlert reports whether err is an alert about our certificate. The type
// of an alert outside of QUIC is not exported, its text is.
func isCertAlert(err error) bool {
	return slices.ContainsFunc(certAlerts, func(a tls.AlertError) bool { return a.Error() == err.Error() })
}

// plainTLS returns an error of crypto/tls without its prefix.
func plainTLS(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "tls: "))
}

// EndsAlone reports whether close_notify ends only the direction in which it is
// sent. Before TLS 1.3 the peer answers it with its own, and drops what it has
// not sent yet (RFC 5246, section 7.2.1).
func (c *Conn) EndsAlone() bool { return c.ConnectionState().Version >= tls.VersionTLS13 }
