package main

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"time"

	"purr/internal/sock"
	"purr/internal/sys"
)

// This file makes a connection an encrypted one: TLS 1.3 in which both ends
// prove that they hold the shared key. Each derives from it the same two
// Ed25519 identities, the listener's and the dialer's, shows its own and
// accepts only the other. So there is nobody to certify anything, no name to
// check and no clock to be right; the session's own keys come from an
// ephemeral exchange, and who learns the shared key later cannot read what he
// recorded.

// handshakeTime is how long the other end may take to prove itself where
// --connect-timeout and -w do not say. It is a variable for the tests.
var handshakeTime = 10 * time.Second

// wireVersion is the protocol's name in TLS (ALPN, RFC 7301). Ends whose
// versions differ part in the handshake.
const wireVersion = "purr/1"

// A keyring is the key of a run, and what it became.
type keyring struct {
	typed  *sharedKey // as read from stdin
	once   sync.Once  // for config and err
	config *tls.Config
	err    error
}

var errOtherKey = errors.New("the other end does not hold our key")

// errNobody is the failure of a handshake with a client that came and went
// without a word: a port check, say.
var errNobody = errors.New("closed without a word")

// tlsConfig is what this end's handshakes need. It is made once, when the
// first one begins.
func (p *purr) tlsConfig() (*tls.Config, error) {
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
		r.config, r.err = secret.tlsConfig(p.cfg.listen)
	})
	return r.config, r.err
}

// tlsConfig derives both identities and returns the side of one of them.
func (k sharedKey) tlsConfig(listener bool) (*tls.Config, error) {
	own, other := "dialer", "listener"
	if listener {
		own, other = other, own
	}
	ours, err := k.identity(own)
	if err != nil {
		return nil, err
	}
	theirs, err := k.identity(other)
	if err != nil {
		return nil, err
	}
	// Only the key inside the certificate counts; the rest is what X.509 wants.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, ours.Public(), ours)
	if err != nil {
		return nil, err
	}
	expected := theirs.Public().(ed25519.PublicKey)
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: ours}},
		NextProtos:             []string{wireVersion},
		SessionTicketsDisabled: true,
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // no names and no authorities: VerifyConnection is the whole check
		VerifyConnection: func(state tls.ConnectionState) error {
			shown, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
			if !ok || subtle.ConstantTimeCompare(shown, expected) != 1 {
				return errOtherKey
			}
			return nil
		},
	}, nil
}

// identity derives the key pair of a role.
func (k sharedKey) identity(role string) (ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, k[:], nil, "purr/1 tls identity "+role, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// secure returns c encrypted, after both ends have proved that they hold the
// key, or c itself where there is no key. The caller closes what it returns;
// on failure c is closed. Until then no payload has been sent, and none is
// taken from anybody else. The error is a statusError where the other end is
// not the one we want.
func (p *purr) secure(ctx context.Context, c net.Conn) (net.Conn, error) {
	if !p.cfg.key.given() {
		return c, nil
	}
	s, err := p.shake(ctx, c)
	if err == nil && p.cfg.listen {
		err = s.confirm()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// shake does the handshake, within its time. For a dialer it includes the
// listener's confirmation; a listener gives that when it takes the client.
func (p *purr) shake(ctx context.Context, c net.Conn) (*sealed, error) {
	config, err := p.tlsConfig()
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("derive identities from the key: %w", err)
	}
	w := &wire{Conn: c}
	s := &sealed{Conn: c, wire: w}
	if p.cfg.listen {
		s.tls = tls.Server(w, config)
	} else {
		s.tls = tls.Client(w, config)
	}
	limit := handshakeTime
	if p.cfg.connectTimeout > 0 {
		limit = p.cfg.connectTimeout
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	err = s.tls.Handshake()
	if err == nil && !p.cfg.listen {
		err = s.awaitConfirmation()
	}
	if err != nil {
		err = p.handshakeError(ctx, w, limit, err)
		p.turnAway(w, err)
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	state := s.tls.ConnectionState()
	p.log.notef(1, "%s: encrypted, and the other end holds our key (TLS 1.3, %v, %s)", connName(c), state.CurveID, tls.CipherSuiteName(state.CipherSuite))
	return s, nil
}

// A dialer has done its part of TLS's handshake before the listener has
// checked it, so the listener's first byte is a confirmation: no payload is
// sent to, or counted as taken by, a listener that will not have us.
const confirmation = 1

func (s *sealed) confirm() error {
	if _, err := s.tls.Write([]byte{confirmation}); err != nil {
		_ = s.Conn.Close()
		return fmt.Errorf("handshake with %s: %w", connName(s.Conn), sys.Cause(err))
	}
	return nil
}

func (s *sealed) awaitConfirmation() error {
	var b [1]byte
	if _, err := io.ReadFull(s.tls, b[:]); err != nil {
		return err
	}
	if b[0] != confirmation {
		return fmt.Errorf("confirmation of another version: %d", b[0])
	}
	return nil
}

// handshakeError words a failed handshake and gives it its status.
func (p *purr) handshakeError(ctx context.Context, w *wire, limit time.Duration, err error) error {
	peer := connName(w.Conn)
	var remote *net.OpError
	late := errors.Is(err, os.ErrDeadlineExceeded)
	cut := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case w.plain && p.cfg.listen:
		return statusError{6, fmt.Errorf("handshake with %s: the other end sends clear text and we hold a key: nothing of it was taken", peer)}
	case w.plain:
		return statusError{6, fmt.Errorf("handshake with %s: the other end does not speak TLS: nothing was sent to it; is its purr without a key?", peer)}
	case !w.heard && p.cfg.listen && (cut || sys.IsReset(err)):
		return fmt.Errorf("handshake with %s: %w", peer, errNobody)
	case !w.heard && cut:
		return statusError{6, fmt.Errorf("handshake with %s: the other end does not speak TLS: it closed the connection, and nothing was sent to it", peer)}
	case !w.heard && late && !p.cfg.listen:
		return statusError{6, fmt.Errorf("handshake with %s: the other end does not speak TLS: no answer within %v, and nothing was sent to it", peer, limit)}
	case late:
		return fmt.Errorf("handshake with %s: not done within %v", peer, limit)
	case cut:
		return fmt.Errorf("handshake with %s: the other end closed the connection", peer)
	case errors.Is(err, errOtherKey), errors.As(err, &remote) && remote.Op == "remote error":
		return statusError{7, fmt.Errorf("handshake with %s: %w", peer, errOtherKey)}
	case sys.IsErrno(err):
		return fmt.Errorf("handshake with %s: %w", peer, sys.Cause(err))
	}
	return statusError{7, fmt.Errorf("handshake with %s: %w: %v", peer, errOtherKey, sys.Cause(err))}
}

// turnAway closes the connection of a failed handshake so that the other end
// learns why: by TLS's alert, by words if it speaks no TLS, and by a reset if
// it may take what it has sent for received.
func (p *purr) turnAway(w *wire, err error) {
	defer w.Close()
	var stated statusError
	if !errors.As(err, &stated) {
		return
	}
	if w.plain || !w.heard {
		defer sock.Reset(w.Conn)
	}
	_ = w.SetDeadline(time.Now().Add(farewellTime))
	switch {
	case w.plain && p.cfg.listen:
		_, _ = io.WriteString(w.Conn, "purr: this port expects an encrypted purr\n")
		// A reset right behind the words would overtake them in many a client.
		defer time.Sleep(farewellTime / 3)
	case w.plain || !w.heard:
		return
	default:
		// So would the reset that close becomes when something is unread.
		_ = sock.HalfClose(w.Conn)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(w.Conn, 16<<20))
}

// secured makes a handler one that sees only encrypted connections, if there
// is a key.
func (p *purr) secured(h handler) handler {
	if !p.cfg.key.given() {
		return h
	}
	return func(ctx context.Context, c net.Conn) error {
		begun := time.Now()
		s, err := p.secure(ctx, c)
		if err != nil {
			p.sayUnsecured(c, begun, err)
		}
		if errors.Is(err, errNobody) {
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

// sayUnsecured is the last line of a connection whose handshake has failed.
func (p *purr) sayUnsecured(c net.Conn, begun time.Time, err error) {
	how := "failed"
	if errors.Is(err, errNobody) {
		how = peerFinished
	}
	p.sayParting(parting{peer: connName(c), how: how, moved: "nothing moved", begun: begun})
}

// secure encrypts a client's connection, if there is a key, and reports whether
// the client may go on. One that does not hold the key is no client: it ends a
// listener without -k only if it has shown that it is somebody else.
func (w *web) secure(ctx context.Context, conn net.Conn) (net.Conn, bool) {
	begun := time.Now()
	secured, err := w.p.secure(ctx, conn)
	if err == nil {
		return secured, true
	}
	defer w.p.sayUnsecured(conn, begun, err)
	switch {
	case errors.Is(err, errNobody):
		w.p.log.notef(1, "%v", err)
	case errors.As(err, new(statusError)):
		w.finish(nil, err)
	case ctx.Err() == nil:
		w.p.log.fail(err)
	}
	return nil, false
}

// handshakesAtOnce is how many clients of one listener may be proving
// themselves; the next ones wait in the backlog.
const handshakesAtOnce = 64

// A keyListener hands out clients that hold our key. It listens to all who
// come at the same time, so that one who says nothing keeps nobody waiting.
type keyListener struct {
	net.Listener
	p        *purr
	rejected func(error)   // told of a client that is not the one we want: a statusError
	proven   chan *sealed  // handshake done, not confirmed yet
	ended    chan struct{} // closed when accepting has failed, with err
	err      error
	stop     context.CancelFunc // ends the handshakes under way
	shaking  sync.WaitGroup
}

// secureListener returns a listener of clients that hold our key, or ln itself
// where there is no key. Who does not is said, or told to rejected if he has
// shown that he is somebody else. Its Close closes ln.
func (p *purr) secureListener(ctx context.Context, ln net.Listener, rejected func(error)) net.Listener {
	if !p.cfg.key.given() {
		return ln
	}
	ctx, stop := context.WithCancel(ctx)
	l := &keyListener{Listener: ln, p: p, rejected: rejected, stop: stop, proven: make(chan *sealed), ended: make(chan struct{})}
	go l.run(ctx)
	return l
}

func (l *keyListener) run(ctx context.Context) {
	defer close(l.ended)
	slots := make(chan struct{}, handshakesAtOnce)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			l.err = context.Cause(ctx)
			return
		}
		c, err := l.p.listener.accept(ctx, l.Listener)
		if err != nil {
			l.shaking.Wait() // whoever came in time
			l.err = err
			return
		}
		l.shaking.Go(func() {
			defer func() { <-slots }()
			l.welcome(ctx, c)
		})
	}
}

// welcome does the handshake with one client, and waits until Accept takes it.
func (l *keyListener) welcome(ctx context.Context, c net.Conn) {
	l.p.listener.logAccept(ctx, c)
	s, err := l.p.shake(ctx, c)
	var stated statusError
	switch {
	case ctx.Err() != nil:
		_ = c.Close()
		return
	case errors.Is(err, errNobody):
		l.p.log.notef(1, "%v", err)
		return
	case errors.As(err, &stated):
		l.rejected(err)
		return
	case err != nil:
		l.p.log.fail(err)
		return
	}
	select {
	case l.proven <- s:
	case <-ctx.Done():
		_ = c.Close()
	}
}

// Accept waits for the next client that holds our key.
func (l *keyListener) Accept() (net.Conn, error) {
	for {
		select {
		case s := <-l.proven:
			if err := s.confirm(); err != nil {
				l.p.log.fail(err)
				continue
			}
			return s, nil
		case <-l.ended:
			return nil, l.err
		}
	}
}

// Close stops listening, and lets go whoever has not been accepted.
func (l *keyListener) Close() error {
	l.stop()
	return l.Listener.Close()
}
