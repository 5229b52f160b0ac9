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

// A Batch holds the one datagram that a call receives here.
type Batch struct {
	buf  []byte
	n    int
	from net.Addr
}

// BatchSize is how many datagrams one call takes.
const BatchSize = 1

// NewBatch returns a batch of one, whatever was asked for.
func NewBatch(network string, _ int) *Batch { return &Batch{buf: make([]byte, datagramSlot(network))} }

// Data is the datagram, valid until the next receive.
func (b *Batch) Data(int) []byte { return b.buf[:b.n] }

// Sender is where it came from; the zero value for a Unix socket.
func (b *Batch) Sender(int) netip.AddrPort { return sock.AddrPort(b.from) }

// Size is how many bytes the first n datagrams have.
func (b *Batch) Size(n int) int { return n * b.n }

// Apply calls f with each of the first n datagrams, to change it in place.
func (b *Batch) Apply(n int, f func([]byte)) {
	for i := range n {
		f(b.Data(i))
	}
}

// WriteTo writes the first n datagrams.
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
	conn          Conn
	Local, Remote net.Addr  // remote is nil for a listener
	Deadline      time.Time // for receive; zero: none
	peer          atomic.Pointer[net.Addr]
}

// Open takes conn over. The alarm closes it, which ends what waits
// for it.
func Open(conn Conn, a *fdio.Interrupt) (*Socket, error) {
	go func() {
		<-a.Done()
		_ = conn.Close()
	}()
	return &Socket{conn: conn, Local: conn.LocalAddr(), Remote: conn.RemoteAddr()}, nil
}

// Close does nothing: the alarm has closed the socket.
func (s *Socket) Close() {}

// AskForDestination has no counterpart here: the kernel chooses the address
// that an answer comes from.
func AskForDestination(syscall.RawConn) {}

// ReportErrors has no counterpart here: a refusal stays unheard on a socket
// without a fixed peer.
func (s *Socket) ReportErrors() {}

// Arrived reports whether a datagram waits to be received.
func (s *Socket) Arrived() bool { return sys.Arrived(s.conn) }

// Receive waits for a datagram; it returns 1.
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

// Reply sends the first n datagrams of b back to where they came from. What
// cannot be sent to a peer is told to lost; an error is the socket's own.
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

// SetPeer makes the sender of the datagram the one that sendToPeer answers.
func (s *Socket) SetPeer(b *Batch, _ int) {
	from := b.from
	s.peer.Store(&from)
}

// KeepPeer returns n if the datagram is the peer's, else 0.
func (s *Socket) KeepPeer(b *Batch, n int) int {
	if b.from == nil || b.from.String() != (*s.peer.Load()).String() {
		return 0
	}
	return n
}

// PeerName names the peer in messages.
func (s *Socket) PeerName() string {
	if peer := s.peer.Load(); peer != nil {
		return sock.PeerName(*peer)
	}
	return "the peer"
}

// SendToPeer sends one datagram to the dialled peer, or to the one that setPeer
// named.
func (s *Socket) SendToPeer(d []byte) error {
	if peer := s.peer.Load(); peer != nil && s.Remote == nil {
		_, err := s.conn.WriteTo(d, *peer)
		return err
	}
	_, err := s.conn.Write(d)
	return err
}
