package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A sealed connection is an encrypted one after its handshake. It is the
// socket for everything that is about the socket (addresses, deadlines) and
// TLS for everything that is about bytes. Its directions end on their own, by
// TLS's close_notify; an end without it is an error, because anybody on the way
// can make one.
type sealed struct {
	net.Conn // the socket
	tls      *tls.Conn
	wire     *wire

	reading  sync.Mutex  // held by Read
	finished atomic.Bool // whether the peer has said that nothing more will come
}

// farewellTime is how long a connection that ends before the peer has finished
// waits for it to do so, and how long a client that is turned away may take to
// read why.
const farewellTime = 300 * time.Millisecond

// socketOf is the socket under an encrypted connection, or c itself.
func socketOf(c net.Conn) net.Conn {
	if s, ok := c.(*sealed); ok {
		return s.Conn
	}
	return c
}

var errCut = fmt.Errorf("the connection was cut: it ended without the mark of an orderly end: %w", io.ErrUnexpectedEOF)

// A damageError says that bytes were changed on the way: by accident, or by
// somebody.
type damageError struct{ error }

func (e damageError) Error() string {
	return "the bytes were damaged or tampered with on the way: " + e.error.Error()
}
func (e damageError) Unwrap() error { return e.error }

// Read returns io.EOF only if the peer has finished in order.
func (s *sealed) Read(b []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	n, err := s.tls.Read(b)
	if err == io.EOF {
		s.finished.Store(true)
	}
	return n, sealedError(err)
}

func (s *sealed) Write(b []byte) (int, error) {
	n, err := s.tls.Write(b)
	return n, sealedError(err)
}

// sealedError words what TLS says of a connection after the handshake.
func sealedError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		switch op.Op {
		case "local error":
			return damageError{op.Err}
		case "remote error":
			return fmt.Errorf("the other end gave up: %w", op.Err)
		}
	}
	return err
}

// CloseWrite tells the peer that nothing more will come. It waits until there
// is room for that; abort and Close end the wait.
//
// A peer that has closed its socket is told by a FIN: bytes, even those of
// close_notify, would be answered by a reset, as if something had been lost.
func (s *sealed) CloseWrite() error {
	finished := s.finished.Load()
	if finished && peerClosed(s.Conn) {
		return halfClose(s.Conn)
	}
	if err := s.tls.CloseWrite(); err != nil && !finished {
		return sealedError(err)
	}
	return nil
}

// Close ends both directions in order and closes the socket. If the peer has
// not finished, its own end may be on the way to us; to close in its face would
// reset the connection, so there is a moment for it to arrive. Payload that
// arrives in its place is not taken, and the reset says so.
func (s *sealed) Close() error {
	_ = s.Conn.SetDeadline(time.Now().Add(farewellTime))
	if !s.finished.Load() && s.reading.TryLock() {
		defer s.reading.Unlock()
		if s.tls.CloseWrite() == nil && halfClose(s.Conn) == nil {
			if n, _ := s.tls.Read(make([]byte, 1)); n > 0 {
				abort(s.Conn)
			}
		}
	}
	return s.tls.Close()
}

// A wire is the socket as TLS sees it.
type wire struct {
	net.Conn
	heard bool // whether anything has been read
	plain bool // whether the first byte was none of TLS's
}

// The types of a TLS record that a conversation may begin with: RFC 8446,
// section 5.1.
const (
	recordAlert     = 21
	recordHandshake = 22
)

var errPlain = errors.New("not TLS")

// Read looks at the first byte, so that whoever does not speak TLS is noticed
// at once, also where he says less than a record's header. It makes the bare
// end of the connection an error: TLS would take it for an orderly one if it
// came between two records.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if !w.heard && n > 0 && b[0] != recordHandshake && b[0] != recordAlert {
		w.plain = true
		err = errPlain
	}
	w.heard = w.heard || n > 0
	if n == 0 && err == io.EOF {
		err = errCut
	}
	return n, err
}

// SetWriteDeadline does nothing: TLS would give its close_notify five seconds,
// and a peer that is slow to take what was sent before is no failure. The
// deadlines that purr wants are set on the socket.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
