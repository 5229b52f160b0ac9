package tlsconn

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"purr/internal/flags"
)

// A Source is where the Certs of one end come from. The zero value is a dialer
// that trusts the system's roots.
type Source struct {
	Listen bool
	Host   string // to listen on, or to dial; may have a zone

	CertFile, KeyFile string // of the own certificate; see LoadCert
	ClientCA          string // file with the authorities of clients
	Roots             string // file with the authorities of listeners

	ServerName string // empty: Host
	Pin        *Pin
	Insecure   bool
	ALPN       []string
}

// A Role is what a file of a Source is for.
type Role int

const (
	OwnCert     Role = iota // CertFile or KeyFile
	ClientRoots             // ClientCA
	ServerRoots             // Roots
)

// A SourceError is a file of a Source that cannot be used.
type SourceError struct {
	Role Role
	Err  error // of LoadCert or LoadRoots; names the file
}

func (e *SourceError) Error() string { return e.Err.Error() }

func (e *SourceError) Unwrap() error { return e.Err }

// Load reads all files, the system's roots included, so that none is read
// later. A listener without a certificate gets a new one for this machine and
// Host, whose pin is selfPin; otherwise selfPin is nil. An error about a file
// is a *SourceError.
func (s *Source) Load() (c Certs, selfPin *Pin, err error) {
	c = Certs{Insecure: s.Insecure, ALPN: s.ALPN, Pin: s.Pin}
	host, _, _ := strings.Cut(s.Host, "%") // a zone is no part of a certificate's address
	c.ServerName = cmp.Or(s.ServerName, strings.TrimSuffix(host, "."))
	if s.CertFile != "" {
		if c.Own, err = LoadCert(s.CertFile, s.KeyFile); err != nil {
			return c, nil, &SourceError{OwnCert, err}
		}
	} else if s.Listen {
		var pin Pin
		if c.Own, pin, err = NewCert(ownNames(host)...); err != nil {
			return c, nil, fmt.Errorf("make a certificate: %w", err)
		}
		selfPin = &pin
	}
	if s.ClientCA != "" {
		if c.ClientCA, err = LoadRoots(s.ClientCA); err != nil {
			return c, nil, &SourceError{ClientRoots, err}
		}
	}
	switch {
	case s.Roots != "":
		if c.Roots, err = LoadRoots(s.Roots); err != nil {
			return c, nil, &SourceError{ServerRoots, err}
		}
	case !s.Listen && !s.Insecure && s.Pin == nil:
		if c.Roots, err = x509.SystemCertPool(); err != nil {
			return c, nil, fmt.Errorf("read the system's trusted certificates: %w", err)
		}
	}
	return c, selfPin, nil
}

// ownNames returns what a new certificate of a listener on host is for.
func ownNames(host string) []string {
	names := []string{"localhost"}
	machine, _ := os.Hostname()
	for _, name := range []string{host, machine} {
		if name != "" && !flags.IsUnspecified(name) && utf8.RuneCountInString(name) == len(name) { // ASCII, as X.509 demands
			names = append(names, name)
		}
	}
	return names
}
