package datagram

import (
	"bytes"
	"net"
	"net/netip"
	"time"
)

// A Peer is the sender of a datagram, and the address that it has sent to:
// answers leave from there.
type Peer struct {
	name, control []byte
}

// AppendKey appends bytes that identify the sender of datagram i together with
// the address that it has sent to, and returns the result.
func (b *Batch) AppendKey(key []byte, i int) []byte {
	h := &b.msgs[i].hdr
	answerFrom(h)
	return append(append(key, b.name(i)...), controlOf(h)...)
}

// Peer returns the sender of datagram i.
func (b *Batch) Peer(i int) *Peer {
	h := &b.msgs[i].hdr
	answerFrom(h)
	return &Peer{name: bytes.Clone(b.name(i)), control: bytes.Clone(controlOf(h))}
}

// Addr returns the address of the peer; the zero value for a Unix socket.
func (p *Peer) Addr() netip.AddrPort { return rawAddrPort(p.name) }

// NetAddr returns the address of the peer, nil if it has none.
func (p *Peer) NetAddr() net.Addr {
	switch from := p.Addr(); {
	case from.IsValid():
		return net.UDPAddrFromAddrPort(from)
	case p.Answerable():
		return &net.UnixAddr{Name: p.String(), Net: "unixgram"}
	}
	return nil
}

// String returns the name of the peer in messages, as senderName.
func (p *Peer) String() string { return senderName(p.name) }

// Answerable reports whether an answer can reach the peer.
func (p *Peer) Answerable() bool {
	if from := p.Addr(); from.IsValid() {
		return from.Port() != 0
	}
	return len(p.name) > 2
}

// Forward sends the datagrams of b whose numbers are in list to one peer, in
// that order; a nil peer is the one that s is connected to. Lost is called for
// each that cannot be sent. The datagrams stay valid. Forward returns an error
// only if the interrupt has fired.
func (s *Socket) Forward(b *Batch, list []int, to *Peer) error {
	greedy, name := false, []byte(nil)
	s.patience.renew(time.Now())
	if to != nil {
		if name = to.name; !to.Answerable() {
			for range list {
				s.lose(to.String(), ErrNoAddress)
			}
			return nil
		}
		s.measure()
		kept := list[:0:0]
		for at, i := range list {
			fits := s.mayTake(name, int(b.msgs[i].len))
			switch {
			case !fits:
				greedy = true
				s.lose(to.String(), ErrQueueFull)
				if len(kept) == 0 {
					kept = append(kept, list[:at]...)
				}
			case greedy:
				kept = append(kept, i)
			}
		}
		if greedy {
			list = kept
		}
	}
	if err := s.pauseFor(greedy); err != nil {
		return err
	}
	return s.send(func(segments bool) []mmsghdr { return b.gatherTo(list, to, segments) })
}

// gatherTo returns the messages that send the datagrams of list to one peer,
// until the next call of it or of gather. If segments is true, consecutive
// datagrams of one size become one message, as in gather.
func (b *Batch) gatherTo(list []int, to *Peer, segments bool) []mmsghdr {
	b.out = b.out[:0]
	for at, i := range list {
		b.outIovs[at].Base = b.msgs[i].hdr.Iov.Base
		b.outIovs[at].SetLen(int(b.msgs[i].len))
	}
	for at := 0; at < len(list); {
		run := 1
		if segments {
			run = b.runOf(list[at:])
		}
		var m mmsghdr
		m.hdr.Iov = &b.outIovs[at]
		m.hdr.SetIovlen(run)
		if to != nil {
			m.hdr.Name, m.hdr.Namelen = &to.name[0], uint32(len(to.name))
			if len(to.control) > 0 {
				m.hdr.Control = &to.control[0]
				m.hdr.SetControllen(len(to.control))
			}
		}
		if run > 1 {
			b.segment(&m.hdr, &b.outControl[at], uint16(b.msgs[list[at]].len))
		}
		b.out = append(b.out, m)
		at += run
	}
	return b.out
}

// runOf returns the number of datagrams from the beginning of list that can be
// one message to one peer: those of the size of the first; the last may be
// shorter.
func (b *Batch) runOf(list []int) int {
	first := b.msgs[list[0]].len
	if first == 0 {
		return 1
	}
	total := 0
	for at, i := range list {
		size := b.msgs[i].len
		total += int(size)
		if at == maxSegments || size == 0 || size > first || total > MaxPayload {
			return at
		}
		if size < first {
			return at + 1
		}
	}
	return len(list)
}
