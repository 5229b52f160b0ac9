package payload

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// A ping is a request for an echo server. It is text, so that a terminal can
// show it:
//
//	purr-ping SESSION SEQUENCE COUNT\n
//
// in 16, 8 and 8 hex digits. SESSION is random. COUNT leaves as zeros.
//
// A plain echo cannot distinguish a lost request from a lost answer: in both
// cases the sender receives nothing. The kernel does not help: Linux sets the
// IP identification of unfragmentable datagrams to zero, and only raw sockets
// see it. Therefore a purr that echoes writes into COUNT how many different
// pings of the session have arrived, like the reflector's sequence number of
// stateful STAMP (RFC 8762 4.3.1). Other echo servers return the zeros, and the
// directions stay unknown.
const (
	pingPrefix     = "purr-ping "
	pingSessionAt  = len(pingPrefix)
	pingSessionLen = 16
	pingSequenceAt = pingSessionAt + pingSessionLen + 1
	pingCountAt    = pingSequenceAt + 8 + 1

	// PingSize is the length of every ping in bytes.
	PingSize = pingCountAt + 8 + 1
)

// NewPingSession returns a random session of 16 hex digits.
func NewPingSession() string { return hexNonce(pingSessionLen / 2) }

// NewPing returns the ping of a session with a sequence number.
func NewPing(session string, sequence uint32) []byte {
	return fmt.Appendf(nil, "%s%s %08x %08x\n", pingPrefix, session, sequence, 0)
}

// PingCount returns COUNT of a ping. It reports false if b is no ping.
func PingCount(b []byte) (count uint32, ok bool) {
	if len(b) != PingSize || !bytes.HasPrefix(b, []byte(pingPrefix)) || b[PingSize-1] != '\n' {
		return 0, false
	}
	return hex32(b[pingCountAt:])
}

// hex32 parses the first 8 bytes of b as lower-case hex digits.
func hex32(b []byte) (n uint32, ok bool) {
	for _, c := range b[:8] {
		digit := strings.IndexByte("0123456789abcdef", c)
		if digit < 0 {
			return 0, false
		}
		n = n<<4 | uint32(digit)
	}
	return n, true
}

// buildEcho returns the first ping of a new session; an echo service (RFC 862)
// returns the same bytes.
func buildEcho(*Target) []byte { return NewPing(NewPingSession(), 0) }

// matchEcho accepts the request's own bytes; in a ping COUNT may differ.
func matchEcho(x *Exchange) (Answer, bool) {
	if len(x.Request) == 0 {
		return Answer{}, false
	}
	if bytes.Equal(x.Reply, x.Request) {
		return Answer{Fact: "same bytes"}, true
	}
	_, ok := PingCount(x.Reply)
	if ok && len(x.Request) == PingSize && bytes.Equal(x.Reply[:pingCountAt], x.Request[:pingCountAt]) {
		return Answer{Fact: "same bytes, counted"}, true
	}
	return Answer{}, false
}

// pingCounter counts the pings of one peer. The zero value is ready.
type pingCounter struct {
	session [pingSessionLen]byte
	count   uint32
	highest uint32
	seen    uint64 // bit i: highest-i has been counted
}

// stamp counts the ping b unless it is a duplicate, and writes the count into
// it. It returns false, and leaves b as it is, if b is not a ping or was
// stamped already.
func (c *pingCounter) stamp(b []byte) bool {
	if count, ok := PingCount(b); !ok || count != 0 {
		return false
	}
	seq, ok := hex32(b[pingSequenceAt:])
	if !ok {
		return false
	}
	const window = 64 // bits of seen
	if session := [pingSessionLen]byte(b[pingSessionAt:]); session != c.session {
		*c = pingCounter{session: session, highest: seq, seen: 1, count: 1}
	} else if ahead := int64(seq) - int64(c.highest); ahead > 0 {
		c.seen = c.seen<<uint(min(ahead, window)) | 1
		c.highest = seq
		c.count++
	} else if bit := uint64(1) << uint(min(-ahead, window)); bit != 0 && c.seen&bit == 0 {
		c.seen |= bit
		c.count++
	}
	copy(b[pingCountAt:], fmt.Sprintf("%08x", c.count))
	return true
}

// A PingCounter counts the pings of at most maxPingPeers peers. The zero value
// is ready. It is not safe for concurrent use.
type PingCounter struct {
	peers map[netip.AddrPort]*pingCounter
}

const maxPingPeers = 1024

// Stamp counts the ping b from a peer, unless it is a duplicate, and writes the
// peer's count into it. It returns false, and leaves b as it is, if b is not a
// ping or was stamped already.
func (c *PingCounter) Stamp(from netip.AddrPort, b []byte) bool {
	if len(b) != PingSize || !bytes.HasPrefix(b, []byte(pingPrefix)) {
		return false
	}
	peer := c.peers[from]
	if peer == nil {
		for other := range c.peers { // any one: its sender notices that the count starts again
			if len(c.peers) < maxPingPeers {
				break
			}
			delete(c.peers, other)
		}
		if c.peers == nil {
			c.peers = map[netip.AddrPort]*pingCounter{}
		}
		peer = &pingCounter{}
		c.peers[from] = peer
	}
	return peer.stamp(b)
}
