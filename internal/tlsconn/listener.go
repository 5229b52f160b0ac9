package tlsconn

import (
	"context"
	"errors"
	"net"
	"purr/internal/sock"
	"slices"
	"sync"
	"time"
)

const (
	// defaultPending is how many clients of a listener may be in their handshake
	// at once if Handshaker.Pending is zero.
	defaultPending = 64

	// crowdTimeout is the limit of each handshake once there are more clients
	// than that, and silentTimeout is how long a client may then send nothing.
	crowdTimeout  = 3 * time.Second
	silentTimeout = 100 * time.Millisecond
)

// A listener accepts clients that hold the key. Handshakes run side by side, so
// that a silent client blocks no other.
type listener struct {
	net.Listener
	handshaker *Handshaker
	rejected   func(net.Conn, error)
	most       int                // attempts at once
	proven     chan *Conn         // handshake done, confirmation not sent
	ended      chan struct{}      // closed when accepting has failed with err
	err        error              // set before ended is closed
	stop       context.CancelFunc // ends the pending handshakes
	pending    sync.WaitGroup
	room       sock.Room // left when an attempt ends

	mu       sync.Mutex
	attempts []*attempt // the oldest first
}

// An attempt is a client from its acceptance until Accept returns it, or until
// it is rejected.
type attempt struct {
	conn   *Conn
	begun  time.Time
	giveUp context.CancelCauseFunc
	hurry  *time.Timer // gives it up after crowdTimeout; nil until there is a crowd
	proven bool        // whether its handshake is done
}

// Listener returns a listener whose Accept returns a *Conn for each client of
// ln that holds the key. rejected is called for every other client, from
// several goroutines, with the closed connection and the error of Do. If Accept
// of ln fails, the pending handshakes may still finish, and then the listener's
// Accept returns that error. The caller closes the listener, and with it ln and
// the clients that were not accepted.
//
// Clients without the key do not keep those with it out: while more than
// Handshaker.Pending are in their handshake, a new one takes the place of the
// oldest that has sent nothing, and none has more than 3 s.
func (h *Handshaker) Listener(ctx context.Context, ln net.Listener, rejected func(net.Conn, error)) net.Listener {
	ctx, stop := context.WithCancel(ctx)
	l := &listener{Listener: ln, handshaker: h, rejected: rejected, most: h.Pending, stop: stop,
		proven: make(chan *Conn), ended: make(chan struct{}), room: sock.NewRoom()}
	if l.most == 0 {
		l.most = defaultPending
	}
	go l.run(ctx)
	return l
}

// run accepts connections and begins their handshakes until ctx ends or Accept
// fails. The reason is in err once ended is closed.
func (l *listener) run(ctx context.Context) {
	defer close(l.ended)
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			l.pending.Wait()
			l.err = err
			return
		}
		if !l.room.Await(ctx, l.crowd) {
			_ = c.Close()
			l.err = context.Cause(ctx)
			return
		}
		ctx, giveUp := context.WithCancelCause(ctx)
		a := &attempt{conn: l.handshaker.newConn(c), begun: time.Now(), giveUp: giveUp}
		l.mu.Lock()
		l.attempts = append(l.attempts, a)
		l.mu.Unlock()
		l.pending.Go(func() {
			defer l.leave(a)
			l.serveHandshake(ctx, a)
		})
	}
}

// crowd returns 0 if there is room for a further attempt. Otherwise it limits
// all attempts to crowdTimeout from their beginning, and gives up the oldest
// that has sent nothing for silentTimeout. The result is the time after which
// to look again, unless room is signalled before.
func (l *listener) crowd() (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.attempts) < l.most {
		return 0
	}
	wait = crowdTimeout
	for _, a := range l.attempts {
		age := time.Since(a.begun)
		if a.hurry == nil {
			a.hurry = time.AfterFunc(crowdTimeout-age, func() { l.drop(a) })
		}
		if a.proven || a.conn.records.heard.Load() {
			continue
		}
		if age >= silentTimeout {
			a.giveUp(&HandshakeError{Kind: ErrCrowded})
			return crowdTimeout
		}
		wait = min(wait, silentTimeout-age)
	}
	return wait
}

// drop gives an attempt up, unless its handshake is done.
func (l *listener) drop(a *attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !a.proven {
		a.giveUp(&HandshakeError{Kind: ErrCrowded})
	}
}

// prove records that the handshake of an attempt is done: it is not given up
// any more.
func (l *listener) prove(a *attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.proven = true
}

// leave removes an attempt that has ended, frees its timer and context, and
// signals room.
func (l *listener) leave(a *attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts = slices.DeleteFunc(l.attempts, func(other *attempt) bool { return other == a })
	if a.hurry != nil {
		a.hurry.Stop()
	}
	a.giveUp(nil)
	l.room.Left()
}

// serveHandshake does the handshake of an attempt and holds its connection
// until Accept takes it, or until ctx ends, which closes it. A failed handshake
// is passed to rejected.
func (l *listener) serveHandshake(ctx context.Context, a *attempt) {
	c := a.conn.Conn
	if l.handshaker.OnAccept != nil {
		l.handshaker.OnAccept(ctx, c)
	}
	err := l.handshaker.handshake(ctx, a.conn)
	if errors.As(err, new(*HandshakeError)) {
		l.rejected(c, err)
		return
	}
	if err != nil { // the listener was closed
		return
	}
	l.prove(a)
	select {
	case l.proven <- a.conn:
	case <-ctx.Done():
		_ = c.Close()
	}
}

// Accept sends the confirmation to the next client and returns it, a *Conn. A
// client that cannot take it is passed to rejected. The error is that of ln's
// Accept, or the cause of the context of Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		select {
		case s := <-l.proven:
			if err := l.handshaker.confirm(s); err != nil {
				l.rejected(s.Conn, err)
				continue
			}
			return s, nil
		case <-l.ended:
			return nil, l.err
		}
	}
}

// Close closes the listening socket and the clients that were not accepted.
func (l *listener) Close() error {
	l.stop()
	return l.Listener.Close()
}
