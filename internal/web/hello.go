package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"purr/internal/push"
	"purr/internal/sock"
)

// welcome prepares a connection, and hands it to net/http if the client speaks
// HTTP. gone is called when the connection has ended.
func (s *Server) welcome(ctx context.Context, conn net.Conn, gone func()) {
	prepared, err := s.o.Prepare(ctx, conn)
	if prepared == nil {
		if err != nil {
			s.finish(nil, err)
		}
		gone()
		return
	}
	var c *client
	c = newClient(s, prepared, func() {
		if ctx.Err() != nil && context.Cause(ctx) != http.ErrServerClosed {
			c.ended(errInterrupted)
		}
		s.o.Events.Closed(c.Conn, c.ending())
		gone()
	})
	stop := context.AfterFunc(ctx, func() {
		if !c.upgraded.Load() { // package push ends its transfers by itself
			_ = c.Close()
		}
	})
	context.AfterFunc(c.ctx, func() { stop() })
	first, err := s.sniff(c)
	switch {
	case ctx.Err() != nil: // more may be coming
	case err != nil && first == "":
		s.o.Events.Silent(c.name)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// A netcat that waits must not take an orderly end for an empty file.
			s.reject(c, "400 Bad Request", s.notHTTP(), false)
		}
	case speaksHTTP(first) && !c.admit(first):
		s.reject(c, "503 Service Unavailable", full, true)
	case speaksHTTP(first):
		select {
		case s.conns <- c:
			return
		case <-ctx.Done():
		}
	default:
		s.rejectProtocol(c, first)
	}
	_ = c.Close()
}

// sniff reads up to 16 bytes of what a client sends first, which net/http reads
// again.
func (s *Server) sniff(c *client) (first string, err error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(s.o.HelloTimeout))
	defer c.Conn.SetReadDeadline(time.Time{})
	b := make([]byte, 16)
	n := 0
	for n < len(b) && isMethod(b[:n]) && err == nil {
		var got int
		got, err = c.Read(b[n:])
		n += got
	}
	c.replay = b[:n]
	return string(b[:n]), err
}

// isMethod reports whether b may be the beginning of a request's method, behind
// which a space follows (RFC 9112, section 3).
func isMethod(b []byte) bool {
	for _, c := range b {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

func speaksHTTP(first string) bool {
	method, rest, ok := strings.Cut(first, " ")
	return ok && len(method) >= 3 && isMethod([]byte(method)) && (rest == "" || rest[0] == '/' || rest[0] == '*' || rest[0] == 'h')
}

// admit reports whether there is room for a connection that begins like this.
// The head's first bytes were charged for by Read.
func (c *client) admit(first string) bool {
	if strings.HasPrefix(first, "PRI ") {
		c.answers.Store(true) // heads of HTTP/2 are in http2Memory
		return c.take(http2Memory)
	}
	return c.take(connMemory)
}

// rejectProtocol ends the connection of a client that does not speak HTTP.
func (s *Server) rejectProtocol(c *client, first string) {
	err := &ClientError{c.name, ErrNotHTTP}
	if strings.HasPrefix(first, "\x16\x03") { // a TLS handshake: RFC 8446, section 5.1
		err.Err = ErrTLS
	}
	s.reject(c, "400 Bad Request", s.notHTTP(), true)
	s.finish(c, err)
}

// rejectTime is how long a client may go on sending after it was rejected.
const rejectTime = time.Second

// notHTTP is the answer to a client that does not speak HTTP.
func (s *Server) notHTTP() string {
	if s.role == push.Sender {
		return "not a purr receiver, curl or browser: nothing is sent; at this end, for a plain netcat: purr -l PORT --send-file FILE"
	}
	return "not a purr sender, curl or browser: nothing was stored; at this end, for a plain netcat: purr -l PORT --recv-file FILE"
}

// reject answers in a way that netcat shows and a program understands, and
// resets the connection. A client that is sending gets a moment first: a reset
// behind unread bytes would overtake the answer, and an orderly end would look
// as if they had been received.
func (s *Server) reject(c *client, status, text string, sending bool) {
	_ = c.Conn.SetDeadline(time.Now().Add(s.o.HelloTimeout))
	_, _ = fmt.Fprintf(c.Conn, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n%s: %s\n", status, status, text)
	if sending {
		_ = sock.HalfClose(c.Conn)
		_ = c.Conn.SetReadDeadline(time.Now().Add(rejectTime))
		_, _ = io.Copy(io.Discard, c.Conn)
	}
	_ = c.awaitAck()
	sock.Reset(c.Conn)
	c.fail()
	_ = c.Close()
}
