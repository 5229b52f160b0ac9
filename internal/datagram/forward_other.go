//go:build !linux

package datagram

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"purr/internal/fdio"
	"purr/internal/sock"
)

// A Peer is the sender of a datagram.
type Peer struct{ addr net.Addr }

// AppendKey appends bytes that identify the sender of the datagram, and returns
// the result.
func (b *Batch) AppendKey(key []byte, _ int) []byte {
	if b.from == nil {
		return key
	}
	return append(key, b.from.String()...)
}

// Peer returns the sender of the datagram.
func (b *Batch) Peer(int) *Peer { return &Peer{addr: b.from} }

// Addr returns the address of the peer; the zero value for a Unix socket.
func (p *Peer) Addr() netip.AddrPort { return sock.AddrPort(p.addr) }

// NetAddr returns the address of the peer, nil if it has none.
func (p *Peer) NetAddr() net.Addr { return p.addr }

// String returns the name of the peer in messages, as sock.PeerName.
func (p *Peer) String() string { return sock.PeerName(p.addr) }

// Answerable reports whether an answer can reach the peer.
func (p *Peer) Answerable() bool {
	if from := p.Addr(); from.IsValid() {
		return from.Port() != 0
	}
	return p.addr != nil && p.addr.String() != ""
}

// Forward sends the datagram of b, if list is not empty, to one peer; a nil
// peer is the one that s is connected to. Here a batch holds one datagram.
// If Refused is set, ECONNREFUSED is taken to be about an earlier one: Refused
// is called, and this one is sent once more. Lost is called if it cannot be
// sent. Forward returns an error only if the socket was closed.
func (s *Socket) Forward(b *Batch, list []int, to *Peer) error {
	if len(list) == 0 {
		return nil
	}
	var addr net.Addr
	name := "the peer"
	if to != nil {
		if addr, name = to.addr, to.String(); !to.Answerable() {
			s.lose(name, ErrNoAddress)
			return nil
		}
	}
	err := s.send(b.Data(0), addr, replyWait)
	if errors.Is(err, syscall.ECONNREFUSED) && s.Refused != nil { // an earlier datagram was
		s.Refused()
		err = s.send(b.Data(0), addr, replyWait)
	}
	switch {
	case err == nil:
	case fdio.ClosedHere(err):
		return err
	default:
		s.lose(name, err)
	}
	return nil
}
