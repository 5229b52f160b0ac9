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
	"purr/internal/sock"
)

// slowClient is how long one client may keep the others waiting for stdin. A
// client that takes nothing for so long is let go, and that is said: to go on
// without it would lose its bytes silently, to wait would stop the rest.
var slowClient = 10 * time.Second // a variable for the tests

// A fanout is stdin under -l -k: every chunk that is read goes to every client
// that is connected then. While there is none, stdin is not read.
type fanout struct {
	in      *fdio.File
	arrived chan struct{} // signalled when the first client joins

	mu     sync.Mutex
	shares map[*share]bool
	ended  bool
	err    error // why stdin ended, if not in order
}

// A share is one client's part of stdin; it is that session's source.
type share struct {
	fan    *fanout
	alarm  *fdio.Interrupt
	chunks chan []byte  // closed at the end of stdin
	rest   []byte       // of the chunk being read
	held   bool         // whether a chunk has been taken that may not be sent yet
	queued atomic.Int32 // chunks that were put and not yet sent
	cut    func()       // resets the client's connection
	slow   atomic.Bool  // whether the client was let go for taking nothing
}

// shareStdio is the handler of -l -k without a handler of its own: what any
// client sends goes to stdout, and stdin goes to all of them.
func (p *purr) shareStdio(ctx context.Context, c net.Conn) (err error) {
	s, err := p.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	p.startFanout(ctx)
	if p.fan != nil {
		if sh := p.fan.join(s); sh != nil {
			defer p.fan.leave(sh)
			s.in = sh
			defer func() {
				if sh.slow.Load() {
					err = fmt.Errorf("send to %s: the peer took nothing for %v while others waited", s.peer, slowClient)
				}
			}()
		}
	}
	err = s.relay(ctx)
	if s.stdoutFailed {
		p.stop(err)
	}
	return err
}

// startFanout begins to read stdin when the first client comes, if there is
// anything to read.
func (p *purr) startFanout(ctx context.Context) {
	p.fanOnce.Do(func() {
		a, err := fdio.NewInterrupt()
		if err != nil {
			p.stop(fmt.Errorf("read from stdin: %w", err))
			return
		}
		in := fdio.New(p.stdin, a)
		if !p.hasInput(in.Kind()) {
			a.Close()
			return
		}
		p.fan = &fanout{in: in, arrived: make(chan struct{}, 1), shares: make(map[*share]bool)}
		context.AfterFunc(ctx, a.Fire)
		go func() {
			p.fan.run(ctx)
			a.Close()
		}()
	})
}

// join adds a session's client; nil if stdin has ended already, and the client is served
// as one of a listener without input.
func (f *fanout) join(client *session) *share {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil
	}
	s := &share{fan: f, alarm: client.alarm, chunks: make(chan []byte, 16), cut: func() { sock.Reset(client.conn) }}
	f.shares[s] = true
	select {
	case f.arrived <- struct{}{}:
	default:
	}
	return s
}

func (f *fanout) leave(s *share) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.shares, s)
}

// run reads stdin to its end and hands every chunk on.
func (f *fanout) run(ctx context.Context) {
	for {
		if !f.waitForClient(ctx) {
			return
		}
		chunk := make([]byte, 64<<10)
		n, err := f.in.Read(chunk)
		if n > 0 && !f.hand(ctx, chunk[:n]) {
			return
		}
		if err == fdio.ErrInterrupted {
			return // the run is over, stdin is not: that must not look like its end
		}
		if err != nil {
			f.finish(err)
			return
		}
	}
}

// waitForClient returns when a client is connected, or false when the run is
// over.
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

func (f *fanout) connected() []*share {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*share
	for s := range f.shares {
		all = append(all, s)
	}
	return all
}

// hand gives one chunk to every client. What was read while the last client
// left is kept for the next one.
func (f *fanout) hand(ctx context.Context, chunk []byte) bool {
	for handed := false; !handed; {
		if !f.waitForClient(ctx) {
			return false
		}
		for _, s := range f.connected() {
			if s.put(chunk) {
				handed = true
			}
		}
	}
	return true
}

// put queues a chunk, and reports whether the client was there to take it.
// Whoever is not among the shares any more is given nothing, so that no chunk
// ends up in a queue that nobody empties.
func (s *share) put(chunk []byte) bool {
	const nap = time.Millisecond // counted, so that a time for which purr itself was stopped is none of the client's
	for waited := time.Duration(0); ; waited += nap {
		s.fan.mu.Lock()
		here, full := s.fan.shares[s], false
		if here {
			select {
			case s.chunks <- chunk:
				s.queued.Add(1)
			default:
				full = true
			}
		}
		s.fan.mu.Unlock()
		if !full {
			return here
		}
		if waited > slowClient {
			s.slow.Store(true)
			s.cut() // its pump is stuck in a write that only this ends
			s.fan.leave(s)
			return false
		}
		if s.alarm.Sleep(nap) != nil {
			s.fan.leave(s)
			return false
		}
	}
}

// retire takes the client off the shares if nothing waits for it, and reports
// whether that was so.
func (s *share) retire() bool {
	s.fan.mu.Lock()
	defer s.fan.mu.Unlock()
	if s.fan.ended || s.queued.Load() > 0 || s.fan.in.Ready() {
		return false
	}
	delete(s.fan.shares, s)
	return true
}

// finish tells every client that stdin has ended.
func (f *fanout) finish(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	if err != io.EOF {
		f.err = err
	}
	for s := range f.shares {
		close(s.chunks)
	}
}

func (s *share) Kind() fdio.Kind { return s.fan.in.Kind() }

// Ready reports whether Read would return at once.
func (s *share) Ready() bool {
	s.fan.mu.Lock()
	defer s.fan.mu.Unlock()
	return s.fan.ended || s.queued.Load() > 0 || s.fan.in.Ready()
}

// Read waits for the next bytes of stdin.
func (s *share) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.held { // whoever reads on has sent what he had
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
		case <-s.alarm.Done():
			return 0, fdio.ErrInterrupted
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
