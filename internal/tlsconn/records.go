package tlsconn

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A recordBuffer is the socket as crypto/tls sees it. TLS reads and writes
// single records of at most 16 KiB; the buffer moves several of them in a
// system call.
type recordBuffer struct {
	net.Conn
	heard atomic.Bool // whether bytes have been received
	clear bool        // whether the first one did not begin a TLS record

	offered []string // the protocols of the ClientHello, at the server

	ahead []byte // received and not yet read
	block []byte // that ahead is a part of; nil until a read has filled its buffer

	sent atomic.Int64 // bytes that the socket was given, or is given now

	mu     sync.Mutex
	corked bool   // whether Write collects records until uncork
	held   []byte // those records
	failed error  // of the first failed write, which may have sent a part of them
}

// blockSize is the most that is read or written at once: almost four full
// records.
const blockSize = 64 << 10

// Content types of the first TLS record of a connection (RFC 8446, section
// 5.1).
const (
	recordAlert     = 21
	recordHandshake = 22
)

// ErrCut is the read error of a connection that ended without close_notify. It
// wraps io.ErrUnexpectedEOF.
var ErrCut error = cutError{}

type cutError struct{}

// Error describes the missing close_notify.
func (cutError) Error() string {
	return "the connection was cut: it ended without the mark of an orderly end"
}

// Unwrap returns io.ErrUnexpectedEOF.
func (cutError) Unwrap() error { return io.ErrUnexpectedEOF }

var errClear = errors.New("not a TLS record")

// Read is for crypto/tls, which asks for one header or record at a time. Once a
// read has filled b, Read asks the socket for up to blockSize bytes and returns
// those that b has no room for in the next calls, without a system call.
//
// It fails at once if the first byte of the connection does not begin a TLS
// record, so that a peer is detected which sends less than a header. It turns
// io.EOF into ErrCut, because TLS returns io.EOF also if the connection ends
// between two records.
func (r *recordBuffer) Read(b []byte) (n int, err error) {
	switch {
	case len(r.ahead) > 0:
		n = copy(b, r.ahead)
		r.ahead = r.ahead[n:]
		return n, nil
	case r.block != nil && len(b) < len(r.block):
		var got int
		got, err = r.Conn.Read(r.block)
		n = copy(b, r.block[:got])
		r.ahead = r.block[n:got]
	default:
		n, err = r.Conn.Read(b)
		if n == len(b) && r.heard.Load() && r.block == nil {
			r.block = make([]byte, blockSize) // a connection that carries little needs none
		}
	}
	if n > 0 && !r.heard.Swap(true) && b[0] != recordHandshake && b[0] != recordAlert {
		r.clear = true
		err = errClear
	}
	if n == 0 && err == io.EOF {
		err = ErrCut
	}
	return n, err
}

// cork makes Write collect records, up to a block, until uncork.
func (r *recordBuffer) cork() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.corked = true
}

// uncork sends the collected records; from then on each is sent at once.
func (r *recordBuffer) uncork() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.corked = false
	return r.flush()
}

// Write sends one record or, between cork and uncork, collects records up to a
// block. After a failed write it sends nothing more and returns that error.
func (r *recordBuffer) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = append(r.held, b...)
	if r.corked && len(r.held) < blockSize {
		return len(b), r.failed
	}
	return len(b), r.flush()
}

// flush sends the collected records. It returns the error of the first write
// that has failed, after which they are dropped. The caller holds mu.
func (r *recordBuffer) flush() error {
	if r.failed == nil && len(r.held) > 0 {
		r.sent.Add(int64(len(r.held)))
		var n int
		n, r.failed = r.Conn.Write(r.held)
		r.sent.Add(int64(n - len(r.held)))
	}
	r.held = r.held[:0]
	return r.failed
}

// SetWriteDeadline does nothing: crypto/tls would give close_notify five
// seconds, and a peer that reads slowly is no failure. Conn sets its deadlines
// on the socket.
func (r *recordBuffer) SetWriteDeadline(time.Time) error { return nil }
