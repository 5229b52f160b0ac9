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

	"purr/internal/sock"
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
	writing  sync.Mutex  // held by Write
	finished atomic.Bool // whether the peer has said that nothing more will come
}

// farewellTime is how long a connection that ends before the peer has finished
// waits for it to do so, and how long a client that is turned away may take to
// read why.
const farewellTime = 300 * time.Millisecond

// NetConn returns the socket, as a tls.Conn does.
func (s *sealed) NetConn() net.Conn { return s.Conn }

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

// Write sends what it has encrypted before it returns.
func (s *sealed) Write(b []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.wire.hold()
	n, err := s.tls.Write(b)
	if flushed := s.wire.release(); err == nil {
		err = flushed
	}
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
	if sock.PeerClosed(s.Conn) {
		return sock.HalfClose(s.Conn)
	}
	if err := s.tls.CloseWrite(); err != nil && !s.finished.Load() {
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
		if s.tls.CloseWrite() == nil && sock.HalfClose(s.Conn) == nil {
			if n, _ := s.tls.Read(make([]byte, 1)); n > 0 {
				sock.Reset(s.Conn)
			}
		}
	}
	return s.tls.Close()
}
