//go:build !linux

package datagram

import (
	"net"
	"net/netip"
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

// NewBatch returns a batch of one datagram for sockets of a network of package
// net.
func NewBatch(network string, _ int) *Batch { return &Batch{buf: make([]byte, datagramSlot(network))} }

// Data returns the datagram, which is valid until the next Receive.
func (b *Batch) Data(int) []byte { return b.buf[:b.n] }

// Sender returns the address of its sender; the zero value for a Unix socket.
func (b *Batch) Sender(int) netip.AddrPort { return sock.AddrPort(b.from) }

// Size returns the bytes in the first n datagrams.
func (b *Batch) Size(n int) int { return n * b.n }

// Apply calls f, which changes bytes in place and returns them, with each of
// the first n datagrams.
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

	conn Conn
	peer atomic.Pointer[net.Addr]
}

// Open takes conn over. i closes it, which ends all waits.
func Open(conn Conn, i *fdio.Interrupt) (*Socket, error) {
	go func() {
		<-i.Done()
		_ = conn.Close()
	}()
	return &Socket{conn: conn, Local: conn.LocalAddr(), Remote: conn.RemoteAddr()}, nil
}

// Close does nothing: the interrupt has closed the socket.
func (s *Socket) Close() {}

// AskForDestination does nothing: the kernel chooses the source address of an
// answer.
func AskForDestination(syscall.RawConn) {}

// ReportErrors does nothing: a socket without a fixed peer gets no ICMP errors.
func (s *Socket) ReportErrors() {}

// Arrived reports whether a datagram waits to be received.
func (s *Socket) Arrived() bool { return sys.Arrived(s.conn) }

// Receive waits for a datagram and returns 1. It returns os.ErrDeadlineExceeded
// after the Deadline.
func (s *Socket) Receive(b *Batch) (n int, err error) {
	if err := s.conn.SetReadDeadline(s.Deadline); err != nil {
		return 0, err
	}
	b.n, b.from, err = s.conn.ReadFrom(b.buf)
	if err != nil {
		return 0, err
	}
	if b.n == len(b.buf) {
		return 0, errTruncated
	}
	return 1, nil
}

// Reply sends each of the first n datagrams of b back to its sender. It calls
// lost for one that cannot be sent; its own error is that of the socket.
func (s *Socket) Reply(b *Batch, n int, lost func(to string, err error)) error {
	for i := range n {
		var err error
		if s.Remote != nil {
			_, err = s.conn.Write(b.Data(i))
		} else {
			_, err = s.conn.WriteTo(b.Data(i), b.from)
		}
		if fdio.ClosedHere(err) {
			return err
		}
		if err != nil {
			lost(sock.PeerName(b.from), err)
		}
	}
	return nil
}

// SetPeer makes the sender of the datagram the peer of SendToPeer.
func (s *Socket) SetPeer(b *Batch, _ int) {
	from := b.from
	s.peer.Store(&from)
}

// KeepPeer returns n if the datagram is the peer's, else 0. SetPeer must have
// been called.
func (s *Socket) KeepPeer(b *Batch, n int) int {
	if b.from == nil || b.from.String() != (*s.peer.Load()).String() {
		return 0
	}
	return n
}

// PeerName returns the name of the peer in messages.
func (s *Socket) PeerName() string {
	if peer := s.peer.Load(); peer != nil {
		return sock.PeerName(*peer)
	}
	return "the peer"
}

// SendToPeer sends one datagram to the dialled peer, or to that of SetPeer.
func (s *Socket) SendToPeer(d []byte) error {
	if peer := s.peer.Load(); peer != nil && s.Remote == nil {
		_, err := s.conn.WriteTo(d, *peer)
		return err
	}
	_, err := s.conn.Write(d)
	return err
}
