package datagram

import (
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"slices"
	"time"

	"purr/internal/sock"
)

// Reasons for not answering a UDP datagram that may have been forged.
var (
	ErrOwnAddress  = errors.New("the answer would come back to this echo")
	ErrServicePort = errors.New("a service at that port would answer the answer")
	ErrLoop        = errors.New("it repeats what it was sent, above 100 datagrams a second")
	ErrInLoop      = errors.New("it repeated what it was sent") // after ErrLoop
)

// chattyPorts are the UDP ports above 1023 of services that answer anything, be
// it with an error, as registered at IANA.
var chattyPorts = []uint16{1434, 1900, 3478, 3702, 5060, 5093, 5351, 5353, 5355, 5683, 11211, 17185, 27015, 27960}

// A LoopGuard keeps a UDP echo out of endless loops. One forged datagram starts
// such a loop, between the echo and another server that answers anything, or
// between the echo and itself. It is for one goroutine.
type LoopGuard struct {
	listens bool
	own     *OwnAddress

	seed  maphash.Seed
	sent  []uint64 // hashes of answers with their addresses, each at its index
	peers map[netip.AddrPort]*repeater
}

// A repeater is a peer that has sent back what it was sent.
type repeater struct {
	count   int       // since begun
	begun   time.Time // of the current second
	dropped bool
	last    time.Time // when it was last heard
}

const (
	repeatLimit  = 100
	repeatWindow = time.Second
	forgiveAfter = 10 * time.Second // of silence
	sentEntries  = 1 << 15
	mostPeers    = 4096
)

// NewLoopGuard returns the guard of a socket. A dialled peer may have any
// address and port; the guard of its socket checks for repetitions only.
func NewLoopGuard(s *Socket) *LoopGuard {
	return &LoopGuard{listens: s.Remote == nil, own: NewOwnAddress(s.Local), seed: maphash.MakeSeed(),
		sent: make([]uint64, sentEntries), peers: make(map[netip.AddrPort]*repeater)}
}

// Filter moves those of the first n datagrams that may be answered to the front
// and returns their number. lost is called with the sender and the reason for
// each of the others. A nil guard lets all pass.
func (g *LoopGuard) Filter(b *Batch, n int, lost func(peer string, err error)) int {
	if g == nil {
		return n
	}
	now := time.Now()
	return b.Keep(n, func(i int) bool {
		from := b.Sender(i)
		err := g.check(from, b.Data(i), now)
		if err != nil {
			lost(sock.PeerName(net.UDPAddrFromAddrPort(from)), err)
		}
		return err == nil
	})
}

// Record remembers the first n datagrams, which are echoed to their senders, so
// that check recognises them when they come back. A nil guard does nothing.
func (g *LoopGuard) Record(b *Batch, n int) {
	if g == nil {
		return
	}
	for i := range n {
		h := g.hash(b.Sender(i), b.Data(i))
		g.sent[h%sentEntries] = h
	}
}

// check returns the reason for not answering the datagram d, or nil. A listener
// does not answer its own address (ErrOwnAddress) or ports of other services
// (ErrServicePort). A peer that sends back more than repeatLimit answers in a
// second gets ErrLoop, then ErrInLoop until it has been silent for
// forgiveAfter.
func (g *LoopGuard) check(from netip.AddrPort, d []byte, now time.Time) error {
	if g.listens {
		switch {
		case g.own.Is(from, now):
			return ErrOwnAddress
		case from.Port() < 1024 || slices.Contains(chattyPorts, from.Port()):
			return ErrServicePort
		}
	}
	h := g.hash(from, d)
	repeats := g.sent[h%sentEntries] == h
	p := g.peers[from]
	switch {
	case p == nil && !repeats:
		return nil
	case p == nil:
		p = g.add(from, now)
	case p.dropped && now.Sub(p.last) > forgiveAfter:
		delete(g.peers, from)
		return nil
	}
	p.last = now
	if p.dropped {
		return ErrInLoop
	}
	if now.Sub(p.begun) >= repeatWindow {
		p.count, p.begun = 0, now
	}
	if repeats {
		p.count++
	}
	if p.count > repeatLimit {
		p.dropped = true
		return ErrLoop
	}
	return nil
}

// add stores and returns a new repeater for the peer from. If there are
// mostPeers already, it drops an arbitrary one.
func (g *LoopGuard) add(from netip.AddrPort, now time.Time) *repeater {
	for other := range g.peers {
		if len(g.peers) < mostPeers {
			break
		}
		delete(g.peers, other)
	}
	p := &repeater{begun: now}
	g.peers[from] = p
	return p
}

// An OwnAddress is the address of a listening socket. It is for one goroutine.
type OwnAddress struct {
	bound  netip.AddrPort
	addrs  map[netip.Addr]bool // of this host
	listed time.Time           // when addrs was read
}

// NewOwnAddress returns the OwnAddress of a socket that is bound to local.
func NewOwnAddress(local net.Addr) *OwnAddress { return &OwnAddress{bound: sock.AddrPort(local)} }

// Is reports whether from is the address of the socket. If the socket listens
// on every address, every address of this host counts, with the socket's port.
// Their list is read again after a second.
func (o *OwnAddress) Is(from netip.AddrPort, now time.Time) bool {
	switch {
	case from.Port() != o.bound.Port():
		return false
	case !o.bound.Addr().IsUnspecified():
		return from.Addr() == o.bound.Addr()
	}
	if o.addrs == nil || now.Sub(o.listed) > time.Second {
		o.addrs, o.listed = make(map[netip.Addr]bool), now
		all, _ := net.InterfaceAddrs()
		for _, a := range all {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				o.addrs[prefix.Addr().Unmap()] = true
			}
		}
	}
	return from.Addr().IsLoopback() || o.addrs[from.Addr()]
}

// hash returns a hash of the datagram d and its peer's address. It is never 0,
// because 0 marks an unused entry of g.sent.
func (g *LoopGuard) hash(peer netip.AddrPort, d []byte) uint64 {
	addr := peer.Addr().As16()
	var key [18]byte
	copy(key[:], addr[:])
	key[16], key[17] = byte(peer.Port()>>8), byte(peer.Port())
	return max(1, maphash.Bytes(g.seed, d)^maphash.Bytes(g.seed, key[:])*0x9e3779b97f4a7c15)
}
