package sock

import (
	"context"
	"net"
	"sync"
)

// idleMost is how many goroutines without work a Crew keeps.
const idleMost = 16

// A Crew is the goroutines of a server. While it serves, it keeps some of those
// that have no work for the next client: the stack of a new one, which grows
// several times, would be a large part of a short conversation. The zero value
// is ready to use.
type Crew struct {
	mu      sync.Mutex
	serving bool
	idle    []chan func() // of goroutines without work; the last to rest works first
	all     sync.WaitGroup
}

// Serve accepts the clients of ln and calls serve for each in a goroutine of
// its own, for at most limit of them at once: further ones wait in the backlog,
// instead of being turned away. serve closes the connection. Serve returns when
// ln fails, with its error, or ctx ends, with its cause, and all calls have
// returned, those by Go included. ln is the caller's to close when ctx ends.
func (c *Crew) Serve(ctx context.Context, ln net.Listener, limit int, serve func(net.Conn)) error {
	slots := make(chan struct{}, max(1, limit))
	c.mu.Lock()
	c.serving = true
	c.mu.Unlock()
	defer c.end()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		c.Go(func() {
			defer func() { <-slots }()
			serve(conn)
		})
	}
}

// Go calls f in a goroutine: one that is kept, or a new one.
func (c *Crew) Go(f func()) {
	c.mu.Lock()
	last := len(c.idle) - 1
	if last < 0 {
		c.mu.Unlock()
		c.all.Go(func() { c.work(f) })
		return
	}
	next := c.idle[last]
	c.idle = c.idle[:last]
	c.mu.Unlock()
	next <- f
}

// work calls f, and then what Go sends, as long as the goroutine is kept.
func (c *Crew) work(f func()) {
	next := make(chan func(), 1)
	for f != nil {
		if f(); !c.rest(next) {
			return
		}
		f = <-next
	}
}

// rest keeps the goroutine that receives from next, and reports whether it is
// kept.
func (c *Crew) rest(next chan func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	keeps := c.serving && len(c.idle) < idleMost
	if keeps {
		c.idle = append(c.idle, next)
	}
	return keeps
}

// end waits until all calls have returned, and keeps no goroutine any more.
func (c *Crew) end() {
	c.mu.Lock()
	for _, next := range c.idle {
		close(next)
	}
	c.serving, c.idle = false, nil
	c.mu.Unlock()
	c.all.Wait()
}
