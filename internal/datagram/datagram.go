// Package datagram receives and sends datagrams of UDP and Unix sockets in
// batches (recvmmsg(2), sendmmsg(2), UDP_SEGMENT in udp(7)), and answers each
// from the address that it was sent to. Only Linux has batches; elsewhere a
// batch holds one datagram.
package datagram

import (
	"errors"
	"net"
	"syscall"

	"purr/internal/sock"
)

// A Conn is a UDP or Unix datagram socket: a *net.UDPConn or *net.UnixConn.
type Conn interface {
	net.Conn
	net.PacketConn
	syscall.Conn
}

// datagramSlot returns the room for one received datagram in bytes. UDP's
// length field ends at 65,535 (RFC 768). A Unix datagram is limited by what the
// kernel allocates for one: 4,263,616 bytes on Linux with pages of 4 KiB, less
// on other systems. Memory that no datagram fills costs address space only.
func datagramSlot(network string) int {
	if network == "unixgram" {
		return 8 << 20
	}
	return 1 << 16
}

// ErrTooLong is the error of a received datagram that was longer than any that
// the system is known to send. It was dropped.
var ErrTooLong = errors.New("a datagram that was too long to be received whole was dropped")

// ErrQueueFull is the error of a datagram to a Unix socket whose reader does
// not keep up. It was not sent.
var ErrQueueFull = errors.New("its queue of datagrams is full")

// ErrNoAddress is the error of an answer to a datagram that has no sender: one
// of a Unix socket without a name, or from UDP port 0 (RFC 768, "source port").
var ErrNoAddress = errors.New("it has no address to answer to")

// MaxPayload is the largest payload of a UDP datagram over IPv4 in bytes:
// 65,535 less the headers of IPv4 and UDP (RFC 768, RFC 791).
const MaxPayload = 65507

// lose calls Lost, if it is set.
func (s *Socket) lose(peer string, err error) {
	if s.Lost != nil {
		s.Lost(peer, err)
	}
}

// SetFirstPeer drops those of the first n datagrams that come from UDP port 0,
// because a conversation with such a sender cannot be held. It calls Lost for
// each. The sender of the first one that is left becomes the peer of
// SendToPeer. It returns the number of datagrams left; if that is 0, the peer
// is not set.
func (s *Socket) SetFirstPeer(b *Batch, n int) int {
	n = b.Keep(n, func(i int) bool {
		from := b.Sender(i)
		if from.IsValid() && from.Port() == 0 {
			s.lose(sock.PeerName(net.UDPAddrFromAddrPort(from)), ErrNoAddress)
			return false
		}
		return true
	})
	if n > 0 {
		s.SetPeer(b, 0)
	}
	return n
}

// SetLastPeer makes a sender of the first n datagrams the peer of SendToPeer:
// the last sender that an answer can reach. It returns false, and leaves the
// peer as it is, if no answer can reach any of them.
func (s *Socket) SetLastPeer(b *Batch, n int) bool {
	for i := n - 1; i >= 0; i-- {
		if b.Answerable(i) {
			s.SetPeer(b, i)
			return true
		}
	}
	return false
}
