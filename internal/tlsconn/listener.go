package tlsconn

import (
	"context"
	"net"
	"sync"
)

// maxHandshakes is how many clients of a listener may be in their handshake at
// once. Further ones wait in the backlog.
const maxHandshakes = 64

// A listener accepts clients that hold the key. Handshakes run side by side, so
// that a silent client blocks no other.
type listener struct {
	net.Listener
	handshaker *Handshaker
	rejected   func(net.Conn, error)
	proven     chan *Conn         // handshake done, confirmation not sent
	ended      chan struct{}      // closed when accepting has failed with err
	err        error              // set before ended is closed
	stop       context.CancelFunc // ends the pending handshakes
	pending    sync.WaitGroup
}

// Listener returns a listener whose Accept returns a *Conn for each client of
// ln that holds the key. rejected is called for every other client, from
// several goroutines, with the closed connection and the error of Do. After a
// failed Accept of ln the pending handshakes may still finish, and then Accept
// returns its error. The caller closes the listener, and with it ln and the
// clients that were not accepted.
func (h *Handshaker) Listener(ctx context.Context, ln net.Listener, rejected func(net.Conn, error)) net.Listener {
	ctx, stop := context.WithCancel(ctx)
	l := &listener{Listener: ln, handshaker: h, rejected: rejected, stop: stop, proven: make(chan *Conn), ended: make(chan struct{})}
	go l.run(ctx)
	return l
}

// run accepts connections and begins their handshakes, at most maxHandshakes at
// a time, until ctx ends or Accept fails. The reason is in err once ended is
// closed.
func (l *listener) run(ctx context.Context) {
	defer close(l.ended)
	slots := make(chan struct{}, maxHandshakes)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			l.err = context.Cause(ctx)
			return
		}
		c, err := l.Listener.Accept()
		if err != nil {
			l.pending.Wait()
			l.err = err
			return
		}
		l.pending.Go(func() {
			defer func() { <-slots }()
			l.serveHandshake(ctx, c)
		})
	}
}

// serveHandshake does the handshake with a client and holds its connection
// until Accept takes it.
func (l *listener) serveHandshake(ctx context.Context, c net.Conn) {
	if l.handshaker.OnAccept != nil {
		l.handshaker.OnAccept(ctx, c)
	}
	s, err := l.handshaker.handshake(ctx, c)
	switch {
	case ctx.Err() != nil:
		_ = c.Close()
		return
	case err != nil:
		l.rejected(c, err)
		return
	}
	select {
	case l.proven <- s:
	case <-ctx.Done():
		_ = c.Close()
	}
}

// Accept returns the next client, of type *Conn.
func (l *listener) Accept() (net.Conn, error) {
	for {
		select {
		case s := <-l.proven:
			if err := s.confirm(); err != nil {
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
