//go:build unix

package sock

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// ReadSize is the most that one Next returns: 64 KiB, which is also the size
// that moves fastest through a loopback socket.
const ReadSize = 64 << 10

// readBuffers are kept, because a server with many short connections would
// collect garbage for most of its time.
var readBuffers = sync.Pool{New: func() any { return new([ReadSize]byte) }}

// A Reader reads from a connection. It takes a buffer once there is something
// to read and gives it back afterwards: 10,000 idle connections hold none. It
// is for one goroutine.
type Reader struct {
	// Waiting reports whether the last error of Next came from reading, not from
	// handle.
	Waiting bool

	// Max is the most that the next call of Next returns, unless the connection is
	// a wrapper; 0: ReadSize.
	Max int

	raw     syscall.RawConn
	buf     *[ReadSize]byte
	n       int
	err     error
	attempt func(fd uintptr) bool // readOnce, bound once: a closure per read would be an allocation
	wrapped *bufferedReader       // of a wrapped connection, whose bytes are not the socket's
}

// NewReader returns a Reader for c, a socket or a connection that wraps one. c
// stays the caller's to close.
func NewReader(c net.Conn) (*Reader, error) {
	if c != Under(c) {
		return &Reader{wrapped: newBufferedReader(c)}, nil
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	return NewRawReader(raw), nil
}

// NewRawReader returns a Reader for a socket by its raw connection.
func NewRawReader(raw syscall.RawConn) *Reader {
	r := &Reader{raw: raw}
	r.attempt = r.readOnce
	return r
}

// Next waits for bytes and calls handle with them, which must not keep them. It
// returns the number of bytes, and the error of the read or of handle; io.EOF
// when the peer has finished.
func (r *Reader) Next(handle func([]byte) error) (int, error) {
	if r.wrapped != nil {
		n, err := r.wrapped.Next(handle)
		r.Waiting = r.wrapped.Waiting
		return n, err
	}
	r.Waiting = true
	if err := r.raw.Read(r.attempt); err != nil {
		return 0, err
	}
	if r.err != nil {
		return 0, r.err
	}
	r.Waiting = false
	defer r.release()
	return r.n, handle(r.buf[:r.n])
}

// readOnce reads into a buffer of the pool and leaves the result in buf, n and
// err. If there is nothing to read it returns false, so that Go's poller calls
// it again when there is. Without bytes buf is nil.
func (r *Reader) readOnce(fd uintptr) bool {
	r.buf = readBuffers.Get().(*[ReadSize]byte)
	size := len(r.buf)
	if r.Max > 0 {
		size = min(size, r.Max)
	}
	for {
		r.n, r.err = syscall.Read(int(fd), r.buf[:size])
		if r.err != syscall.EINTR {
			break
		}
	}
	switch {
	case r.err == syscall.EAGAIN:
		r.release()
		return false
	case r.err != nil:
		r.release()
	case r.n == 0:
		r.release()
		r.err = io.EOF
	}
	return true
}

// release returns the buffer, if there is one, to the pool.
func (r *Reader) release() {
	if r.buf != nil {
		readBuffers.Put(r.buf)
		r.buf = nil
	}
}
