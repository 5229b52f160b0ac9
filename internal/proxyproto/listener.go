package proxyproto

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"purr/internal/sock"
)

const (
	// DefaultTimeout is the limit for a header if Options have none.
	DefaultTimeout = 3 * time.Second

	// defaultPending is how many headers are read at once if Options do not say.
	defaultPending = 64

	// crowdTimeout is how long the oldest client may take while more than that
	// are waiting.
	crowdTimeout = 100 * time.Millisecond
)

// ErrCrowded is the error of a client whose header was not complete when its
// place was needed for another one.
var ErrCrowded = errors.New("no PROXY header yet, and too many others wait for their turn")

// Options are those of a listener. The zero value is ready to use.
type Options struct {
	Timeout time.Duration // for a header; 0: DefaultTimeout
	Pending int           // clients whose header is read at once; 0: 64

	// Rejected is called, from several goroutines, for each client without a
	// header, which was reset. The error is that of Receive or ErrCrowded.
	Rejected func(net.Conn, error)
}

// A listener accepts clients that send a header. Headers are read side by side,
// so that a silent client holds up no other.
type listener struct {
	net.Listener
	Options
	ready chan net.Conn      // header read
	ended chan struct{}      // closed when accepting has failed with err
	err   error              // set before ended is closed
	stop  context.CancelFunc // closes the clients that were not accepted
	tasks sync.WaitGroup
	room  sock.Room // left when a client leaves pending

	mu      sync.Mutex
	pending []*client // the oldest first
}

// A client is one from its acceptance until Accept returns it, or until it is
// rejected.
type client struct {
	net.Conn
	begun   time.Time
	read    bool // whether its header was read
	crowded bool // whether it was reset for another one
}

// Listen returns a listener of the clients of ln whose connection begins with a
// header, which has been read. Accept returns the connection of ln as it is;
// sock.Ends and sock.RemoteAddr return the addresses that the header has. If
// Accept of ln fails, the headers that are being read may still be completed,
// and then the listener's Accept returns that error. The caller closes the
// listener, and with it ln and the clients that were not accepted; the end of
// ctx closes the latter, too.
//
// While more clients than Options.Pending wait, one that was accepted more than
// 100 ms ago gives its place to another one.
func Listen(ctx context.Context, ln net.Listener, o Options) net.Listener {
	ctx, stop := context.WithCancel(ctx)
	o.Timeout, o.Pending = cmp.Or(o.Timeout, DefaultTimeout), cmp.Or(o.Pending, defaultPending)
	l := &listener{Listener: ln, Options: o, stop: stop,
		ready: make(chan net.Conn), ended: make(chan struct{}), room: sock.NewRoom()}
	go l.run(ctx)
	return l
}

// run accepts connections and begins to read their headers until ctx ends or
// Accept fails. The reason is in err once ended is closed.
func (l *listener) run(ctx context.Context) {
	defer close(l.ended)
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			l.tasks.Wait()
			l.err = err
			return
		}
		c := &client{Conn: conn, begun: time.Now()}
		if !l.room.Await(ctx, func() time.Duration { return l.crowd(c) }) {
			sock.Reset(conn)
			l.err = context.Cause(ctx)
			return
		}
		l.tasks.Go(func() { l.serve(ctx, c) })
	}
}

// crowd adds c to the pending clients and returns 0, if there is room.
// Otherwise it resets the oldest one without a header if that has had
// crowdTimeout, and returns the time after which to look again, unless room is
// signalled before.
func (l *listener) crowd(c *client) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) < l.Pending {
		l.pending = append(l.pending, c)
		return 0
	}
	i := slices.IndexFunc(l.pending, func(c *client) bool { return !c.read && !c.crowded })
	if i < 0 { // all have theirs, and Accept is not called
		return l.Timeout
	}
	oldest := l.pending[i]
	if age := time.Since(oldest.begun); age < crowdTimeout {
		return crowdTimeout - age
	}
	oldest.crowded = true
	sock.Reset(oldest.Conn)
	return l.Timeout
}

// serve reads the header of a client and holds the connection until Accept
// takes it, or until ctx ends, which closes it.
func (l *listener) serve(ctx context.Context, c *client) {
	defer l.leave(c)
	stop := context.AfterFunc(ctx, func() { sock.Reset(c.Conn) })
	h, err := Receive(c.Conn, l.Timeout)
	l.mu.Lock()
	c.read = err == nil && !c.crowded
	if c.crowded {
		err = ErrCrowded
	}
	l.mu.Unlock()
	switch ended := !stop(); {
	case ended: // ctx resets it
		return
	case err != nil:
		sock.Reset(c.Conn)
		if l.Rejected != nil {
			l.Rejected(c.Conn, err)
		}
		return
	}
	if h.Source.IsValid() {
		sock.SetEnds(c.Conn, h.Source, h.Destination)
	}
	select {
	case l.ready <- c.Conn:
	case <-ctx.Done():
		sock.Reset(c.Conn)
	}
}

// leave removes a client from the pending ones and signals room.
func (l *listener) leave(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = slices.DeleteFunc(l.pending, func(other *client) bool { return other == c })
	l.room.Left()
}

// Accept returns the next client. The error is that of ln's Accept, or the
// cause of the context of Listen.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.ended:
		return nil, l.err
	}
}

// Close closes the listening socket and the clients that were not accepted.
func (l *listener) Close() error {
	l.stop()
	return l.Listener.Close()
}
