// Package tlsconn encrypts connections with TLS. Either both ends prove in the
// handshake that they hold the same key, at version 1.3: no payload is sent to,
// or taken from, a peer without it. Or each checks the certificate of the
// other, as far as Certs demands one, with a peer of any make.
package tlsconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"purr/internal/sock"
	"purr/internal/sys"
)

// Kinds of a HandshakeError.
var (
	// ErrWrongKey: the peer speaks TLS and does not hold the key, or its
	// handshake was changed in transit.
	ErrWrongKey = errors.New("the other end does not hold our key")
	// ErrOtherProtocol: the peer speaks TLS, and it is of another version of this
	// package or its connection is of another Class. Whether it holds the key is
	// not known.
	ErrOtherProtocol = errors.New("the other end speaks another protocol")
	// ErrNotTLS: the listener that was dialled does not speak TLS. The cause is
	// os.ErrDeadlineExceeded if it sent nothing, io.ErrUnexpectedEOF if it
	// closed the connection, and else its clear text.
	ErrNotTLS = errors.New("the other end does not speak TLS")
	// ErrClearText: the client sent bytes that are no TLS.
	ErrClearText = errors.New("the other end sends clear text")
	// ErrNoHandshake: the client closed the connection before it sent a byte,
	// as a port scan does.
	ErrNoHandshake = errors.New("closed without a word")
	// ErrCrowded: the client of a Listener sent nothing, or too little, while
	// others waited for their handshake.
	ErrCrowded = errors.New("given up, because others waited")
)

// A HandshakeError is a failed handshake. The connection has been closed.
type HandshakeError struct {
	// Kind is one of the errors above, or nil if the network failed or the
	// time was over.
	Kind error
	// Err is the cause, or nil if Kind is the whole reason.
	Err error
}

// Error returns the kind and the cause, as far as they are known.
func (e *HandshakeError) Error() string {
	switch {
	case e.Kind == nil:
		return e.Err.Error()
	case e.Err == nil:
		return e.Kind.Error()
	}
	return fmt.Sprintf("%v: %v", e.Kind, e.Err)
}

// Unwrap returns the kind and the cause.
func (e *HandshakeError) Unwrap() (errs []error) {
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// DefaultTimeout is the limit of a handshake if Handshaker.Timeout is zero.
const DefaultTimeout = 10 * time.Second

// A Handshaker makes encrypted connections of plain ones. It may be used by
// several goroutines.
type Handshaker struct {
	// Config is the result of Key.Config for this end, or of Certs.Config.
	Config *tls.Config

	// Certs means that Config is that of Certs: the other end is a TLS of any
	// make, and shows certificates in place of a key.
	Certs bool

	// Server is true at the end that accepted the connection, false at the one
	// that dialled.
	Server bool

	// Timeout limits the handshake; zero: DefaultTimeout.
	Timeout time.Duration

	// OnAccept, if set, is called by a Listener for each client before its
	// handshake. Several calls may run at once.
	OnAccept func(context.Context, net.Conn)

	// Pending is how many clients of a Listener may be in their handshake at once;
	// zero: 64.
	Pending int

	// ClearTextReply is sent to a client that sends clear text, before its
	// connection is reset.
	ClearTextReply string
}

// Do returns c encrypted, once both ends have proved that they hold the key, or
// have shown the certificates that are demanded. In TLS 1.3 a dialer's
// certificate is checked later, and a refusal is the error of its first Read.
// The caller closes the result, and with it c. If Do fails, it has closed c and
// the error is a *HandshakeError, or ctx's cause if ctx ended first.
func (h *Handshaker) Do(ctx context.Context, c net.Conn) (*Conn, error) {
	s := h.newConn(c)
	err := h.handshake(ctx, s)
	if err == nil && h.Server {
		err = h.confirm(s)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// newConn returns c with TLS, before its handshake. A listener's records the
// protocols that the client offers, for otherProtocol.
func (h *Handshaker) newConn(c net.Conn) *Conn {
	r := &recordBuffer{Conn: c}
	s := &Conn{Conn: c, records: r, foreign: h.Certs}
	if h.Server {
		config := h.Config.Clone()
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			r.offered = hello.SupportedProtos
			return nil, nil
		}
		s.tls = tls.Server(r, config)
	} else {
		s.tls = tls.Client(r, h.Config)
	}
	return s
}

// handshake is Do for the connection of newConn, except that the listener's
// confirmation is still to be sent. If it fails, it has closed the socket.
func (h *Handshaker) handshake(ctx context.Context, s *Conn) error {
	c := s.Conn
	timeout := h.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	_ = c.SetDeadline(time.Now().Add(timeout))
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	err := s.tls.Handshake()
	if err == nil && !h.Server && !h.Certs {
		err = s.awaitConfirmation()
	}
	switch {
	case err == nil:
		_ = c.SetDeadline(time.Time{})
		return nil
	case ctx.Err() != nil:
		_ = c.Close()
		return context.Cause(ctx)
	}
	failed := h.classify(s, err)
	h.reject(s.records, failed.Kind)
	return failed
}

// In TLS 1.3 a client has finished its handshake before the server has checked
// its certificate. Therefore the first byte of the server is a confirmation: no
// payload is sent to a listener that will reject it.
const confirmation = 1

// confirm sends the byte by which the listener confirms that it has accepted
// the dialer's key. With certificates it sends nothing, because a TLS of
// another make knows no such byte. If it fails, it has closed the socket.
func (h *Handshaker) confirm(c *Conn) error {
	if h.Certs {
		return nil
	}
	if _, err := c.tls.Write([]byte{confirmation}); err != nil {
		_ = c.Conn.Close()
		return &HandshakeError{Err: err}
	}
	return nil
}

// awaitConfirmation waits for the listener's confirm. In TLS 1.3 the dialer's
// handshake ends before the listener has checked the dialer's certificate, so
// without that byte a wrong key would show in the first read only.
func (c *Conn) awaitConfirmation() error {
	var b [1]byte
	if _, err := io.ReadFull(c.tls, b[:]); err != nil {
		return err
	}
	if b[0] != confirmation {
		return fmt.Errorf("confirmation of another version: %d", b[0])
	}
	return nil
}

// classify returns the HandshakeError for err, the failure of a handshake. Its
// kind depends on err and on what the peer has sent before.
func (h *Handshaker) classify(s *Conn, err error) *HandshakeError {
	r := s.records
	var remote *net.OpError
	late := errors.Is(err, os.ErrDeadlineExceeded)
	cut := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
	if cut {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case r.clear && h.Server:
		return &HandshakeError{Kind: ErrClearText}
	case r.clear:
		return &HandshakeError{Kind: ErrNotTLS}
	case !r.heard.Load() && h.Server && (cut || sys.IsReset(err)):
		return &HandshakeError{Kind: ErrNoHandshake}
	case !r.heard.Load() && !h.Server && (cut || late):
		return &HandshakeError{Kind: ErrNotTLS, Err: err}
	case late, cut:
		return &HandshakeError{Err: err}
	case h.Certs:
		return classifyCerts(err, s.tls.ConnectionState().Version)
	case h.otherProtocol(r, err):
		return &HandshakeError{Kind: ErrOtherProtocol}
	case errors.Is(err, ErrWrongKey), errors.As(err, &remote) && remote.Op == "remote error":
		return &HandshakeError{Kind: ErrWrongKey}
	case sys.IsErrno(err):
		return &HandshakeError{Err: err}
	}
	return &HandshakeError{Kind: ErrWrongKey, Err: sys.Cause(err)}
}

// otherProtocol reports whether err means that ALPN has found no protocol that
// both ends have: the server sends the alert no_application_protocol (RFC 7301,
// section 3.2), and the client receives it.
func (h *Handshaker) otherProtocol(r *recordBuffer, err error) bool {
	const noApplicationProtocol = tls.AlertError(120)
	var remote *net.OpError
	switch {
	case errors.Is(err, ErrOtherProtocol):
		return true
	case h.Server:
		return len(r.offered) > 0 && !slices.Contains(r.offered, h.Config.NextProtos[0])
	}
	// The type of an alert outside of QUIC is not exported, its text is.
	return errors.As(err, &remote) && remote.Op == "remote error" && remote.Err.Error() == noApplicationProtocol.Error()
}

// reject closes the connection of a failed handshake so that the peer learns
// the reason: from TLS's alert, or from ClearTextReply. A peer that does not
// speak TLS gets a reset, because it may take its bytes for received.
func (h *Handshaker) reject(r *recordBuffer, kind error) {
	defer r.Close()
	if kind == nil || kind == ErrNoHandshake {
		return
	}
	if kind == ErrClearText || kind == ErrNotTLS {
		defer sock.Reset(r.Conn)
	}
	_ = r.SetDeadline(time.Now().Add(closeTimeout))
	switch kind {
	case ErrClearText:
		_, _ = io.WriteString(r.Conn, h.ClearTextReply)
		// A reset makes many clients drop a reply that they have not read yet.
		defer time.Sleep(closeTimeout / 3)
	case ErrNotTLS:
		return
	default:
		// Closing with unread bytes is a reset too, which would drop the alert.
		_ = sock.HalfClose(r.Conn)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Conn, 16<<20))
}
