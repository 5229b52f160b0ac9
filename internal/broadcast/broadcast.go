// Package broadcast gives the bytes of one file to every client that is
// connected when they are read.
package broadcast

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"purr/internal/fdio"
	"purr/internal/idle"
)

// A Broadcast reads a file in chunks, and each subscriber gets them all.
// Without subscribers it does not read. It keeps the order, and waits for the
// slowest.
type Broadcast struct {
	// Patience is how long one subscriber may keep the others waiting. One that
	// takes nothing for so long is reset: to skip it would lose its bytes
	// silently, to wait would stop the others.
	Patience time.Duration

	file    *os.File // nil: there is nothing to read
	once    sync.Once
	in      *fdio.File
	arrived chan struct{} // signalled when the first client subscribes

	mu          sync.Mutex
	subscribers map[*Subscriber]bool
	ended       bool  // whether nothing more is read
	err         error // why the file ended, if not in order
}

// A Subscriber is the source of one client. Read is for one goroutine.
type Subscriber struct {
	from      *Broadcast
	interrupt *fdio.Interrupt
	chunks    chan []byte   // closed at the end of the file
	room      chan struct{} // signalled when a chunk was taken
	rest      []byte        // of the chunk that is being read
	held      bool          // whether a chunk has been taken that may not be sent yet
	queued    atomic.Int32  // chunks that are not sent yet
	reset     func()
	slow      atomic.Bool // whether the client was reset for taking nothing
}

// New returns a Broadcast of a file, which stays the caller's to close. With a
// nil file it has ended from the start.
func New(file *os.File) *Broadcast {
	return &Broadcast{Patience: 10 * time.Second, file: file, arrived: make(chan struct{}, 1), subscribers: make(map[*Subscriber]bool)}
}

// Start begins to read in a goroutine that ends with ctx. Calls after the first
// do nothing and return nil.
func (f *Broadcast) Start(ctx context.Context) (err error) {
	f.once.Do(func() {
		if f.file == nil {
			f.finish(io.EOF)
			return
		}
		stop, interruptErr := fdio.NewInterrupt()
		if interruptErr != nil {
			err = interruptErr
			f.finish(err)
			return
		}
		f.in = fdio.NewReader(f.file, stop)
		context.AfterFunc(ctx, stop.Fire)
		go func() {
			f.run(ctx)
			stop.Close()
		}()
	})
	return err
}

// Subscribe adds a client after Start. The interrupt ends its Read. reset is
// called if the client takes nothing for Patience: it has to end a send to the
// client that is under way. Subscribe returns nil if the file has ended. The
// caller ends the subscription with Leave.
func (f *Broadcast) Subscribe(interrupt *fdio.Interrupt, reset func()) *Subscriber {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil
	}
	s := &Subscriber{from: f, interrupt: interrupt, chunks: make(chan []byte, 16), room: make(chan struct{}, 1), reset: reset}
	f.subscribers[s] = true
	wake(f.arrived)
	return s
}

// Len returns the number of subscribers.
func (f *Broadcast) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subscribers)
}

// Slow reports whether the client was reset because it took nothing.
func (s *Subscriber) Slow() bool { return s.slow.Load() }

// wake wakes the goroutine that waits for c, which has room for one signal.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Leave ends the subscription. Further calls do nothing.
func (s *Subscriber) Leave() {
	s.from.mu.Lock()
	defer s.from.mu.Unlock()
	delete(s.from.subscribers, s)
}

// run broadcasts the file until its end, or until ctx ends.
func (f *Broadcast) run(ctx context.Context) {
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
			return // ctx is over, and the file is not: that must not look like its end
		}
		if err != nil {
			f.finish(err)
			return
		}
	}
}

// waitForClient waits until a client is subscribed. It returns false if ctx
// ends first.
func (f *Broadcast) waitForClient(ctx context.Context) bool {
	for f.Len() == 0 {
		select {
		case <-f.arrived:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// connected returns the present subscribers.
func (f *Broadcast) connected() []*Subscriber {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*Subscriber
	for s := range f.subscribers {
		all = append(all, s)
	}
	return all
}

// broadcast gives one chunk to every client. If none has taken it, broadcast
// waits for the next client. It returns false if ctx ends first.
func (f *Broadcast) broadcast(ctx context.Context, chunk []byte) bool {
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
// is queued for a client that is still subscribed. A client that makes no room
// for Patience is reset, and one whose interrupt has fired is not waited for:
// both leave.
func (s *Subscriber) put(chunk []byte) bool {
	subscribed, full := s.tryPut(chunk)
	if !full {
		return subscribed
	}
	patience := idle.New(s.from.Patience)
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
			s.Leave()
			return false
		case <-s.interrupt.Done():
			s.Leave()
			return false
		}
		subscribed, full = s.tryPut(chunk)
	}
	return subscribed
}

// tryPut queues a chunk, unless the queue is full or the client is not
// subscribed any more: then the queue would never be emptied.
func (s *Subscriber) tryPut(chunk []byte) (subscribed, full bool) {
	s.from.mu.Lock()
	defer s.from.mu.Unlock()
	if !s.from.subscribers[s] {
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

// Detach ends the subscription if there is nothing for the client, as Ready
// reports it, and reports whether that was so.
func (s *Subscriber) Detach() bool {
	s.from.mu.Lock()
	defer s.from.mu.Unlock()
	if s.ready() {
		return false
	}
	delete(s.from.subscribers, s)
	return true
}

// finish ends the file for every client. err is what their Read returns behind
// the queued chunks.
func (f *Broadcast) finish(err error) {
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

// Kind returns the kind of the file.
func (s *Subscriber) Kind() fdio.Kind { return s.from.in.Kind() }

// Ready reports whether there is something for the client: the end of the file,
// a chunk that it has not been sent completely, or bytes to read from the file.
func (s *Subscriber) Ready() bool {
	s.from.mu.Lock()
	defer s.from.mu.Unlock()
	return s.ready()
}

// ready is Ready for a caller that holds the Broadcast's mu.
func (s *Subscriber) ready() bool {
	return s.from.ended || s.queued.Load() > 0 || s.from.in.Ready()
}

// Read waits for the next bytes of the file. A call means that the bytes of the
// call before have been sent. It returns ErrInterrupted after the interrupt has
// fired.
func (s *Subscriber) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.held { // the reader comes back once it has sent its bytes
			s.queued.Add(-1)
			s.held = false
		}
		var open bool
		select {
		case s.rest, open = <-s.chunks:
			if !open {
				if s.from.err != nil {
					return 0, s.from.err
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
