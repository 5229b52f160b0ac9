package main

import (
	"cmp"
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

// An encryption is the part of a run that encrypts connections, if there is a
// key.
type encryption struct {
	keyConfig
	server   bool                  // whether this end listens
	class    tlsconn.Class         // of its connections
	timeout  time.Duration         // of a handshake; 0: tlsconn's own
	otherEnd func(port int) string // the command line of the other end
	log      *logger
	onAccept func(context.Context, net.Conn) // before the handshake with a client
	stop     func(error)                     // ends the run

	typed  *tlsconn.Key // as read from stdin
	once   sync.Once    // for shaker and err
	shaker *tlsconn.Handshaker
	err    error
}

// unlike is what an end of the other class does.
var unlike = map[tlsconn.Class]string{tlsconn.Files: "it pipes where we push or pull", tlsconn.Stream: "it pushes or pulls where we pipe"}

// handshaker returns the Handshaker of the run.
func (e *encryption) handshaker() (*tlsconn.Handshaker, error) {
	e.once.Do(func() {
		secret := e.secret
		if e.file == "-" {
			if e.typed == nil {
				e.err = errors.New("the key was not read from stdin")
				return
			}
			secret = *e.typed
		}
		config, err := secret.Config(e.class, e.server)
		if err != nil {
			e.err = fmt.Errorf("derive identities from the key: %w", err)
			return
		}
		e.shaker = &tlsconn.Handshaker{
			Config: config, Server: e.server, Timeout: e.timeout, OnAccept: e.onAccept,
			ClearTextReply: "purr: this port expects an encrypted purr\n",
		}
	})
	return e.shaker, e.err
}

// secure returns c encrypted, or c itself without a key. The caller closes the
// result; on failure c has been closed. The error is a statusError if the peer
// is not the one that holds the key.
func (e *encryption) secure(ctx context.Context, c net.Conn) (net.Conn, error) {
	if !e.on {
		return c, nil
	}
	h, err := e.handshaker()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	s, err := h.Do(ctx, c)
	if err != nil {
		return nil, e.handshakeError(c, err)
	}
	e.logEncrypted(s)
	return s, nil
}

func (e *encryption) logEncrypted(s *tlsconn.Conn) {
	state := s.ConnectionState()
	e.log.verbosef("%s: encrypted, and the other end holds our key (TLS 1.3, %v, %s)", connName(s), state.CurveID, tls.CipherSuiteName(state.CipherSuite))
}

// handshakeError words a failed handshake on c and gives it its status. Other
// errors, such as a signal's, stay as they are.
func (e *encryption) handshakeError(c net.Conn, err error) error {
	var failed *tlsconn.HandshakeError
	if !errors.As(err, &failed) {
		return err
	}
	late, cut := errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF)
	timeout := cmp.Or(e.timeout, tlsconn.DefaultTimeout)
	status, text := statusOK, failed.Error()
	switch {
	case failed.Kind == tlsconn.ErrNoHandshake:
		return fmt.Errorf("handshake with %s: %w", connName(c), failed.Kind)
	case failed.Kind == tlsconn.ErrWrongKey:
		status = statusAuth
	case failed.Kind == tlsconn.ErrOtherProtocol:
		status, text = statusNotPurr, "the other end is another version of purr, or "+unlike[e.class]
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
func (e *encryption) secured(h handler) handler {
	if !e.on {
		return h
	}
	return func(ctx context.Context, c net.Conn) error {
		begun := time.Now()
		s, err := e.secure(ctx, c)
		if err != nil {
			e.logUnsecured(c, begun, err)
		}
		if errors.Is(err, tlsconn.ErrNoHandshake) {
			e.log.verbosef("%v", err)
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
func (e *encryption) logUnsecured(c net.Conn, begun time.Time, err error) {
	how := "failed"
	if errors.Is(err, tlsconn.ErrNoHandshake) {
		how = peerFinished
	}
	e.log.logDisconnect(connStats{peer: connName(c), reason: how, moved: "nothing moved", begun: begun})
}

// acceptSecure waits for the first client of ln that holds the key. A client
// that proves to be another ends the run.
func (e *encryption) acceptSecure(ctx context.Context, ln net.Listener, accept func(context.Context, net.Listener) (net.Conn, error)) (net.Conn, error) {
	h, err := e.handshaker()
	if err != nil {
		return nil, err
	}
	clients := h.Listener(ctx, acceptor{ln, func() (net.Conn, error) { return accept(ctx, ln) }}, func(c net.Conn, err error) {
		err = e.handshakeError(c, err)
		switch {
		case errors.Is(err, tlsconn.ErrNoHandshake):
			e.log.verbosef("%v", err)
		case errors.As(err, new(statusError)):
			e.stop(err)
		default:
			e.log.fail(err)
		}
	})
	defer clients.Close()
	c, err := clients.Accept()
	if err != nil {
		return nil, err
	}
	e.logEncrypted(c.(*tlsconn.Conn))
	return c, nil
}

// An acceptor is a listener with an Accept of its own.
type acceptor struct {
	net.Listener
	accept func() (net.Conn, error)
}

func (a acceptor) Accept() (net.Conn, error) { return a.accept() }
