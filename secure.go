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

	"purr/internal/sock"
	"purr/internal/sys"
	"purr/internal/tlsconn"
)

// This file encrypts connections if there is a key or --ssl, and words their
// failures.

// An encryption is the part of a run that encrypts connections, if there is a
// key or --ssl.
type encryption struct {
	keyConfig
	ssl      sslConfig
	server   bool                  // whether this end listens
	class    tlsconn.Class         // of its connections
	timeout  time.Duration         // of a handshake; 0: tlsconn's own
	otherEnd func(port int) string // the command line of the other end
	log      *logger
	onAccept func(context.Context, net.Conn) // before the handshake with a client
	pending  int                             // handshakes with clients at once

	typed  *tlsconn.Key // as read from stdin
	once   sync.Once    // for shaker and err
	shaker *tlsconn.Handshaker
	err    error

	unchecked sync.Once // for the warning of --ssl-insecure
}

// encrypts reports whether connections are encrypted, by a key or --ssl.
func (e *encryption) encrypts() bool { return e.on || e.ssl.on }

// unlike returns, for a message, what an end does that is not of class c.
func unlike(c tlsconn.Class) string {
	if c == tlsconn.Files {
		return "it pipes where we push or pull"
	}
	return "it pushes or pulls where we pipe"
}

// handshakes returns how many clients may be in their handshake at once: few
// enough to leave most descriptors to those with the key.
func handshakes() int {
	if n := sys.DescriptorLimit(); n > 0 {
		return max(1, min(64, n/4))
	}
	return 64
}

// handshaker returns the Handshaker of the run, which the first call makes.
func (e *encryption) handshaker() (*tlsconn.Handshaker, error) {
	e.once.Do(func() {
		if e.ssl.on {
			e.shaker = e.newShaker()
			return
		}
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
			Config: config, Server: e.server, Timeout: e.timeout, OnAccept: e.onAccept, Pending: e.pending,
			ClearTextReply: "purr: this port expects an encrypted purr\n",
		}
	})
	return e.shaker, e.err
}

// secure does the handshake and returns c encrypted, or c itself without a key
// and --ssl. The caller closes the result; on failure c has been closed. The
// error of a handshake has the text and status of handshakeError.
func (e *encryption) secure(ctx context.Context, c net.Conn) (net.Conn, error) {
	if !e.encrypts() {
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
	return e.opened(s), nil
}

// opened logs a connection whose handshake is done, and returns it; with a key
// and the class Stream as a BytesConn, which confirms what it has taken.
func (e *encryption) opened(s *tlsconn.Conn) net.Conn {
	if e.ssl.on {
		e.logTLS(s)
		return s
	}
	state := s.ConnectionState()
	e.log.verbosef("%s: encrypted, and the other end holds our key (TLS 1.3, %v, %s)", connName(s), state.CurveID, tls.CipherSuiteName(state.CipherSuite))
	if e.class == tlsconn.Stream {
		return tlsconn.NewBytesConn(s)
	}
	return s
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
	if e.class == tlsconn.Files { // cut before the first answer
		status = statusUnknown
	}
	certStatus, certText := e.failure(failed)
	switch {
	case certText != "":
		status, text = certStatus, certText
	case failed.Kind == tlsconn.ErrWrongKey:
		status = statusAuth
	case failed.Kind == tlsconn.ErrOtherProtocol:
		status, text = statusNotPurr, "the other end is another version of purr, or "+unlike(e.class)
	case failed.Kind == tlsconn.ErrClearText:
		status, text = statusNotPurr, text+" and we hold a key: nothing of it was taken"
	case failed.Kind == tlsconn.ErrNotTLS && cut:
		status, text = cmp.Or(status, statusNotPurr), failed.Kind.Error()+": it closed the connection, and no payload was sent to it"
	case failed.Kind == tlsconn.ErrNotTLS && late:
		status, text = statusNotPurr, fmt.Sprintf("no answer within %v: the other end does not speak TLS, or is busy; no payload was sent to it", timeout)
	case failed.Kind == tlsconn.ErrNotTLS:
		status, text = statusNotPurr, text+": no payload was sent to it; is its purr without a key?"
	case late:
		text = fmt.Sprintf("not done within %v", timeout)
	case cut:
		text = "the other end closed the connection"
	case failed.Kind == nil:
		text = sys.Cause(failed.Err).Error()
	}
	err = fmt.Errorf("handshake with %s: %s", connName(c), text)
	if status != statusOK {
		err = statusError{status, err}
	}
	return err
}

// secured returns a handler that encrypts a dialled connection and calls h with
// it; h itself without a key and --ssl. A failed handshake is logged as the end
// of the connection.
func (e *encryption) secured(h handler) handler {
	if !e.encrypts() {
		return h
	}
	return func(ctx context.Context, c net.Conn) error {
		begun := time.Now()
		s, err := e.secure(ctx, c)
		if err != nil {
			e.log.logDisconnect(connStats{peer: connName(c), reason: "failed", moved: "nothing moved", begun: begun})
			return err
		}
		defer s.Close()
		return e.refusedLater(s, h(ctx, s))
	}
}

// clients returns a listener of the clients of ln whose handshake succeeds, or
// ln itself without a key and --ssl. A failed handshake is only logged.
func (e *encryption) clients(ctx context.Context, ln net.Listener) (net.Listener, error) {
	if !e.encrypts() {
		return ln, nil
	}
	h, err := e.handshaker()
	if err != nil {
		return nil, err
	}
	proven := h.Listener(ctx, ln, func(c net.Conn, err error) {
		if errors.Is(err, tlsconn.ErrNoHandshake) {
			e.log.verbosef("handshake with %s: %v", connName(c), err)
		} else {
			e.log.fail(e.handshakeError(c, err))
		}
	})
	return sock.Acceptor{Listener: proven, Next: func() (net.Conn, error) {
		c, err := proven.Accept()
		if err != nil {
			return nil, err
		}
		return e.opened(c.(*tlsconn.Conn)), nil
	}}, nil
}

// takenTimeout is how long the peer may take to report what it has taken, where
// this end ends a conversation and -w has no other limit.
const takenTimeout = 10 * time.Second

// takenLimit returns how long settle may wait, 0 for no limit: as -w allows, or
// without -w takenTimeout if early: this end has finished before the peer.
func (c *conversation) takenLimit(early bool) time.Duration {
	if c.t.idleTimeout == 0 && early {
		return takenTimeout
	}
	return c.t.idleTimeout
}

// settle ends a conversation in which nothing has failed. With a key it reports
// to the peer that all received bytes were taken, half-closes, and waits for
// the peer's report about those sent: at most limit, 0 for no limit. Without a
// key it does nothing.
func (c *conversation) settle(ctx context.Context, conn net.Conn, limit time.Duration) error {
	s, ok := conn.(*tlsconn.BytesConn)
	if !ok {
		return nil
	}
	begun, until := time.Now(), time.Time{}
	if limit > 0 {
		until = begun.Add(limit)
	}
	_ = s.SetDeadline(until)
	// A peer that does not get these fails by itself.
	reportTaken(s, c.received.bytes.Load())
	_ = s.CloseWrite()
	err := s.AwaitTaken(func() error {
		if limit > 0 && time.Since(begun) >= limit {
			return idleError{fmt.Errorf("no more is known after %v", limit)}
		}
		return context.Cause(ctx)
	})
	if err == nil || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("send to %s: %w", c.peer, err)
}

// reportTaken reports to the peer of an encrypted connection that all of the n
// bytes that were received are where they belong.
func reportTaken(conn net.Conn, n int64) {
	if s, ok := conn.(*tlsconn.BytesConn); ok {
		_ = s.Taken(n)
	}
}

// settle sets failed unless the peer reports that it has taken all sent bytes.
// To an earlier error of the connection it adds how many were taken. Without a
// key, and after a signal or a failure of stdin or stdout, it does nothing.
func (v *supervisor) settle(ctx context.Context) {
	s, encrypted := v.conn.(*tlsconn.BytesConn)
	switch {
	case ctx.Err() != nil || v.localFailed || !encrypted:
	case v.failed == nil:
		v.failed = v.conversation.settle(ctx, v.conn, v.takenLimit(v.done && !v.t.sendOnly))
	case s.Untaken() != nil:
		v.failed = fmt.Errorf("%w; %v", v.failed, s.Untaken())
	}
}
