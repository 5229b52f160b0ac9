package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// A wire is the socket as TLS sees it. TLS reads and writes record by record,
// at most 16 KiB; the wire makes fewer system calls of that.
type wire struct {
	net.Conn
	heard bool // whether anything has been read
	plain bool // whether the first byte was none of TLS's

	ahead []byte // read and not yet asked for
	block []byte // what ahead is a part of; nil until there is more to read than was asked for

	mu      sync.Mutex
	holding bool   // whether records are kept until release
	held    []byte // those records
	failed  error  // of the first write that failed: what was written of it is not known
}

// wireBlock is how much is read or written at once: four full records, or a
// little less.
const wireBlock = 64 << 10

// The types of a TLS record that a conversation may begin with: RFC 8446,
// section 5.1.
const (
	recordAlert     = 21
	recordHandshake = 22
)

// A cutError is an end that the peer has not said.
type cutError struct{}

func (cutError) Error() string {
	return "the connection was cut: it ended without the mark of an orderly end"
}
func (cutError) Unwrap() error { return io.ErrUnexpectedEOF }

var (
	errPlain       = errors.New("not TLS")
	errCut   error = cutError{}
)

// Read looks at the first byte, so that whoever does not speak TLS is noticed
// at once, also where he says less than a record's header. It makes the bare
// end of the connection an error: TLS would take it for an orderly one if it
// came between two records.
func (w *wire) Read(b []byte) (n int, err error) {
	switch {
	case len(w.ahead) > 0:
		n = copy(b, w.ahead)
		w.ahead = w.ahead[n:]
		return n, nil
	case w.block != nil && len(b) < len(w.block):
		var got int
		got, err = w.Conn.Read(w.block)
		n = copy(b, w.block[:got])
		w.ahead = w.block[n:got]
	default:
		n, err = w.Conn.Read(b)
		if n == len(b) && w.heard && w.block == nil {
			w.block = make([]byte, wireBlock) // a connection that says little needs none
		}
	}
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

// hold keeps records back, up to a block, until release.
func (w *wire) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding = true
}

// release writes what is held, and from then on each record at once.
func (w *wire) release() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding = false
	return w.flush()
}

// Write writes or holds one record. Nothing is written behind a write that
// failed.
func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, b...)
	if w.holding && len(w.held) < wireBlock {
		return len(b), w.failed
	}
	return len(b), w.flush()
}

func (w *wire) flush() error {
	if w.failed == nil && len(w.held) > 0 {
		_, w.failed = w.Conn.Write(w.held)
	}
	w.held = w.held[:0]
	return w.failed
}

// SetWriteDeadline does nothing: TLS would give its close_notify five seconds,
// and a peer that is slow to take what was sent before is no failure. The
// deadlines that purr wants are set on the socket.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
