//go:build !linux

package main

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

// A batch holds the one datagram that a call receives here.
type batch struct {
	buf  []byte
	n    int
	from net.Addr
}

// batchSize is how many datagrams one call takes.
const batchSize = 1

// newBatch returns a batch of one, whatever was asked for.
func newBatch(network string, _ int) *batch { return &batch{buf: make([]byte, datagramSlot(network))} }

// data is the datagram, valid until the next receive.
func (b *batch) data(int) []byte { return b.buf[:b.n] }

// sender is where it came from; the zero value for a Unix socket.
func (b *batch) sender(int) netip.AddrPort { return sock.AddrPort(b.from) }

// size is how many bytes the first n datagrams have.
func (b *batch) size(n int) int { return n * b.n }

// upper changes the first n datagrams.
func (b *batch) upper(n int) {
	for i := range n {
		upper(b.data(i))
	}
}

// writeTo writes the first n datagrams.
func (b *batch) writeTo(out *fdio.File, n int) error {
	for i := range n {
		if _, err := out.Write(b.data(i)); err != nil {
			return err
		}
	}
	return nil
}

// A packetSocket receives and sends datagrams one by one.
type packetSocket struct {
	conn          packetConn
	local, remote net.Addr  // remote is nil for a listener
	deadline      time.Time // for receive; zero: none
	peer          atomic.Pointer[net.Addr]
}

// newPacketSocket takes conn over. The alarm closes it, which ends what waits
// for it.
func newPacketSocket(conn packetConn, a *fdio.Interrupt) (*packetSocket, error) {
	go func() {
		<-a.Done()
		_ = conn.Close()
	}()
	return &packetSocket{conn: conn, local: conn.LocalAddr(), remote: conn.RemoteAddr()}, nil
}

// close does nothing: the alarm has closed the socket.
func (s *packetSocket) close() {}

// askForDestination has no counterpart here: the kernel chooses the address
// that an answer comes from.
func askForDestination(syscall.RawConn) {}

// hearErrors has no counterpart here: a refusal stays unheard on a socket
// without a fixed peer.
func (s *packetSocket) hearErrors() {}

// arrived reports whether a datagram waits to be received.
func (s *packetSocket) arrived() bool { return sys.Arrived(s.conn) }

// receive waits for a datagram; it returns 1.
func (s *packetSocket) receive(b *batch) (n int, err error) {
	if err := s.conn.SetReadDeadline(s.deadline); err != nil {
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

// reply sends the first n datagrams of b back to where they came from. What
// cannot be sent to a peer is told to lost; an error is the socket's own.
func (s *packetSocket) reply(b *batch, n int, lost func(to string, err error)) error {
	for i := range n {
		var err error
		if s.remote != nil {
			_, err = s.conn.Write(b.data(i))
		} else {
			_, err = s.conn.WriteTo(b.data(i), b.from)
		}
		if isClosedByUs(err) {
			return err
		}
		if err != nil {
			lost(sock.PeerName(b.from), err)
		}
	}
	return nil
}

// setPeer makes the sender of the datagram the one that sendToPeer answers.
func (s *packetSocket) setPeer(b *batch, _ int) {
	from := b.from
	s.peer.Store(&from)
}

// keepPeer returns n if the datagram is the peer's, else 0.
func (s *packetSocket) keepPeer(b *batch, n int) int {
	if b.from == nil || b.from.String() != (*s.peer.Load()).String() {
		return 0
	}
	return n
}

// peerName names the peer in messages.
func (s *packetSocket) peerName() string {
	if peer := s.peer.Load(); peer != nil {
		return sock.PeerName(*peer)
	}
	return "the peer"
}

// sendToPeer sends one datagram to the dialled peer, or to the one that setPeer
// named.
func (s *packetSocket) sendToPeer(d []byte) error {
	if peer := s.peer.Load(); peer != nil && s.remote == nil {
		_, err := s.conn.WriteTo(d, *peer)
		return err
	}
	_, err := s.conn.Write(d)
	return err
}
