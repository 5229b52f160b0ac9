//go:build unix

package sock

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// echoBuffer is the most that one reply holds: 64 KiB, which is also the size
// that moves fastest through a loopback socket.
const echoBuffer = 64 << 10

var echoBuffers = sync.Pool{New: func() any { return new([echoBuffer]byte) }}

// A Reader reads from a connection into a buffer that it only takes once
// there is something to read: 10,000 idle clients share no buffer at all.
type Reader struct {
	raw     syscall.RawConn
	buf     *[echoBuffer]byte
	n       int
	err     error
	attempt func(fd uintptr) bool // readOnce, bound once: a closure per read would be an allocation
	sealed  *connReader           // of an encrypted connection: its bytes are not the socket's
	Waiting bool                  // whether the last error came from reading, not from use
}

// NewReader reads from c, which must be a socket or an encrypted one.
func NewReader(c net.Conn) (*Reader, error) {
	if c != Under(c) {
		return &Reader{sealed: newConnReader(c)}, nil
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &Reader{raw: raw}
	r.attempt = r.readOnce
	return r, nil
}

// Next waits for bytes and hands them to use, which must not keep them. It
// returns how many there were; io.EOF when the peer finished.
func (r *Reader) Next(use func([]byte) error) (int, error) {
	if r.sealed != nil {
		n, err := r.sealed.Next(use)
		r.Waiting = r.sealed.Waiting
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
	return r.n, use(r.buf[:r.n])
}

// readOnce takes a buffer, tries to fill it, and gives it back if there was
// nothing; false asks the poller to call again when there is something.
func (r *Reader) readOnce(fd uintptr) bool {
	r.buf = echoBuffers.Get().(*[echoBuffer]byte)
	for {
		r.n, r.err = syscall.Read(int(fd), r.buf[:])
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

func (r *Reader) release() {
	if r.buf != nil {
		echoBuffers.Put(r.buf)
		r.buf = nil
	}
}
