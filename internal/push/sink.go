package push

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"purr/internal/rate"
	"purr/internal/sock"
)

// A sink writes to one connection. Lines are collected, and go before blocks.
type sink struct {
	conn net.Conn
	out  io.Writer     // conn, slowed down by the rate
	wake chan struct{} // pending is to be written now
	soon chan struct{} // pending is to be written after a moment
	done chan struct{} // closed when run has ended

	written func(n int64) // called when n bytes of small files are written, or dropped

	socket sync.Mutex // held while something is written
	spare  []byte     // the buffer that was written last; under socket

	mu      sync.Mutex
	drained *sync.Cond // pending was taken, or writing has failed
	pending []byte     // lines, and small files behind theirs
	content int64      // bytes of those files
	over    bool       // shutdown was called: nothing is added
	err     error      // of the first failed write: later ones are dropped
}

// sinkBuffer is how much may be pending: beyond it a small file waits, unless
// nothing is pending.
const sinkBuffer = 128 << 10

// newSink returns a sink whose run is still to be started; ctx ends a wait for
// the rate.
func newSink(ctx context.Context, conn net.Conn, limit *rate.Limiter) *sink {
	s := &sink{conn: conn, out: conn, wake: make(chan struct{}, 1), soon: make(chan struct{}, 1), done: make(chan struct{})}
	if limit != nil {
		s.out = &rate.Writer{Writer: conn, Limit: limit, Admit: func(n int) error { return limit.Wait(ctx, n) }}
	}
	s.drained = sync.NewCond(&s.mu)
	return s
}

// run writes the pending lines when they are due, and a keep-alive every pause.
// It ends when writing has failed, or when everything is written after
// shutdown: then it half-closes the connection.
func (s *sink) run(pause time.Duration) {
	defer close(s.done)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var later <-chan time.Time
	for {
		select {
		case <-s.soon:
			if later == nil {
				later = time.After(moment)
			}
			continue
		case <-later:
		case <-s.wake:
		case <-tick.C:
			s.keepAlive()
			continue
		}
		later = nil
		if s.drain() {
			return
		}
	}
}

// moment is how long a small file or a result waits for others, to leave in one
// segment with them.
const moment = 2 * time.Millisecond

// drain writes the pending lines. It reports whether the sink has ended: after
// a failure, or after the last line of a shutdown, upon which it half-closes
// the connection.
func (s *sink) drain() (last bool) {
	s.socket.Lock()
	defer s.socket.Unlock()
	s.mu.Lock()
	last = s.over
	s.mu.Unlock()
	if s.flush() != nil {
		return true
	}
	if last {
		_ = halfClose(s.conn)
	}
	return last
}

// keepAlive writes an empty line, unless something is being written. The line
// does not count against the rate.
func (s *sink) keepAlive() {
	if !s.socket.TryLock() {
		return
	}
	defer s.socket.Unlock()
	s.mu.Lock()
	ended := s.over || s.err != nil
	s.mu.Unlock()
	if !ended {
		if _, err := s.conn.Write([]byte("\n")); err != nil {
			s.fail(err)
		}
	}
}

// line queues a message; after shutdown or a failure it is dropped. It never
// waits: the flow limits of the protocol bound the queue. Results, links and
// directories leave a moment later, together.
func (s *sink) line(m *message) {
	line := encode(m)
	s.mu.Lock()
	if !s.over && s.err == nil {
		s.pending = append(s.pending, line...)
	}
	s.mu.Unlock()
	if m.Op == opResult || m.Op == opLink || m.Op == opDir {
		signal(s.soon)
	} else {
		signal(s.wake)
	}
}

// signal leaves one wake-up in c, which has a buffer of one; a wake-up that is
// pending already suffices.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// room waits until n bytes of a small file fit into pending. The error is that
// of a failed write. It is called before file, which does not wait.
func (s *sink) room(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.pending) > 0 && len(s.pending)+n > sinkBuffer && s.err == nil {
		s.drained.Wait()
	}
	return s.err
}

// settle waits until at most sinkBuffer bytes are pending. It reports false if
// that takes longer than limit. For a sink that has failed it reports true: the
// reader finds out why.
func (s *sink) settle(limit time.Duration) bool {
	late := false
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) <= sinkBuffer {
		return true
	}
	timer := time.AfterFunc(limit, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.drained.Broadcast()
	})
	defer timer.Stop()
	for len(s.pending) > sinkBuffer && s.err == nil && !late {
		s.drained.Wait()
	}
	return !late
}

// file queues a message with its content behind it. It never waits; the caller
// calls room first. The error is that of a failed write.
func (s *sink) file(m *message, content []byte) error {
	m.N = len(content)
	line := encode(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.pending = append(append(s.pending, line...), content...)
	s.content += int64(len(content))
	if len(s.pending) > sinkBuffer/4 {
		signal(s.wake)
	} else {
		signal(s.soon)
	}
	return nil
}

// blockRoom is the room in front of a block's content that its line needs.
const blockRoom = 128

// block writes a message and its content at once, behind the pending lines.
// block is overwritten: its first blockRoom bytes are free for the line, and
// the content follows them.
func (s *sink) block(m *message, block []byte) error {
	m.N = len(block) - blockRoom
	line := encode(m)
	begin := blockRoom - len(line)
	copy(block[begin:], line)
	s.socket.Lock()
	defer s.socket.Unlock()
	if err := s.flush(); err != nil {
		return err
	}
	return s.write(block[begin:])
}

// flush writes the pending lines until there are none. The caller holds socket,
// so that nothing is written between them.
func (s *sink) flush() error {
	for {
		s.mu.Lock()
		pending, content, err := s.pending, s.content, s.err
		s.pending, s.content = s.spare[:0], 0
		s.mu.Unlock()
		s.drained.Broadcast()
		s.spare = pending
		if err != nil || len(pending) == 0 {
			return err
		}
		err = s.write(pending)
		s.written(content)
		if err != nil {
			return err
		}
	}
}

// write writes b to the connection at the rate, and makes the sink fail if that
// fails. The caller holds socket.
func (s *sink) write(b []byte) error {
	_, err := s.out.Write(b)
	if err != nil {
		s.fail(err)
	}
	return err
}

// fail makes err the sink's error, unless there is one: nothing is written any
// more, and run ends. It does not end the transfer. The reader of the
// connection does that, after it has read the input that came before.
func (s *sink) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.drained.Broadcast()
	signal(s.wake)
}

// stop ends a write under way, and all later ones.
func (s *sink) stop() {
	s.fail(net.ErrClosed)
	_ = s.conn.SetWriteDeadline(time.Unix(1, 0))
}

// shutdown lets run write the pending lines, and half-close the connection.
// Nothing can be written afterwards. It does not wait.
func (s *sink) shutdown() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	signal(s.wake)
}

// halfClose ends the writing direction of c, or of the connection that c wraps.
// Without such a connection it does nothing.
func halfClose(c net.Conn) error {
	for {
		if _, ok := c.(sock.HalfCloser); ok {
			return sock.HalfClose(c)
		}
		over, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = over.NetConn()
	}
}
