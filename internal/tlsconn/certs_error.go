package tlsconn

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"purr/internal/display"
)

// A CertError is a certificate of the other end that is not accepted. Its texts
// are fit for a terminal.
type CertError struct {
	Reason string   // what is wrong with it: "it is signed by itself"
	Names  []string // the names and addresses that the certificate is for
	Pin    Pin      // of its key; zero if there is no certificate
	Err    error    // of crypto/x509, or nil
}

// Error returns the reason and, if there is a certificate, its names and pin.
func (e *CertError) Error() string {
	if e.Pin == (Pin{}) {
		return e.Reason
	}
	names := "no name"
	if len(e.Names) > 0 {
		names = strings.Join(e.Names, ", ")
	}
	return fmt.Sprintf("%s; it is for %s, and its pin is %v", e.Reason, names, e.Pin)
}

// Unwrap returns the error of crypto/x509.
func (e *CertError) Unwrap() error { return e.Err }

// maxNames is the most names of a certificate that are worth printing.
const maxNames = 10

// newCertError returns the error for a certificate, with its names.
func newCertError(cert *x509.Certificate, reason string, err error) *CertError {
	return &CertError{Reason: reason, Names: Names(cert), Pin: PinOf(cert), Err: err}
}

// Names returns the names and addresses that a certificate is for, fit for a
// terminal. Beyond ten, the last element counts the others. A certificate
// without any has its common name, with a remark.
func Names(cert *x509.Certificate) (names []string) {
	for _, name := range cert.DNSNames {
		names = append(names, display.Escape(name))
	}
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if name := cert.Subject.CommonName; len(names) == 0 && name != "" {
		names = []string{fmt.Sprintf("\"%s\" (without a subject alternative name)", display.Escape(name))}
	}
	if more := len(names) - maxNames; more > 0 {
		names = append(names[:maxNames], fmt.Sprintf("%d more", more))
	}
	return names
}

// certReason returns the Reason of a CertError for an error of x509's Verify.
func certReason(cert *x509.Certificate, err error) string {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &name):
		return fmt.Sprintf("it is not for %s", display.Escape(name.Host))
	case errors.As(err, new(x509.UnknownAuthorityError)):
		if cert.Issuer.String() == cert.Subject.String() {
			return "it is signed by itself"
		}
		return fmt.Sprintf("it is issued by an authority that is not trusted: %s", display.Escape(cert.Issuer.String()))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		// The certificate may be one between the peer's and its root.
		return "it is not valid now: " + display.Escape(strings.TrimSpace(invalid.Detail))
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "it is for another use"
	case errors.As(err, new(x509.SystemRootsError)):
		return "the system's trusted certificates cannot be read"
	}
	return "it is not valid: " + display.Escape(strings.TrimPrefix(err.Error(), "x509: "))
}
