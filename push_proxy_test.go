//go:build linux

package main

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"purr/internal/testkit"
)

// This file is the network between two purrs when it does harm.

// A harm is a fault of the network in one direction of a connection.
type harm struct {
	kind harmKind
	at   int    // the byte that the harm is done at, counted from 0
	mark string // instead of at: the first place where these bytes go by
}

type harmKind int

const (
	harmNone  harmKind = iota
	harmFlip           // one bit is not as it was
	harmPause          // this direction waits, each time that the mark goes by
	harmStall          // no byte passes either way, and no end is notified
	harmHalf           // the same for this direction only
	harmFIN            // both ends see an orderly end
	harmRST            // both ends see a reset
)

// A relay is a listener that passes connections on and does harm to them.
type relay struct {
	t    testing.TB
	ln   *net.TCPListener
	to   string
	done chan struct{} // closed when the harm is done
	over chan struct{} // closed at the end of the test
	mute atomic.Bool   // whether of further connections only the first answer is passed on, and then nothing either way
	most atomic.Int32  // how many connections are passed on, where others are taken and left alone; 0: all

	paused   chan struct{} // receives when a harmPause begins
	released chan struct{} // ends it

	mu    sync.Mutex
	conns []*net.TCPConn
	state atomic.Int32 // the harm that was done to both directions, a harmKind

	dialerHarmed, listenerHarmed atomic.Bool // for each end's bytes, on some connection
}

// newRelay relays to the given address. fromDialer and fromListener are done to
// each end's bytes, on the first connection that gets so far; others are
// unharmed.
func newRelay(t testing.TB, to string, fromDialer, fromListener harm) *relay {
	t.Helper()
	r := &relay{t: t, ln: listenTest(t), to: to, done: make(chan struct{}), over: make(chan struct{}), paused: make(chan struct{}), released: make(chan struct{})}
	var all sync.WaitGroup
	all.Go(func() {
		for passed := int32(0); ; {
			in, err := r.ln.AcceptTCP()
			if err != nil {
				return
			}
			if most := r.most.Load(); most > 0 && passed == most {
				r.mu.Lock()
				r.conns = append(r.conns, in)
				r.mu.Unlock()
				continue
			}
			passed++
			c, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			out := c.(*net.TCPConn)
			r.mu.Lock()
			r.conns = append(r.conns, in, out)
			r.mu.Unlock()
			if r.mute.Load() && passed > 1 {
				all.Go(func() { muted(out, in) })
				continue
			}
			all.Go(func() { r.pass(out, in, fromDialer, &r.dialerHarmed) })
			all.Go(func() { r.pass(in, out, fromListener, &r.listenerHarmed) })
		}
	})
	t.Cleanup(func() {
		_ = r.ln.Close()
		close(r.over)
		r.end(false)
		all.Wait()
	})
	return r
}

// muted passes on a dialer's bytes up to the listener's first answer, and that
// answer. It reads and drops the later bytes.
func muted(listener, dialer *net.TCPConn) {
	var mute atomic.Bool
	var both sync.WaitGroup
	both.Go(func() {
		b := make([]byte, 64<<10)
		n, _ := listener.Read(b)
		mute.Store(true)
		_, _ = dialer.Write(b[:n])
		_, _ = io.Copy(io.Discard, listener)
	})
	both.Go(func() {
		for b := make([]byte, 64<<10); ; {
			n, err := dialer.Read(b)
			if !mute.Load() {
				_, _ = listener.Write(b[:n])
			}
			if err != nil {
				return
			}
		}
	})
	both.Wait()
}

// addr returns the relay's address, as two operands.
func (r *relay) addr() []string {
	host, port, _ := net.SplitHostPort(r.ln.Addr().String())
	return []string{host, port}
}

// end closes every connection.
func (r *relay) end(reset bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		if reset {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
	r.conns = nil
}

// pass copies from src until src ends or the harm is done, unless that was done
// to another connection.
func (r *relay) pass(dst, src *net.TCPConn, h harm, done *atomic.Bool) {
	if h.kind == harmPause { // which is to find src in the middle, and the system would take tens of megabytes of it
		_ = src.SetReadBuffer(128 << 10)
	}
	b := make([]byte, 64<<10)
	for passed := 0; ; {
		n, err := src.Read(b)
		switch harmKind(r.state.Load()) {
		case harmStall:
			<-r.over
			return
		case harmFIN:
			n = 0
		}
		at := h.at - passed
		if h.mark != "" {
			at = bytes.Index(b[:n], []byte(h.mark))
		}
		if h.kind != harmNone && at >= 0 && at < n && h.kind != harmPause && !done.CompareAndSwap(false, true) {
			h = harm{}
		}
		if h.kind != harmNone && at >= 0 && at < n {
			switch h.kind {
			case harmFlip:
				b[at] ^= 1
			case harmPause:
				r.pause()
			default:
				n = at
			}
		}
		passed += n
		if n > 0 {
			if _, err := dst.Write(b[:n]); err != nil {
				return
			}
		}
		if at >= 0 && (at == n && h.kind > harmPause || at < n && h.kind == harmFlip) {
			r.harmed(dst, src, h.kind)
			h = harm{}
		}
		if err != nil {
			if harmKind(r.state.Load()) != harmRST {
				_ = dst.CloseWrite()
			}
			return
		}
	}
}

// pause waits for a release.
func (r *relay) pause() {
	select {
	case r.paused <- struct{}{}:
		select {
		case <-r.released:
		case <-r.over:
		}
	case <-r.over:
	}
}

// atPause waits for a harmPause, does something and ends it.
func (r *relay) atPause(do func()) {
	r.t.Helper()
	select {
	case <-r.paused:
		do()
		r.released <- struct{}{}
	case <-time.After(testkit.Patience):
		r.t.Fatal("the relay never came to its mark")
	}
}

// harmed does the harm to a connection as a whole, not to single bytes.
func (r *relay) harmed(dst, src *net.TCPConn, kind harmKind) {
	switch kind {
	case harmHalf:
		close(r.done)
		<-r.over
		return
	case harmStall:
		r.state.Store(int32(kind))
	case harmFIN:
		// What comes after is thrown away: a close with bytes unread would be a
		// reset.
		r.state.Store(int32(kind))
		_, _ = dst.CloseWrite(), src.CloseWrite()
	case harmRST:
		r.state.Store(int32(kind))
		r.end(true)
	}
	close(r.done)
}
