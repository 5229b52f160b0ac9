package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"purr/internal/rate"
	"purr/internal/sock"
	"purr/internal/sys"
)

const (
	defaultHello   = 5 * time.Second
	defaultSilence = 30 * time.Second
)

// A contact is the connection under an exchange. It remembers when the peer
// was last heard of and how it ended, which HTTP's errors do not tell.
type contact struct {
	net.Conn
	silence time.Duration
	limit   *rate.Limiter // --rate
	traffic *traffic      // of the run
	begun   time.Time

	sent, received atomic.Int64    // bytes
	ctx            context.Context // ends with the contact
	stop           context.CancelFunc
	heard          atomic.Int64 // when something was last read, in Unix nanoseconds
	replay         []byte       // what was read to find out what the peer is, still to be delivered

	of atomic.Pointer[contact] // the exchange's own, if this is a lane; it has the say when this end closes the lane

	mu    sync.Mutex
	first []byte // the first bytes of the peer, to tell what it is if it is no purr
	ended error  // the first error of a read or write
	state contactState
	users int  // requests under way on a lane
	said  bool // whether the user was told of the end

	closeOnce sync.Once
	closed    func() // told of the end; may be nil
	unsettled error  // nil if the peer's system had acknowledged everything at the end
}

// A contactState is whether a contact may end.
type contactState int

const (
	contactIdle     contactState = iota // nothing is under way
	contactBusy                         // to end now is a failure
	contactFinished                     // all is done and both ends know
)

// newContact takes over a connection, which Close closes.
func (p *purr) newContact(conn net.Conn) *contact {
	c := &contact{Conn: conn, silence: p.cfg.push.silence, limit: p.limit, traffic: &p.traffic, begun: time.Now()}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.heard.Store(time.Now().UnixNano())
	return c
}

// Write remembers an error, too: after it, HTTP closes the connection without
// another read.
func (c *contact) Write(b []byte) (int, error) {
	var out io.Writer = c.Conn
	if c.limit != nil {
		out = &rate.Writer{Writer: c.Conn, Limit: c.limit, Admit: func(n int) error { return c.limit.Wait(c.ctx, n) }}
	}
	n, err := out.Write(b)
	c.traffic.sent.Add(int64(n))
	c.sent.Add(int64(n))
	if sys.IsReset(err) { // HTTP closes the connection then, and no read tells
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ended == nil {
			c.ended = err
		}
	}
	return n, err
}

// cork lets what is written leave in full segments until uncork is called, which
// also sends the rest: HTTP writes a head and a tail around every block of a
// body, and each would wake the peer.
func (c *contact) cork() (uncork func()) {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || c.limit != nil { // what --rate lets out is to leave
		return func() {}
	}
	sock.SetCork(tcp, true)
	return func() { sock.SetCork(tcp, false) }
}

// NetConn returns the connection underneath, as a tls.Conn does.
func (c *contact) NetConn() net.Conn { return c.Conn }

func (c *contact) Read(b []byte) (int, error) {
	if len(c.replay) > 0 {
		n := copy(b, c.replay)
		c.replay = c.replay[n:]
		return n, nil
	}
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
		c.traffic.received.Add(int64(n))
		c.received.Add(int64(n))
	}
	if n > 0 && len(c.first) < 16 || err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.first = append(c.first, b[:min(n, 16-min(16, len(c.first)))]...)
		if err != nil && c.ended == nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.ended = err
		}
	}
	return n, err
}

func (c *contact) Close() error {
	c.closeOnce.Do(func() {
		c.stop()
		n, err := sock.Unacked(c.Conn)
		if err == nil && n > 0 {
			err = errNotAcknowledged
		}
		c.mu.Lock()
		c.unsettled = err
		c.mu.Unlock()
		if c.closed != nil {
			c.closed()
		}
	})
	return c.Conn.Close()
}

var errNotAcknowledged = errors.New("not acknowledged")

// settle waits until the peer's system has acknowledged everything, no longer
// than the silence. A peer that has closed the connection meanwhile, so that
// HTTP has closed it here, has done so before or after that.
func (c *contact) settle() error {
	begun := time.Now()
	err := sock.AwaitAck(c.Conn, func(int) error {
		if time.Since(begun) > c.silence {
			return errNotAcknowledged
		}
		return nil
	})
	if errors.Is(err, net.ErrClosed) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.unsettled
	}
	return err
}

// becomes sets the state.
func (c *contact) becomes(state contactState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = state
}

// uses counts requests that begin and end on a lane of ours. The next may begin
// before the last has been told to have ended.
func (c *contact) uses(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users += n; c.users > 0 {
		c.state = contactBusy
	} else {
		c.state = contactIdle
	}
}

// parting is the end of the contact, for -v and as an event.
func (c *contact) parting() parting {
	sent, received := c.sent.Load(), c.received.Load()
	return parting{peer: connName(c.Conn), how: c.how(), sent: sent, received: received, begun: c.begun,
		moved: fmt.Sprintf("sent %d bytes, received %d bytes", sent, received)}
}

func (c *contact) how() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of := c.of.Load(); of != nil && (c.ended == nil || errors.Is(c.ended, net.ErrClosed) || c.state == contactBusy && of.wasInterrupted()) {
		// This end closes a lane behind an answer, or because the exchange ends.
		if how := of.how(); how == interrupted || how == "failed" && of.lost() {
			return how
		}
		return "closed at this end"
	}
	switch {
	case c.state == contactFinished:
		return bothFinished
	case errors.Is(c.ended, errInterrupted):
		return interrupted
	case c.state == contactBusy || c.said:
		return "failed"
	case c.ended == nil || errors.Is(c.ended, net.ErrClosed):
		return "closed at this end"
	case c.ended == io.EOF:
		return peerFinished
	}
	return "failed"
}

// errInterrupted is the end of a contact that this end was told to break off.
var errInterrupted = errors.New("interrupted")

// cut breaks the contact off.
func (c *contact) cut() {
	c.interrupt()
	_ = c.Close()
}

// interrupt remembers that this end was told to break the contact off, unless
// it has ended already.
func (c *contact) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = errInterrupted
	}
}

// wasInterrupted reports whether this end was told to break the contact off. The
// other end may be quick to close its lanes then.
func (c *contact) wasInterrupted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Is(c.ended, errInterrupted)
}

// silent reports whether the peer was silent for too long.
func (c *contact) silent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Is(c.ended, os.ErrDeadlineExceeded)
}

// beginning is what the peer said first, up to 16 bytes.
func (c *contact) beginning() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.first)
}

// lost reports whether the connection has ended, for whatever reason, rather
// than one request on it.
func (c *contact) lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended != nil
}

// lostError is the error of an exchange whose contact is lost; what it is about
// stands in front. Where a file's line has told of the end already, it is only
// for the status: the outcome is not known.
func (c *contact) lostError(what string) error {
	err := fmt.Errorf("%s: %s", what, c.why())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said {
		err = saidError{err}
	}
	return statusError{3, err}
}

// loseLane ends the contact because one of its lanes has ended: what is known
// of that end is known of this one.
func (c *contact) loseLane(lane *contact) {
	if lane == c {
		return
	}
	lane.mu.Lock()
	ended, said := lane.ended, lane.said
	lane.mu.Unlock()
	c.mu.Lock()
	c.said = c.said || said
	if c.ended == nil && !errors.Is(ended, net.ErrClosed) {
		c.ended = ended
	}
	c.mu.Unlock()
	if ended != nil {
		_ = c.Close()
	}
}

// say remembers that the user was told of the end.
func (c *contact) say() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = true
}

// why says how contact was lost, for a message. Silence shows as a connection
// that was closed here: HTTP/2 does that when a PING stays without an answer,
// and PINGs are sent in time to know at the end of the silence.
func (c *contact) why() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of := c.of.Load(); of != nil && (c.ended == nil || errors.Is(c.ended, net.ErrClosed) || of.wasInterrupted()) {
		return of.why() // whose end has ended the lane's request
	}
	switch {
	case errors.Is(c.ended, os.ErrDeadlineExceeded):
		return fmt.Sprintf("nothing heard for %v", c.silence)
	case c.ended == nil || errors.Is(c.ended, net.ErrClosed):
		// PINGs are sent in time to know at the end of the silence. What the other
		// end says meanwhile does not help if it does not answer them.
		if quiet := time.Since(time.Unix(0, c.heard.Load())); quiet > c.silence/2 {
			return fmt.Sprintf("lost contact for %v", c.silence)
		}
		return "lost contact"
	case c.ended == io.EOF, sys.IsReset(c.ended):
		// What a killed process leaves behind is one or the other.
		return "the other end closed the connection"
	}
	return sys.Cause(c.ended).Error()
}

// fellSilent remembers that a client which has no PINGs to answer has said
// nothing for as long as it may.
func (c *contact) fellSilent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = os.ErrDeadlineExceeded
	}
}
