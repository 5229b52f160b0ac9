package broker

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/idle"
)

// A Member is one client. As an fdio.Source it is what the others send, for one
// reading goroutine; its Copier sends to them.
type Member struct {
	Client
	broker *Broker
	lines  lines
	slow   atomic.Bool
	more   chan struct{} // has room for one signal: there is something to read

	mu     sync.Mutex
	chunks [][]byte // to be read
	size   int      // of chunks, as put counts
	held   bool     // whether bytes were read that may not be sent yet
	closed bool     // whether nothing is queued any more

	// For senders that wait: closed when bytes are taken; nil: none waits.
	room chan struct{}
	// When bytes were taken or acknowledged last, or a sender began to wait, and
	// the unacknowledged bytes then.
	progress time.Time
	unacked  int
}

// chunkCost is what a queue holds beside the bytes of a chunk: one-byte chunks
// would otherwise take a multiple of the room.
const chunkCost = 32

// put queues text, which nothing changes later. If the queue is full, room is
// closed when bytes are taken. Neither holds if the member is gone. With
// anyway, put exceeds the room; a member that has twice as much is dropped.
func (m *Member) put(text []byte, anyway bool) (queued bool, room <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	full := m.size >= m.broker.Room
	switch {
	case m.closed:
		return false, nil
	case anyway && m.size >= 2*m.broker.Room:
		go m.drop()
		return false, nil
	case full && !anyway:
		if m.room == nil {
			m.room = make(chan struct{})
			m.sample()
			m.progress = time.Now()
		}
		return false, m.room
	}
	m.chunks = append(m.chunks, text)
	m.size += len(text) + chunkCost
	m.signal()
	return true, nil
}

// signal wakes the reader.
func (m *Member) signal() {
	select {
	case m.more <- struct{}{}:
	default:
	}
}

// wake wakes the senders that wait. mu is held.
func (m *Member) wake() {
	if m.room != nil {
		close(m.room)
		m.room = nil
	}
}

// await waits for room and queues text. A member that takes nothing for the
// Patience is dropped, and one whose conversation is over is not waited for:
// neither gets the text. The error is fdio.ErrInterrupted if stop is closed.
func (m *Member) await(text []byte, stop <-chan struct{}) (queued bool, err error) {
	patience := idle.New(m.broker.Patience / samples)
	defer patience.Stop()
	for {
		queued, room := m.put(text, false)
		if room == nil {
			return queued, nil
		}
		select {
		case <-room:
		case <-patience.Fired():
			if patience.Expired(m.left) {
				m.drop()
			}
		case <-m.Interrupt.Done():
			return false, nil
		case <-stop:
			return false, fdio.ErrInterrupted
		}
	}
}

// samples is how often progress is looked for within the Patience.
const samples = 10

// left returns the time until the next sample. It is not positive once the
// Patience since the last progress is over.
func (m *Member) left() (left time.Duration, pending bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sample()
	return min(m.broker.Patience-time.Since(m.progress), m.broker.Patience/samples), false
}

// sample records progress if the number of unacknowledged bytes has changed. mu
// is held.
func (m *Member) sample() {
	if m.Unacked == nil {
		return
	}
	if n, err := m.Unacked(); err == nil && n != m.unacked {
		m.unacked, m.progress = n, time.Now()
	}
}

// drop ends the conversation of a member that takes nothing.
func (m *Member) drop() {
	m.slow.Store(true)
	m.close(true)
	m.Reset() // its pump is stuck in a write that only this ends
}

// close ends the queue: what it holds can still be read, unless empty is true.
func (m *Member) close(empty bool) {
	m.broker.remove(m)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if empty {
		m.chunks, m.size = nil, 0
	}
	m.wake()
	m.signal()
}

// Slow reports whether the member was dropped because it took nothing.
func (m *Member) Slow() bool { return m.slow.Load() }

// Leave ends the membership. It is called once.
func (m *Member) Leave() {
	m.close(true)
	if m.broker.Chat {
		m.broker.announce("<user" + m.lines.name() + "> is disconnected.")
	}
}

// Read waits for bytes of the others; io.EOF once this client has finished. A
// call means that the bytes of the call before have been sent.
func (m *Member) Read(b []byte) (int, error) {
	for {
		if n, closed := m.take(b); n > 0 {
			return n, nil
		} else if closed {
			return 0, io.EOF
		}
		select {
		case <-m.more:
		case <-m.Interrupt.Done():
			return 0, fdio.ErrInterrupted
		}
	}
}

// take moves queued bytes to b, and wakes the senders that wait for room.
func (m *Member) take(b []byte) (n int, closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n < len(b) && len(m.chunks) > 0 {
		took := copy(b[n:], m.chunks[0])
		n += took
		m.size -= took
		if m.chunks[0] = m.chunks[0][took:]; len(m.chunks[0]) == 0 {
			m.chunks[0] = nil
			m.chunks = m.chunks[1:]
			m.size -= chunkCost
		}
	}
	if m.held = n > 0; m.held {
		m.progress = time.Now()
		m.wake()
	}
	return n, m.closed
}

// Ready reports whether there is something for the client that it has not been
// sent, or the end.
func (m *Member) Ready() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed || m.held || len(m.chunks) > 0
}

// Kind returns fdio.FIFO: the others may send at any time, and the end of this
// client ends what it gets.
func (m *Member) Kind() fdio.Kind { return fdio.FIFO }

// Write sends b to all others. It waits for those with a full queue.
func (m *Member) Write(b []byte) (int, error) { return len(b), m.write(b, false) }

// write is Write; end is true once nothing follows.
func (m *Member) write(b []byte, end bool) error {
	text := m.broker.text(&m.lines, b, end)
	if len(text) == 0 {
		return nil
	}
	_, err := m.broker.send(m, text, m.Interrupt.Done())
	return err
}

// Copier returns a copier of what the client sends, read from src. Its Close
// means that the client has finished: it gets what is queued for it, and then
// the end.
func (m *Member) Copier(src io.Reader, filters ...copier.Filter) copier.Copier {
	return receiver{copier.New(m, src, filters...), m}
}

// A receiver is the copier of Copier.
type receiver struct {
	copier.Copier
	member *Member
}

// Close frees the copier and ends the member's queue.
func (r receiver) Close() {
	r.Copier.Close()
	_ = r.member.write(nil, true) // the last line, without its newline
	r.member.close(false)
}
