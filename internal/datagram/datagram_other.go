//go:build !linux

package datagram

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"purr/internal/fdio"
	"purr/internal/sock"
	"purr/internal/sys"
)

// A Batch holds one datagram.
type Batch struct {
	buf  []byte
	n    int
	from net.Addr
}

// BatchSize is the number of datagrams that one call takes.
const BatchSize = 1

// NewBatch returns a batch of one datagram for sockets of network, a name of
// package net: "unixgram" has larger datagrams than UDP.
func NewBatch(network string, _ int) *Batch { return &Batch{buf: make([]byte, datagramSlot(network))} }

// Data returns the datagram, which is valid until the next Receive.
func (b *Batch) Data(int) []byte { return b.buf[:b.n] }

// Answerable reports whether the datagram has a sender that an answer can
// reach.
func (b *Batch) Answerable(int) bool {
	if from := b.Sender(0); from.IsValid() {
		return from.Port() != 0
	}
	return b.from != nil && b.from.String() != ""
}

// Keep returns n if keep returns true for the datagram, else 0.
func (b *Batch) Keep(n int, keep func(i int) bool) int {
	if n > 0 && keep(0) {
		return n
	}
	return 0
}

// Sender returns the address of the datagram's sender; the zero value for a
// Unix socket.
func (b *Batch) Sender(int) netip.AddrPort { return sock.AddrPort(b.from) }

// SenderName returns the name of the datagram's sender for messages.
func (b *Batch) SenderName(int) string { return sock.PeerName(b.from) }

// Size returns the total length of the first n datagrams in bytes.
func (b *Batch) Size(n int) int { return n * b.n }

// Apply calls f with each of the first n datagrams. f changes the bytes in
// place; its result is ignored.
func (b *Batch) Apply(n int, f func([]byte) []byte) {
	for i := range n {
		f(b.Data(i))
	}
}

// WriteTo writes the first n datagrams to out.
func (b *Batch) WriteTo(out *fdio.File, n int) error {
	for i := range n {
		if _, err := out.Write(b.Data(i)); err != nil {
			return err
		}
	}
	return nil
}

// A Socket receives and sends datagrams one by one.
type Socket struct {
	Local, Remote net.Addr  // Remote is nil for a listener
	Deadline      time.Time // of Receive; zero: none

	// Lost is called by the methods for a datagram that was dropped, with
	// the name of its other end in messages.
	Lost func(peer string, err error)

	// Permits, if set, reports whether datagrams of a sender are received. The
	// others are dropped, without a call of Lost.
	Permits func(from netip.AddrPort) bool

	// Refused, if set, is called when the system of the dialled peer has answered
	// an earlier datagram by ECONNREFUSED.
	Refused func()

	// Prompt makes a sending method drop a datagram that cannot be sent within
	// about 20 ms, as with a full queue. It is for a socket that must not hold up
	// others.
	Prompt bool

	conn   Conn
	peer   atomic.Pointer[net.Addr]
	closed chan struct{} // by Close
}

// Open takes conn over. conn is closed when i fires or the Socket is closed,
// which ends all waits.
func Open(conn Conn, i *fdio.Interrupt) (*Socket, error) {
	s := &Socket{conn: conn, Local: conn.LocalAddr(), Remote: conn.RemoteAddr(), closed: make(chan struct{})}
	go func() {
		select {
		case <-i.Done():
		case <-s.closed:
		}
		_ = conn.Close()
	}()
	return s, nil
}

// Close closes the socket. It may be called once.
func (s *Socket) Close() { close(s.closed) }

// AskForDestination does nothing: the kernel chooses the source address of an
// answer.
func AskForDestination(syscall.RawConn) {}

// ReportErrors does nothing: a socket without a fixed peer gets no ICMP errors.
func (s *Socket) ReportErrors() {}

// Arrived reports whether a datagram waits to be received.
func (s *Socket) Arrived() bool { return sys.Arrived(s.conn) }

// Receive waits for a datagram, stores it in b and returns 1. It drops
// datagrams that Permits rejects, and those that are too long, for which it
// calls Lost. After the Deadline the error is os.ErrDeadlineExceeded.
func (s *Socket) Receive(b *Batch) (n int, err error) {
	if err := s.conn.SetReadDeadline(s.Deadline); err != nil {
		return 0, err
	}
	for {
		b.n, b.from, err = s.conn.ReadFrom(b.buf)
		switch {
		case err != nil:
			return 0, err
		case s.Permits != nil && !s.Permits(b.Sender(0)):
			continue
		case b.n < len(b.buf):
			return 1, nil
		}
		s.lose(sock.PeerName(b.from), ErrTooLong)
	}
}

// replyWait is how long an answer may wait for the queue of its Unix client, on
// systems that have that wait.
const replyWait = 20 * time.Millisecond

// Reply sends the datagram in b back to its sender, if n is not 0. It calls
// Lost if that fails. It returns an error only if the socket was closed.
func (s *Socket) Reply(b *Batch, n int) error {
	if n == 0 {
		return nil
	}
	if !b.Answerable(0) && s.Remote == nil {
		s.lose(sock.PeerName(b.from), ErrNoAddress)
		return nil
	}
	if err := s.send(b.Data(0), b.from, replyWait); fdio.ClosedHere(err) {
		return err
	} else if err != nil {
		s.lose(sock.PeerName(b.from), err)
	}
	return nil
}

// send sends the datagram d to the dialled peer, if there is one, else to the
// address to. There it waits for a Unix peer with a full queue, at most for
// limit (0: without limit); then the error is ErrQueueFull.
func (s *Socket) send(d []byte, to net.Addr, limit time.Duration) error {
	if s.Prompt {
		limit = replyWait
	}
	if s.Remote != nil && !s.Prompt {
		_, err := s.conn.Write(d)
		return err
	}
	var deadline time.Time
	if limit > 0 {
		deadline = time.Now().Add(limit)
	}
	err := s.conn.SetWriteDeadline(deadline)
	switch {
	case err != nil:
		return err
	case s.Remote != nil:
		_, err = s.conn.Write(d)
	default:
		_, err = s.conn.WriteTo(d, to)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrQueueFull
	}
	return err
}

// SetPeer makes the sender of the datagram the peer of SendToPeer.
func (s *Socket) SetPeer(b *Batch, _ int) {
	from := b.from
	s.peer.Store(&from)
}

// KeepPeer returns n if the datagram is from the peer, else 0. SetPeer must
// have been called.
func (s *Socket) KeepPeer(b *Batch, n int) int {
	if b.from == nil || b.from.String() != (*s.peer.Load()).String() {
		return 0
	}
	return n
}

// PeerName returns the name of SetPeer's peer for messages: "the peer" if there
// is none yet.
func (s *Socket) PeerName() string {
	if peer := s.peer.Load(); peer != nil {
		return sock.PeerName(*peer)
	}
	return "the peer"
}

// SendToPeer sends one datagram to the peer of SetPeer, or else to the dialled
// one. A listener waits for a Unix peer with a full queue, at most for limit
// (0: without limit); then the error is ErrQueueFull.
func (s *Socket) SendToPeer(d []byte, limit time.Duration) error {
	peer := s.peer.Load()
	if peer == nil {
		return s.send(d, nil, limit)
	}
	if *peer == nil {
		return ErrNoAddress
	}
	return s.send(d, *peer, limit)
}
