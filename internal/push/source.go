package push

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"purr/internal/sys"
)

// A source reads one connection's lines and blocks.
type source struct {
	*bufio.Reader
	conn    net.Conn
	silence time.Duration // the longest time for one read
	until   time.Time     // a deadline instead, during the hello
	left    int           // bytes that may still be read during the hello
	replay  []byte        // read by the HTTP server, and to be read again
	first   []byte        // up to 16 bytes: the peer's first, by which it is recognised
	end     error         // of the connection, during the hello; nil: none was met
	stopped atomic.Bool   // nothing more is read
}

// sourceBuffer holds many lines, but little of a block: the rest of one goes
// from the socket to where it is hashed.
const sourceBuffer = 32 << 10

// newSource returns a source of conn. silence is the longest wait for one read,
// after which the peer counts as lost.
func newSource(conn net.Conn, silence time.Duration) *source {
	s := &source{conn: conn, silence: silence}
	s.Reader = bufio.NewReaderSize(socket{s}, sourceBuffer)
	return s
}

// A socket is the connection under a source's buffer.
type socket struct{ of *source }

// Read sets a deadline at its beginning, so that a stall of this end does not
// count as silence of the peer. When the deadline expires, it reads once more,
// for lastLook: a process that was stopped may find the deadline expired and
// input waiting. Between limit and unlimit it keeps to their bounds instead.
func (r socket) Read(b []byte) (int, error) {
	s := r.of
	if len(s.replay) > 0 {
		n := copy(b, s.replay)
		s.replay = s.replay[n:]
		return n, nil
	}
	if !s.until.IsZero() {
		if s.left == 0 {
			return 0, errTooLong
		}
		b = b[:min(len(b), s.left)]
		_ = s.conn.SetReadDeadline(s.until)
	} else {
		_ = s.conn.SetReadDeadline(time.Now().Add(s.silence))
	}
	if s.stopped.Load() { // after the deadline was set, so that stop is not missed
		return 0, net.ErrClosed
	}
	n, err := s.conn.Read(b)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && s.until.IsZero() && !s.stopped.Load() {
		_ = s.conn.SetReadDeadline(time.Now().Add(lastLook))
		n, err = s.conn.Read(b)
	}
	if !s.until.IsZero() {
		s.left -= n
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			s.end = err
		}
		s.first = append(s.first, b[:min(n, cap(s.first)-len(s.first), 16-min(16, len(s.first)))]...)
	}
	return n, err
}

const lastLook = 20 * time.Millisecond

var errTooLong = errors.New("an answer without an end")

// helloHead is the most, in bytes, of the answer to a hello.
const helloHead = 64 << 10

// limit bounds all reads until unlimit together: to the duration limit from now
// on, and to helloHead bytes. It also begins to record the peer's first bytes
// for notPurr.
func (s *source) limit(limit time.Duration) {
	s.until, s.left, s.first = time.Now().Add(limit), helloHead, make([]byte, 0, 16)
}

// unlimit ends the bounds of limit: from now on each read has the time silence.
func (s *source) unlimit() { s.until = time.Time{} }

// stop ends a read under way, and all later ones.
func (s *source) stop() {
	s.stopped.Store(true)
	_ = s.conn.SetReadDeadline(time.Unix(1, 0))
}

// next returns the next message, and skips keep-alives. The error is an *Error
// for an invalid line, io.EOF if the peer has ended its output behind a line,
// and else that of the connection.
func (s *source) next() (*message, error) {
	for {
		line, err := s.line()
		if err != nil {
			return nil, err
		}
		if len(line) > 0 {
			return decode(line)
		}
	}
}

// line returns the next line without its newline, valid until the next read.
func (s *source) line() ([]byte, error) {
	line, err := s.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		long := append([]byte(nil), line...)
		for err == bufio.ErrBufferFull && len(long) <= maxLine {
			line, err = s.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	switch {
	case len(line) > maxLine || err == bufio.ErrBufferFull:
		return nil, errorf(Violation, "a line without an end")
	case err == io.EOF && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return line[:len(line)-1], nil
}

// cut returns an Error of the kind Cut for err, with which reading a connection
// has ended. as is the role of this end, silence the time after which a read
// expires.
func cut(err error, as Role, silence time.Duration) *Error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && as == Sender:
		return &Error{Kind: Cut, Text: fmt.Sprintf("lost contact for %v", silence)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Kind: Cut, Text: fmt.Sprintf("nothing heard for %v", silence)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), sys.IsReset(err):
		// A killed process leaves either.
		return &Error{Kind: Cut, Text: "the other end closed the connection"}
	}
	return &Error{Kind: Cut, Text: sys.Cause(err).Error(), cause: err}
}
