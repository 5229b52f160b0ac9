package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"purr/internal/sys"
	"purr/internal/tlsconn"
)

// This file encrypts connections if there is a key, and words their failures.

// A keyring is the key of a run.
type keyring struct {
	typed      *tlsconn.Key // as read from stdin
	once       sync.Once    // for handshaker and err
	handshaker *tlsconn.Handshaker
	err        error
}

// handshaker returns the Handshaker of the run.
func (p *purr) handshaker() (*tlsconn.Handshaker, error) {
	r := &p.ring
	r.once.Do(func() {
		secret := p.cfg.key.secret
		if p.cfg.key.file == "-" {
			if r.typed == nil {
				r.err = errors.New("the key was not read from stdin")
				return
			}
			secret = *r.typed
		}
		config, err := secret.Config(p.cfg.listen)
		if err != nil {
			r.err = fmt.Errorf("derive identities from the key: %w", err)
			return
		}
		r.handshaker = &tlsconn.Handshaker{
			Config: config, Server: p.cfg.listen, Timeout: p.cfg.connectTimeout, OnAccept: p.listener.logAccept,
			ClearTextReply: "purr: this port expects an encrypted purr\n",
		}
	})
	return r.handshaker, r.err
}

// secure returns c encrypted, or c itself without a key. The caller closes the
// result; on failure c has been closed. The error is a statusError if the peer
// is not the one that holds the key.
func (p *purr) secure(ctx context.Context, c net.Conn) (net.Conn, error) {
	if !p.cfg.key.given() {
		return c, nil
	}
	h, err := p.handshaker()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	s, err := h.Do(ctx, c)
	if err != nil {
		return nil, handshakeError(c, h, err)
	}
	p.logEncrypted(s)
	return s, nil
}

func (p *purr) logEncrypted(s *tlsconn.Conn) {
	state := s.ConnectionState()
	p.log.notef(1, "%s: encrypted, and the other end holds our key (TLS 1.3, %v, %s)", connName(s), state.CurveID, tls.CipherSuiteName(state.CipherSuite))
}

// handshakeError words a failed handshake on c and gives it its status. Other
// errors, such as a signal's, stay as they are.
func handshakeError(c net.Conn, h *tlsconn.Handshaker, err error) error {
	var failed *tlsconn.HandshakeError
	if !errors.As(err, &failed) {
		return err
	}
	late, cut := errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF)
	timeout := h.Timeout
	if timeout == 0 {
		timeout = tlsconn.DefaultTimeout
	}
	status, text := statusOK, failed.Error()
	switch {
	case failed.Kind == tlsconn.ErrNoHandshake:
		return fmt.Errorf("handshake with %s: %w", connName(c), failed.Kind)
	case failed.Kind == tlsconn.ErrWrongKey:
		status = statusAuth
	case failed.Kind == tlsconn.ErrClearText:
		status, text = statusNotPurr, text+" and we hold a key: nothing of it was taken"
	case failed.Kind == tlsconn.ErrNotTLS && cut:
		status, text = statusNotPurr, failed.Kind.Error()+": it closed the connection, and nothing was sent to it"
	case failed.Kind == tlsconn.ErrNotTLS && late:
		status, text = statusNotPurr, fmt.Sprintf("%v: no answer within %v, and nothing was sent to it", failed.Kind, timeout)
	case failed.Kind == tlsconn.ErrNotTLS:
		status, text = statusNotPurr, text+": nothing was sent to it; is its purr without a key?"
	case late:
		text = fmt.Sprintf("not done within %v", timeout)
	case cut:
		text = "the other end closed the connection"
	default:
		text = sys.Cause(failed.Err).Error()
	}
	err = fmt.Errorf("handshake with %s: %s", connName(c), text)
	if status != statusOK {
		err = statusError{status, err}
	}
	return err
}

// secured returns a handler that encrypts each connection for h, or h itself
// without a key.
func (p *purr) secured(h handler) handler {
	if !p.cfg.key.given() {
		return h
	}
	return func(ctx context.Context, c net.Conn) error {
		begun := time.Now()
		s, err := p.secure(ctx, c)
		if err != nil {
			p.logUnsecured(c, begun, err)
		}
		if errors.Is(err, tlsconn.ErrNoHandshake) {
			p.log.notef(1, "%v", err)
			return nil
		}
		if err != nil {
			return err
		}
		defer s.Close()
		return h(ctx, s)
	}
}

// logUnsecured prints the last line of a connection whose handshake has failed.
func (p *purr) logUnsecured(c net.Conn, begun time.Time, err error) {
	how := "failed"
	if errors.Is(err, tlsconn.ErrNoHandshake) {
		how = peerFinished
	}
	p.log.logDisconnect(connStats{peer: connName(c), reason: how, moved: "nothing moved", begun: begun})
}

// acceptSecure waits for the first client of ln that holds the key. A client
// that proves to be another ends the run.
func (p *purr) acceptSecure(ctx context.Context, ln net.Listener) (net.Conn, error) {
	h, err := p.handshaker()
	if err != nil {
		return nil, err
	}
	clients := h.Listener(ctx, acceptor{ln, func() (net.Conn, error) { return p.listener.accept(ctx, ln) }}, func(c net.Conn, err error) {
		err = handshakeError(c, h, err)
		switch {
		case errors.Is(err, tlsconn.ErrNoHandshake):
			p.log.notef(1, "%v", err)
		case errors.As(err, new(statusError)):
			p.stop(err)
		default:
			p.log.fail(err)
		}
	})
	defer clients.Close()
	c, err := clients.Accept()
	if err != nil {
		return nil, err
	}
	p.logEncrypted(c.(*tlsconn.Conn))
	return c, nil
}

// An acceptor is a listener with an Accept of its own.
type acceptor struct {
	net.Listener
	accept func() (net.Conn, error)
}

func (a acceptor) Accept() (net.Conn, error) { return a.accept() }
