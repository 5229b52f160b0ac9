package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"purr/internal/fdio"
	"purr/internal/idle"
	"purr/internal/sock"
)

// slowClient is how long one client may keep the others waiting for stdin. A
// client that takes nothing for so long is reset, with a message: to skip it
// would lose its bytes silently, to wait would stop the others.
var slowClient = 10 * time.Second // a variable for the tests

// A fanout is stdin under -l -k: it broadcasts each chunk to every client that
// is connected then. Without clients, stdin is not read.
type fanout struct {
	t       *talker
	once    sync.Once // for start
	in      *fdio.File
	arrived chan struct{} // signalled when the first client subscribes

	mu          sync.Mutex
	subscribers map[*subscriber]bool
	ended       bool  // whether nothing more is read
	err         error // why stdin ended, if not in order
}

// A subscriber is one client's stdin.
type subscriber struct {
	fan       *fanout
	interrupt *fdio.Interrupt
	chunks    chan []byte   // closed at the end of stdin
	room      chan struct{} // signalled when a chunk was taken
	rest      []byte        // of the chunk that is being read
	held      bool          // whether a chunk has been taken that may not be sent yet
	queued    atomic.Int32  // chunks that are not sent yet
	reset     func()        // of the client's connection
	slow      atomic.Bool   // whether the client was reset for taking nothing
}

// shareStdio is the handler of -l -k: what any client sends goes to stdout, and
// stdin goes to all of them.
func shareStdio(ctx context.Context, t *talker, c net.Conn) (err error) {
	s, err := t.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	t.fan.start(ctx)
	if sub := t.fan.subscribe(s); sub != nil {
		defer t.fan.remove(sub)
		s.in = sub
		defer func() {
			if sub.slow.Load() {
				err = fmt.Errorf("send to %s: the peer took nothing for %v while others waited", s.peer, slowClient)
			}
		}()
	}
	err = s.relay(ctx)
	if s.stdoutFailed {
		t.stop(err)
	}
	return err
}

func newFanout(t *talker) *fanout {
	return &fanout{t: t, arrived: make(chan struct{}, 1), subscribers: make(map[*subscriber]bool)}
}

// start begins to read stdin in a goroutine, unless hasInput rejects it: then
// it counts as ended. Calls after the first do nothing.
func (f *fanout) start(ctx context.Context) {
	f.once.Do(func() {
		stop, err := fdio.NewInterrupt()
		if err != nil {
			f.finish(err)
			f.t.stop(fmt.Errorf("read from stdin: %w", err))
			return
		}
		f.in = fdio.New(f.t.stdin, stop)
		if !f.t.hasInput(f.in.Kind()) {
			stop.Close()
			f.finish(io.EOF)
			return
		}
		context.AfterFunc(ctx, stop.Fire)
		go func() {
			f.run(ctx)
			stop.Close()
		}()
	})
}

// subscribe adds the client of a session. It returns nil if stdin has ended:
// the client is then served as one of a listener without input.
func (f *fanout) subscribe(client *session) *subscriber {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil
	}
	s := &subscriber{fan: f, interrupt: client.interrupt, chunks: make(chan []byte, 16), room: make(chan struct{}, 1),
		reset: func() { sock.Reset(client.conn) }}
	f.subscribers[s] = true
	wake(f.arrived)
	return s
}

// wake wakes the goroutine that waits for c, which has room for one signal.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (f *fanout) remove(s *subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.subscribers, s)
}

// run broadcasts stdin to its end.
func (f *fanout) run(ctx context.Context) {
	for {
		if !f.waitForClient(ctx) {
			return
		}
		chunk := make([]byte, 64<<10)
		n, err := f.in.Read(chunk)
		if n > 0 && !f.broadcast(ctx, chunk[:n]) {
			return
		}
		if err == fdio.ErrInterrupted {
			return // the run is over, and stdin is not: that must not look like its end
		}
		if err != nil {
			f.finish(err)
			return
		}
	}
}

// waitForClient waits until a client is connected. It returns false when the
// run is over.
func (f *fanout) waitForClient(ctx context.Context) bool {
	for len(f.connected()) == 0 {
		select {
		case <-f.arrived:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (f *fanout) connected() []*subscriber {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*subscriber
	for s := range f.subscribers {
		all = append(all, s)
	}
	return all
}

// broadcast gives one chunk to every client. A chunk that no client has taken
// is kept for the next one. It returns false when the run is over.
func (f *fanout) broadcast(ctx context.Context, chunk []byte) bool {
	for taken := false; !taken; {
		if !f.waitForClient(ctx) {
			return false
		}
		for _, s := range f.connected() {
			if s.put(chunk) {
				taken = true
			}
		}
	}
	return true
}

// put waits until the queue has room for a chunk, and reports whether the chunk
// is queued for a client that is still subscribed.
func (s *subscriber) put(chunk []byte) bool {
	subscribed, full := s.tryPut(chunk)
	if !full {
		return subscribed
	}
	patience := idle.New(slowClient)
	defer patience.Stop()
	for full {
		select {
		case <-s.room:
		case <-patience.Fired():
			if !patience.Expired(nil) {
				continue
			}
			s.slow.Store(true)
			s.reset() // its pump is stuck in a write that only this ends
			s.fan.remove(s)
			return false
		case <-s.interrupt.Done():
			s.fan.remove(s)
			return false
		}
		subscribed, full = s.tryPut(chunk)
	}
	return subscribed
}

// tryPut queues a chunk unless the queue is full, for a client that is still
// subscribed: the queue of another is never emptied.
func (s *subscriber) tryPut(chunk []byte) (subscribed, full bool) {
	s.fan.mu.Lock()
	defer s.fan.mu.Unlock()
	if !s.fan.subscribers[s] {
		return false, false
	}
	select {
	case s.chunks <- chunk:
		s.queued.Add(1)
		return true, false
	default:
		return true, true
	}
}

// detach ends the subscription if nothing is queued, and reports whether that
// was so.
func (s *subscriber) detach() bool {
	s.fan.mu.Lock()
	defer s.fan.mu.Unlock()
	if s.ready() {
		return false
	}
	delete(s.fan.subscribers, s)
	return true
}

// finish ends stdin for every client.
func (f *fanout) finish(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	if err != io.EOF {
		f.err = err
	}
	for s := range f.subscribers {
		close(s.chunks)
	}
}

// Kind returns the kind of stdin.
func (s *subscriber) Kind() fdio.Kind { return s.fan.in.Kind() }

// Ready reports whether Read would return at once.
func (s *subscriber) Ready() bool {
	s.fan.mu.Lock()
	defer s.fan.mu.Unlock()
	return s.ready()
}

func (s *subscriber) ready() bool {
	return s.fan.ended || s.queued.Load() > 0 || s.fan.in.Ready()
}

// Read waits for the next bytes of stdin.
func (s *subscriber) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.held { // the reader comes back once it has sent its bytes
			s.queued.Add(-1)
			s.held = false
		}
		var open bool
		select {
		case s.rest, open = <-s.chunks:
			if !open {
				if s.fan.err != nil {
					return 0, s.fan.err
				}
				return 0, io.EOF
			}
			s.held = true
			wake(s.room)
		case <-s.interrupt.Done():
			return 0, fdio.ErrInterrupted
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
