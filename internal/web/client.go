package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"purr/internal/push"
	"purr/internal/rate"
	"purr/internal/sock"
	"purr/internal/sys"
)

// A client is one connection. It records how the connection ends, which the
// errors of net/http do not show.
type client struct {
	net.Conn // as Prepare has returned it
	s        *Server
	name     string
	host     string          // the address without the port; of IPv6 its network
	ctx      context.Context // ends with the connection
	cancel   context.CancelFunc
	replay   []byte       // was read to recognise the protocol
	heard    atomic.Int64 // when something was last read, in Unix nanoseconds
	upgraded atomic.Bool  // package push owns the connection
	answers  atomic.Bool  // a request of HTTP/1 is served, so its head has been read
	onClose  func()       // called once

	mu       sync.Mutex
	err      error // the first of Read or Write, or errInterrupted
	requests int   // under way
	closed   bool
	memory   int64 // of the server's budget
	head     int64 // of it, for the head of a request
	broken   bool  // an upload was cut, or the client was rejected
	moved    bool  // a transfer of package push has ended, with moveErr
	moveErr  error
	unacked  error // nil if everything was acknowledged when the connection was closed

	closing sync.Once
	joining sync.Once
}

type clientKey struct{}

func clientOf(r *http.Request) *client { return r.Context().Value(clientKey{}).(*client) }

// newClient takes over a connection. onClose is called before it is closed.
func newClient(s *Server, conn net.Conn, onClose func()) *client {
	c := &client{Conn: conn, s: s, name: peerName(conn), host: peerHost(conn), onClose: onClose}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.heard.Store(time.Now().UnixNano())
	return c
}

// peerName is the address of the other end of c. A client of a Unix socket has
// none, and is named after the socket.
func peerName(c net.Conn) string {
	if name := sock.PeerName(c.RemoteAddr()); name != "the peer" {
		return name
	}
	return "the client of " + sock.PeerName(c.LocalAddr())
}

// peerHost returns the key that distinguishes clients' machines: the address,
// of IPv6 the network of 64 bits, of which one machine may have every address.
func peerHost(c net.Conn) string {
	addr := sock.AddrPort(c.RemoteAddr()).Addr().Unmap()
	if prefix, err := addr.WithZone("").Prefix(64); err == nil && addr.Is6() {
		return prefix.String()
	}
	return addr.String()
}

// pageVisit begins the visits that have a name.
const pageVisit = "visit "

// visit returns what the uploads of one visit have in common: a name that the
// page gives them, or else the client's address.
func (c *client) visit(r *http.Request) string {
	if name := r.Header.Get(headerVisit); name != "" {
		return pageVisit + name
	}
	return c.host
}

// NetConn returns the connection underneath, as a tls.Conn does.
func (c *client) NetConn() net.Conn { return c.Conn }

func (c *client) Read(b []byte) (int, error) {
	if len(c.replay) > 0 {
		n := copy(b, c.replay)
		c.replay = c.replay[n:]
		return n, nil
	}
	n, err := c.Conn.Read(b)
	if n > 0 && !c.answers.Load() && !c.upgraded.Load() && !c.takeHead(n) {
		return 0, errFull
	}
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.ended(err)
	}
	return n, err
}

// Write sends b at the server's rate, and fails if the client accepts nothing
// for too long. Package push, which has keep-alives that the rate does not hold
// up, limits its own writes.
func (c *client) Write(b []byte) (int, error) {
	var out io.Writer = c.Conn
	if !c.upgraded.Load() {
		out = timedWriter{c.Conn, c.Conn.SetWriteDeadline, unreadSilences * c.s.o.Silence}
		if limit := c.s.o.Rate; limit != nil {
			out = &rate.Writer{Writer: out, Limit: limit, Admit: func(n int) error { return limit.Wait(c.ctx, n) }}
		}
	}
	n, err := out.Write(b)
	if sys.IsReset(err) { // net/http closes the connection then, without another read
		c.ended(err)
	}
	return n, err
}

// Close reports the end of the connection, and closes it.
func (c *client) Close() error {
	c.closing.Do(func() {
		c.cancel()
		n, err := sock.Unacked(c.Conn)
		if err == nil && n > 0 {
			err = errNotAcknowledged
		}
		c.mu.Lock()
		c.unacked = err
		memory := c.memory
		c.memory, c.closed = 0, true
		c.mu.Unlock()
		c.s.memory.give(c.host, memory)
		c.onClose()
	})
	return c.Conn.Close()
}

// take charges the connection with n bytes of memory, until it is closed, and
// reports whether there is room.
func (c *client) take(n int64) bool {
	if !c.s.memory.take(c.host, n) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.s.memory.give(c.host, n)
		return false
	}
	c.memory += n
	return true
}

// takeHead charges the connection with n bytes of a request's head.
func (c *client) takeHead(n int) bool {
	charge := headFactor * int64(n)
	if !c.take(charge) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head += charge
	return true
}

// giveHead undoes takeHead for a request that has ended.
func (c *client) giveHead() {
	c.mu.Lock()
	charge := min(c.head, c.memory)
	c.head = 0
	c.memory -= charge
	c.mu.Unlock()
	c.s.memory.give(c.host, charge)
}

var (
	errFull            = errors.New(full)
	errNotAcknowledged = errors.New("not acknowledged")
	errInterrupted     = errors.New("interrupted")
)

// ended records why the connection ends, unless that is known.
func (c *client) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// begin counts a request, and end its end.
func (c *client) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
}

func (c *client) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests--
}

// fail records that the connection does not end in order.
func (c *client) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = true
}

// transferred records the end of a transfer on the connection, for Closed of
// push.Options. joined reports whether the connection is a further one.
func (c *client) transferred(err error, joined bool) {
	if joined {
		c.join()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved, c.moveErr = true, err
}

// join reports once that the connection is a further one of a transfer.
func (c *client) join() {
	c.joining.Do(func() { c.s.o.Events.Joined(c.Conn) })
}

// awaitAck waits until the client's system has acknowledged everything, as long
// as more is acknowledged within the time that it may be silent.
func (c *client) awaitAck() error {
	least, progress := -1, time.Now()
	err := sock.AwaitAck(c.Conn, func(unacked int) error {
		if least < 0 || unacked < least {
			least, progress = unacked, time.Now()
		}
		if time.Since(progress) > c.s.o.Silence {
			return errNotAcknowledged
		}
		return nil
	})
	if errors.Is(err, net.ErrClosed) { // net/http has closed it after the client
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.unacked
	}
	return err
}

// ending returns how the connection has ended.
func (c *client) ending() Ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.moved && c.moveErr == nil:
		return Finished
	case errors.Is(c.err, errInterrupted), c.moved && !errors.As(c.moveErr, new(*push.Error)):
		return Interrupted
	case c.requests > 0, c.broken, c.moved:
		return Broken
	case c.err == nil, errors.Is(c.err, net.ErrClosed):
		return ClosedHere
	case c.err == io.EOF:
		return ClosedThere
	}
	return Broken
}

// lost reports whether the connection has ended, rather than one request.
func (c *client) lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// silent reports whether the client sent nothing, or too little, for too long.
func (c *client) silent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Is(c.err, os.ErrDeadlineExceeded) || errors.Is(c.err, errTooSlow)
}

// reason words the end of the connection in the middle of an upload.
func (c *client) reason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(c.err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("nothing heard for %v", c.s.o.Silence)
	case errors.Is(c.err, errTooSlow):
		return c.err.Error()
	case c.err == nil, errors.Is(c.err, net.ErrClosed):
		// HTTP/2 closes the connection when a PING is not answered in time, of
		// which the second half of the silence is left.
		if time.Since(time.Unix(0, c.heard.Load())) > c.s.o.Silence/2 {
			return fmt.Sprintf("lost contact for %v", c.s.o.Silence)
		}
		return "lost contact"
	case c.err == io.EOF, sys.IsReset(c.err): // a killed process leaves either
		return "the other end closed the connection"
	}
	return sys.Cause(c.err).Error()
}
