package tlsconn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"purr/internal/sock"
)

// A Conn is an encrypted connection after its handshake. Addresses and
// deadlines are the socket's, Read and Write are TLS's. Each direction ends on
// its own, with close_notify (RFC 8446, section 6.1). An end without it is
// ErrCut, because anyone on the path can forge a FIN.
type Conn struct {
	net.Conn // the socket
	tls      *tls.Conn
	records  *recordBuffer

	reading  sync.Mutex  // held by Read
	writing  sync.Mutex  // held by Write
	finished atomic.Bool // whether close_notify was received

	foreign   bool         // whether the other end is a TLS of any make
	delivered atomic.Bool  // whether CloseWrite has waited for the payload
	payload   atomic.Int64 // bytes on the socket in front of close_notify; 0 before that
}

// closeTimeout is the time for the peer to finish after Close, and for a
// rejected client to read the reason.
const closeTimeout = 300 * time.Millisecond

// NetConn returns the socket. Its bytes are TLS's.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// ConnectionState returns the parameters of the connection.
func (c *Conn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// ErrDamaged is the error of Read for a record that fails authentication: it
// was changed in transit, by accident or by an attacker.
var ErrDamaged = errors.New("the bytes were damaged or tampered with on the way")

// Read reads decrypted bytes. It returns io.EOF after close_notify, ErrCut if
// the connection ends without, and ErrDamaged for a record that was changed.
// Other errors are the socket's or an alert of the peer.
func (c *Conn) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n, err := c.tls.Read(b)
	if err == io.EOF {
		c.finished.Store(true)
	}
	return n, connError(err)
}

// Write encrypts b. The socket has taken all of it when Write returns.
func (c *Conn) Write(b []byte) (int, error) { return c.writeAll(b) }

// writeAll writes the pieces one after the other, with nothing of another Write
// between them and in few system calls. n counts the bytes of all pieces.
func (c *Conn) writeAll(pieces ...[]byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.records.cork()
	for _, b := range pieces {
		var wrote int
		wrote, err = c.tls.Write(b)
		if n += wrote; err != nil {
			break
		}
	}
	if flushed := c.records.uncork(); err == nil {
		err = flushed
	}
	return n, connError(err)
}

// connError returns the error of this package for one of crypto/tls after the
// handshake: ErrDamaged if this end has sent an alert, a *HandshakeError for an
// alert about our certificate. An error of the socket stays as it is.
func connError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		switch op.Op {
		case "local error":
			return fmt.Errorf("%w: %w", ErrDamaged, op.Err)
		case "remote error":
			if isCertAlert(op.Err) {
				return &HandshakeError{Kind: ErrOwnCert, Err: plainTLS(op.Err)}
			}
			return fmt.Errorf("the other end gave up: %w", op.Err)
		}
	}
	return err
}

// CloseWrite ends the sending direction with close_notify. It blocks until the
// socket takes that; Close and sock.Reset end the wait.
//
// Once the peer's FIN has arrived, it depends on the peer. A peer of this
// package has closed its socket: it would answer close_notify with a reset, as
// if payload had been lost, so it gets a FIN alone. A TLS of another make may
// have closed one direction only, and demands close_notify: it is sent after
// the payload is acknowledged, and Delivered is true from then on.
//
// A Unix socket shows the peer's end in the write only, see endError.
func (c *Conn) CloseWrite() error {
	if sock.PeerClosed(c.Conn) {
		if !c.foreign {
			return sock.HalfClose(c.Conn)
		}
		if err := sock.AwaitAck(c.Conn, func(int) error { return nil }); err != nil {
			return err
		}
		c.delivered.Store(true)
	}
	c.payload.CompareAndSwap(0, c.records.sent.Load())
	if err := c.tls.CloseWrite(); err != nil && !c.finished.Load() {
		return c.endError(err)
	}
	return nil
}

// endError returns the error of a failed write that was to end this end's
// direction. It is nil if the peer has closed its Unix socket after it had read
// everything: the end is not missed there, and Read returns what the peer sent
// last.
func (c *Conn) endError(err error) error {
	if _, unix := sock.Under(c.Conn).(*net.UnixConn); unix && errors.Is(err, syscall.EPIPE) {
		_, err = sock.Unacked(c.Conn)
	}
	return connError(err)
}

// Delivered reports whether a reset means nothing: CloseWrite has seen the
// whole payload acknowledged, or the connection is reset although the payload
// is acknowledged and both ends have sent close_notify. The latter is the end
// of a TLS of another make that closes its socket after its own close_notify
// while ours is on the way.
func (c *Conn) Delivered() bool {
	if c.delivered.Load() {
		return true
	}
	payload := c.payload.Load()
	return c.foreign && c.finished.Load() && payload > 0 && sock.Broken(c.Conn) &&
		c.records.sent.Load()-int64(sock.Unsent(c.Conn)) >= payload
}

// Close ends both directions and closes the socket. If the peer has not
// finished, its close_notify may be under way, and closing before it arrives
// would reset the connection: Close waits up to 300 ms for it. Payload that
// arrives instead is not taken, and the connection is reset. Close does not
// wait while a Read is under way.
func (c *Conn) Close() error {
	_ = c.Conn.SetDeadline(time.Now().Add(closeTimeout))
	if !c.finished.Load() && c.reading.TryLock() {
		defer c.reading.Unlock()
		if c.tls.CloseWrite() == nil && sock.HalfClose(c.Conn) == nil {
			if n, _ := c.tls.Read(make([]byte, 1)); n > 0 {
				sock.Reset(c.Conn)
			}
		}
	}
	return c.tls.Close()
}
