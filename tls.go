package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"purr/internal/halfclose"
	"purr/internal/tlsconn"
	"purr/internal/web"
)

// This file is TLS with certificates (--ssl): it loads them, words those that
// are not accepted, and checks handshakes (-z). secure.go does the handshakes.

// loadCerts loads what TLS with the peer needs, and with the target of -L.
func loadCerts(c *config) error {
	if err := c.ssl.load(c.listen, c.host, c.push.moves()); err != nil || c.tunnel == nil {
		return err
	}
	return c.targetSSL.load(false, c.tunnel.Host, false)
}

// load reads all that --ssl needs, the system's roots included, since confine
// forbids it later. A listener without a certificate makes one; web means that
// it serves HTTP. host is the one to listen on or to dial.
func (s *sslConfig) load(listen bool, host string, web bool) (err error) {
	if !s.on {
		return nil
	}
	source := tlsconn.Source{Listen: listen, Host: host, CertFile: s.certFile, KeyFile: s.keyFile, ClientCA: s.clientCA, Roots: s.trustFile,
		ServerName: s.serverName, Pin: s.pin, Insecure: s.insecure, ALPN: s.alpn}
	if s.alpn == nil && listen && web {
		source.ALPN = []string{"http/1.1"}
	}
	s.certs, s.selfPin, err = source.Load()
	if failed, ok := errors.AsType[*tlsconn.SourceError](err); ok {
		options := [...]string{tlsconn.OwnCert: "--ssl-cert", tlsconn.ClientRoots: "--ssl-client-ca", tlsconn.ServerRoots: "--ssl-trustfile"}
		return usageErrorf("option %s: %w", options[failed.Role], err)
	}
	return err
}

// newShaker returns the Handshaker of --ssl.
func (e *encryption) newShaker() *tlsconn.Handshaker {
	refusal := "purr: this port expects TLS\n"
	if e.class == tlsconn.Files {
		// RFC 2817, section 4.2.
		refusal = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2\r\nConnection: Upgrade, close\r\nContent-Type: text/plain\r\n\r\nthis port expects TLS: say https://, or --ssl\n"
	}
	return &tlsconn.Handshaker{Config: e.ssl.certs.Config(e.server), Certs: true, Server: e.server, Timeout: e.timeout,
		OnAccept: e.onAccept, Pending: e.pending, ClearTextReply: refusal}
}

// provesPeers reports whether a peer has to prove that it is an expected one:
// by the key, a certificate of --ssl-client-ca, or that of --pin.
func (e *encryption) provesPeers() bool {
	return e.on || e.ssl.certs.ClientCA != nil || e.ssl.pin != nil
}

// logTLS logs a connection with certificates under -v. Under --ssl-insecure the
// first unchecked certificate is also a warning.
func (e *encryption) logTLS(s *tlsconn.Conn) {
	state := s.ConnectionState()
	about := "the other end shows no certificate"
	if len(state.PeerCertificates) > 0 {
		leaf := state.PeerCertificates[0]
		about = fmt.Sprintf("its certificate is for %s, and its pin is %v", namesOf(leaf), tlsconn.PinOf(leaf))
		if e.ssl.insecure {
			e.unchecked.Do(func() {
				e.log.warnf("%s: the certificate is not checked (%s), so anyone on the way can be the other end; %s", connName(s), cmp.Or(e.log.as.Unchecked, "--ssl-insecure"), about)
			})
		}
	}
	if state.NegotiatedProtocol != "" {
		about += ", and the protocol is " + state.NegotiatedProtocol
	}
	e.log.verbosef("%s: encrypted (%s, %v, %s); %s", connName(s), tls.VersionName(state.Version), state.CurveID, tls.CipherSuiteName(state.CipherSuite), about)
}

// namesOf returns what a certificate is for, in words.
func namesOf(cert *x509.Certificate) string {
	return cmp.Or(strings.Join(tlsconn.Names(cert), ", "), "no name")
}

// logNewCert prints the pin of a certificate that was made for this run, with
// the command for the other end. port is the listener's own.
func (e *encryption) logNewCert(port int) {
	pin, command := fmt.Sprint(e.ssl.selfPin), e.otherEnd(port)
	e.log.report(always, "certificate", []field{{"pin", pin}, {"command", command}},
		"a new certificate, made for this run; at the other end say: %s", command)
}

// failure returns the status and text for a failed handshake of --ssl; "" if a
// key's handshake can fail in the same way, and without --ssl.
func (e *encryption) failure(failed *tlsconn.HandshakeError) (exitStatus, string) {
	text := failed.Error()
	var cert *tlsconn.CertError
	switch {
	case !e.ssl.on:
		return statusOK, ""
	case errors.As(failed, &cert):
		return statusAuth, "its certificate is not accepted: " + cert.Error() + e.advice(cert)
	case failed.Kind == tlsconn.ErrOwnCert && e.ssl.certs.Own == nil:
		return statusAuth, text + ": show it one with --ssl-cert FILE"
	case failed.Kind == tlsconn.ErrOwnCert:
		return statusAuth, text
	case failed.Kind == tlsconn.ErrNoAgreement:
		return statusNotPurr, text
	case failed.Kind == tlsconn.ErrClearText:
		return statusNotPurr, text + " and we expect TLS: nothing of it was taken"
	case failed.Kind == tlsconn.ErrNotTLS && failed.Err == nil:
		return statusNotPurr, text + ": no payload was sent to it; for clear text, leave --ssl out"
	}
	return statusOK, ""
}

// advice returns the end of the message about a certificate that is not
// accepted: how to go on, with the punctuation in front; "" if nothing can be
// done here. Without a certificate the pin of cert is zero.
func (e *encryption) advice(cert *tlsconn.CertError) string {
	switch {
	case e.server && cert.Pin == (tlsconn.Pin{}):
		return ": the client has to show one (--ssl-cert)"
	case cert.Pin == (tlsconn.Pin{}), e.server:
		return ""
	case e.ssl.pin != nil:
		return ": if the other end has a new key, ask there for its pin"
	case errors.As(cert, new(x509.HostnameError)):
		return "; if one of these names is the right one, say --ssl-servername NAME, or --pin with the pin"
	case errors.As(cert, new(x509.UnknownAuthorityError)):
		return "; to trust its authority, say --ssl-trustfile FILE; if it is the right one, --pin with the pin"
	}
	return "; if it is the right one even so, say --pin with the pin"
}

// refusedLater returns err, in words if it is a handshake's: in TLS 1.3 a
// dialer learns only in the conversation that its certificate is not accepted.
func (e *encryption) refusedLater(c net.Conn, err error) error {
	if failed, ok := errors.AsType[*tlsconn.HandshakeError](err); ok {
		return e.handshakeError(c, failed)
	}
	return err
}

// halfCloseOptions returns when a session on c is half-closed. Before TLS 1.3
// the other end drops what it has not sent once close_notify arrives (RFC 5246,
// section 7.2.1): it is sent only where no answer is waited for anyway, and not
// because of Ncat's name alone.
func (t *talker) halfCloseOptions(c net.Conn) halfclose.Options {
	o := halfclose.Options{Never: t.noShutdown, AtOnce: t.shutdownAtOnce || t.sendOnly || t.sendFile != "",
		Encrypted: t.encrypted, Listener: t.listen, QuitAfter: max(0, t.quitAfter)}
	if s, ok := c.(*tlsconn.Conn); ok && !s.EndsAlone() && !o.AtOnce {
		o.Never = true
	}
	o.AtOnce = o.AtOnce || t.passesOn
	return o
}

// checkTLS is -z --ssl: a handshake with one port after the other.
func (c *checker) checkTLS(ctx context.Context) error {
	c.confine()
	return c.retry(ctx, func(ctx context.Context, limit time.Duration) error {
		return c.askInTurn(ctx, func(port int) error { return c.shake(ctx, port, limit) })
	})
}

// shake does the handshake with one port. Its error is printed here, unless
// --wait-for or --retry is given: a refused connection under -v only, as in nc.
func (c *checker) shake(ctx context.Context, port int, limit time.Duration) error {
	begun := time.Now()
	conn, err := c.dialWithin(ctx, port, limit)
	refused := err != nil
	if refused && time.Since(begun) >= min(cmp.Or(limit, c.connectTimeout), c.connectTimeout) {
		err = statusError{statusUnknown, err} // no answer
	}
	if err == nil {
		conn, err = c.encryption.secure(ctx, conn)
	}
	switch {
	case err == nil:
		return conn.Close()
	case c.waits() || ctx.Err() != nil:
		return err
	case !refused:
		c.log.failRun(err)
	case c.log.level > 0:
		c.log.fail(err)
	}
	return statusError{statusOf(err), reportedError{err}}
}

// pageTLS returns what the page for browsers prints about the encryption, nil
// without --ssl.
func (m *mover) pageTLS() *web.TLS {
	s := &m.encryption.ssl
	if !s.on {
		return nil
	}
	leaf := s.certs.Own.Leaf
	page := &web.TLS{Names: leaf.DNSNames, Pin: tlsconn.PinOf(leaf).String(), Mutual: m.encryption.provesPeers()}
	if s.selfPin == nil {
		page.Issuer = leaf.Issuer.String()
	}
	return page
}

// scheme returns that of the page's URL.
func (m *mover) scheme() string {
	if m.encryption.ssl.on {
		return "https"
	}
	return "http"
}
