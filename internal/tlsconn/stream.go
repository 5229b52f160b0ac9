package tlsconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"purr/internal/sock"
)

// A BytesConn is a connection of the class Stream. Inside TLS its bytes are in
// frames, so that a receiver can report how many it has taken after the sender
// has ended: close_notify would forbid that. An acknowledgement of TCP proves
// nothing, since anyone on the path can send it.
//
// A frame is a byte for its kind and seven for a number, in network byte order:
//
//	1  data: as many bytes follow
//	2  end: no more data follows, the half-close
//	3  taken: how many bytes the receiver has taken in all
//
// Behind its last frame each side sends close_notify.
type BytesConn struct {
	*Conn

	in     sync.Mutex // held while a frame is read, and by Read
	header [8]byte    // of the next frame
	have   int        // of header
	left   int64      // of the data frame that is being read

	out   sync.Mutex // held while a frame is written
	ended bool       // whether end was sent
	told  int64      // the number of the last taken

	sent      atomic.Int64 // bytes of data
	taken     atomic.Int64 // of them, as the peer has reported
	peerEnded atomic.Bool  // whether end was received
}

// NewBytesConn returns c with its bytes in frames. Both ends of a connection of
// the class Stream use it.
func NewBytesConn(c *Conn) *BytesConn { return &BytesConn{Conn: c} }

// Kinds of a frame.
const (
	frameData  = 1
	frameEnd   = 2
	frameTaken = 3
)

// ErrFrame is the read error for a frame that the protocol does not have.
var ErrFrame = errors.New("the other end breaks the protocol of the stream")

// Read reads bytes of data. It returns io.EOF after the peer's end, ErrCut if
// the connection ends before, ErrDamaged for a record that was changed, and
// ErrFrame for a frame that the protocol does not have. Other errors are those
// of Conn.Read.
func (c *BytesConn) Read(b []byte) (int, error) {
	c.in.Lock()
	defer c.in.Unlock()
	for c.left == 0 {
		if c.peerEnded.Load() {
			return 0, io.EOF
		}
		if err := c.next(); err != nil {
			return 0, cutIfEOF(err)
		}
	}
	n, err := c.Conn.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, cutIfEOF(err)
}

// cutIfEOF returns ErrCut for the io.EOF of a connection that has ended before
// its frames.
func cutIfEOF(err error) error {
	if err == io.EOF {
		return ErrCut
	}
	return err
}

// next reads the header of a frame and applies it to left, peerEnded or taken.
// After an error of reading, the next call continues with the part of the
// header that has come. The caller holds in.
func (c *BytesConn) next() error {
	for c.have < len(c.header) {
		n, err := c.Conn.Read(c.header[c.have:])
		c.have += n
		if err != nil {
			return err
		}
	}
	c.have = 0
	number := int64(binary.BigEndian.Uint64(c.header[:]) & (1<<56 - 1))
	switch kind := c.header[0]; {
	case kind == frameData && number > 0 && !c.peerEnded.Load():
		c.left = number
	case kind == frameEnd && number == 0 && !c.peerEnded.Load():
		c.peerEnded.Store(true)
	case kind == frameTaken && number > c.taken.Load() && number <= c.sent.Load():
		c.taken.Store(number)
	default:
		return ErrFrame
	}
	return nil
}

// frame returns the header of a frame.
func frame(kind byte, number int64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(number))
	b[0] = kind
	return b
}

// Write sends b as one frame of data. The socket has taken all of it when Write
// returns. After CloseWrite the error is net.ErrClosed.
func (c *BytesConn) Write(b []byte) (int, error) {
	c.out.Lock()
	defer c.out.Unlock()
	switch {
	case c.ended:
		return 0, net.ErrClosed
	case len(b) == 0:
		return 0, nil
	}
	c.sent.Add(int64(len(b))) // before the peer can report it
	n, err := c.Conn.writeAll(frame(frameData, int64(len(b))), b)
	return max(0, n-len(c.header)), err
}

// CloseWrite ends the sending direction with the frame end. It blocks until the
// socket takes that; Close and sock.Reset end the wait. A peer that has closed
// its socket is sent a FIN instead, or nothing, see Conn.CloseWrite.
func (c *BytesConn) CloseWrite() error {
	if sock.PeerClosed(c.Conn.Conn) {
		return sock.HalfClose(c.Conn.Conn)
	}
	c.out.Lock()
	defer c.out.Unlock()
	if c.ended {
		return nil
	}
	c.ended = true
	if _, err := c.Conn.Write(frame(frameEnd, 0)); err != nil && !c.peerEnded.Load() {
		return c.endError(err)
	}
	return nil
}

// Taken reports to the peer that the first n bytes that Read has returned have
// reached their destination. It does nothing if that was reported before, or if
// the peer has closed its socket.
func (c *BytesConn) Taken(n int64) error {
	c.out.Lock()
	defer c.out.Unlock()
	if n <= c.told || sock.PeerClosed(c.Conn.Conn) {
		return nil
	}
	c.told = n
	_, err := c.Conn.Write(frame(frameTaken, n))
	return err
}

// A TakenError is the error of AwaitTaken: the peer has not reported that it
// has taken all bytes.
type TakenError struct {
	Taken, Sent int64 // bytes
	// Err is how the wait ended; nil: by the peer, in order.
	Err error
}

// Error returns the numbers and the cause.
func (e *TakenError) Error() string {
	text := fmt.Sprintf("%d of %d taken", e.Taken, e.Sent)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause; nil if the peer has closed in order.
func (e *TakenError) Unwrap() error { return e.Err }

// Untaken returns the error of AwaitTaken as of now, without a cause; nil if
// the peer has reported that it has taken all bytes.
func (c *BytesConn) Untaken() error {
	if sent, taken := c.sent.Load(), c.taken.Load(); taken < sent {
		return &TakenError{Taken: taken, Sent: sent}
	}
	return nil
}

// takenPause is the most time between two calls of AwaitTaken's gaveUp.
const takenPause = 20 * time.Millisecond

// AwaitTaken waits until the peer has reported that it has taken all bytes that
// were sent, and returns a *TakenError if it does not. It reads the connection
// unless a Read is under way, and drops data that comes. gaveUp is called at
// least every 20 ms; its error ends the wait.
func (c *BytesConn) AwaitTaken(gaveUp func() error) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, takenPause) {
		sent, taken := c.sent.Load(), c.taken.Load()
		if taken == sent {
			return nil
		}
		err := gaveUp()
		if err == nil && c.in.TryLock() {
			err = c.awaitFrame(takenPause)
			c.in.Unlock()
		} else if err == nil {
			time.Sleep(pause)
		}
		switch {
		case err == io.EOF && c.peerEnded.Load() && c.taken.Load() > 0:
			err = nil
		case err == nil:
			continue
		}
		if taken = c.taken.Load(); taken == sent {
			return nil
		}
		return &TakenError{Taken: taken, Sent: sent, Err: cutIfEOF(err)}
	}
}

// awaitFrame reads the header of a frame or, inside a frame of data, drops the
// rest of it. It returns nil also if that is not complete within limit. The
// caller holds in.
func (c *BytesConn) awaitFrame(limit time.Duration) (err error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(limit))
	defer c.Conn.SetReadDeadline(time.Time{})
	if c.left > 0 {
		var n int64
		n, err = io.CopyN(io.Discard, c.Conn, c.left)
		c.left -= n
	} else {
		err = c.next()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// Close ends both directions and closes the socket. As Conn.Close does, it
// gives the peer up to 300 ms to finish, and resets the connection if data
// comes instead.
func (c *BytesConn) Close() error {
	_ = c.Conn.SetDeadline(time.Now().Add(closeTimeout))
	_ = c.CloseWrite()
	if c.in.TryLock() {
		defer c.in.Unlock()
		if c.left == 0 && c.tls.CloseWrite() == nil && sock.HalfClose(c.Conn.Conn) == nil {
			for c.left == 0 && c.next() == nil {
			}
		}
		if c.left > 0 {
			sock.Reset(c)
		}
	}
	return c.tls.Close()
}
