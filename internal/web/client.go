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

// A client is one accepted connection, wrapped for net/http and package push.
// It charges memory for the connection, limits the rate of its writes, and
// records the cause of its end, which the errors of net/http do not show.
type client struct {
	net.Conn // as Prepare has returned it
	s        *Server
	name     string
	host     string          // the address without the port; of IPv6 its network
	ctx      context.Context // ends with the connection
	cancel   context.CancelFunc
	replay   []byte       // was read to recognise the protocol
	begun    time.Time    // of the connection
	heard    atomic.Int64 // when something was last read, in nanoseconds after begun
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

// clientKey is the key of a *client in the context of its requests.
type clientKey struct{}

// clientOf returns the connection of a request, which ConnContext has put in
// its context.
func clientOf(r *http.Request) *client { return r.Context().Value(clientKey{}).(*client) }

// newClient wraps the connection conn, which it owns from then on. onClose is
// called once, by the first Close, while conn is still open.
func newClient(s *Server, conn net.Conn, onClose func()) *client {
	c := &client{Conn: conn, s: s, name: peerName(conn), host: peerHost(conn), begun: time.Now(), onClose: onClose}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// peerName returns the address of the other end of c, for messages. A client of
// a Unix socket has no address, and is named after the socket.
func peerName(c net.Conn) string {
	if name := sock.PeerName(sock.RemoteAddr(c)); name != "the peer" {
		return name
	}
	return "the client of " + sock.PeerName(c.LocalAddr())
}

// peerHost returns the key under which budgets and downloads count the client:
// its IP address without the port. Of IPv6 it is the /64 network, since one
// machine may use every address of that.
func peerHost(c net.Conn) string {
	addr := sock.AddrPort(sock.RemoteAddr(c)).Addr().Unmap()
	if prefix, err := addr.WithZone("").Prefix(64); err == nil && addr.Is6() {
		return prefix.String()
	}
	return addr.String()
}

// pageVisit is the prefix of a visit that the page has named. Its client may
// change connections, see Server.acquire.
const pageVisit = "visit "

// visit returns the key of the visit that the upload r belongs to. A visit is a
// series of uploads by one page or program, on any number of connections. The
// key is the random name that the script of the page sends in Purr-Visit, or
// else c.host.
func (c *client) visit(r *http.Request) string {
	if name := r.Header.Get(headerVisit); name != "" {
		return pageVisit + name
	}
	return c.host
}

// NetConn returns the connection underneath, as tls.Conn has it: package sock
// finds the socket by it.
func (c *client) NetConn() net.Conn { return c.Conn }

// Read returns the bytes that sniff has read, then those of the connection.
// Bytes that come while no request is served are charged as the head of the
// next one; without room Read fails with errFull. Other errors are recorded as
// the end of the connection, except an expired deadline: net/http sets one
// merely to interrupt a read.
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
		c.heard.Store(int64(time.Since(c.begun)))
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.ended(err)
	}
	return n, err
}

// Write sends b at Options.Rate. It fails if the client accepts nothing for
// unreadSilences times Options.Silence. A reset is recorded as the end of the
// connection. The writes of package push pass unlimited: it applies the rate
// itself, so that its keep-alives are not delayed.
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

// Close records for awaitAck whether bytes are unacknowledged, gives back the
// memory of the connection, calls onClose, and closes the connection. Further
// calls only return the error of net.Conn.
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

// take charges the connection with n bytes of memory until Close gives them
// back. It reports false if there is no room, or if the connection is closed
// already.
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

// takeHead charges the connection for n bytes of a request head, at headFactor
// times their number, and reports whether there is room.
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

// giveHead gives back the memory that takeHead has charged, once a request of
// HTTP/1 has been answered.
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

// ended records err as the cause of the end of the connection. Only the first
// call counts.
func (c *client) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// begin counts a request as under way until the call of end. If the connection
// ends before that, its Ending is Broken.
func (c *client) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
}

// end undoes begin when the request has been answered.
func (c *client) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests--
}

// fail makes the Ending of the connection Broken: an upload was cut, or the
// client rejected.
func (c *client) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = true
}

// transferred records that a transfer of package push has ended on this
// connection; err is nil if it has ended in order. joined is true if the
// connection was added to a transfer that began on another one; then
// Events.Joined is called, too.
func (c *client) transferred(err error, joined bool) {
	if joined {
		c.join()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved, c.moveErr = true, err
}

// join reports Events.Joined, once, for a connection that was added to the
// transfer of another one.
func (c *client) join() {
	c.joining.Do(func() { c.s.o.Events.Joined(c.Conn) })
}

// awaitAck waits until the system of the client has acknowledged every byte
// sent. It returns errNotAcknowledged if the number of unacknowledged bytes
// does not fall for Options.Silence, or else the error that has ended the
// connection. If the connection is closed already, it returns what Close has
// recorded.
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

// ending classifies the end of the connection for Events.Closed.
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

// lost reports whether the whole connection has ended, rather than one request
// (such as a stream of HTTP/2).
func (c *client) lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// silent reports whether the connection has ended because the client sent
// nothing for Options.Silence, or was below leastRate.
func (c *client) silent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Is(c.err, os.ErrDeadlineExceeded) || errors.Is(c.err, errTooSlow)
}

// reason returns the text that reports the end of the connection in the middle
// of an upload.
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
		if time.Since(c.begun)-time.Duration(c.heard.Load()) > c.s.o.Silence/2 {
			return fmt.Sprintf("lost contact for %v", c.s.o.Silence)
		}
		return "lost contact"
	case c.err == io.EOF, sys.IsReset(c.err): // a killed process leaves either
		return "the other end closed the connection"
	}
	return sys.Cause(c.err).Error()
}
