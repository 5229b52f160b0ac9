package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"purr/internal/display"
)

// Offsets into an NTP packet, RFC 5905 7.3.
const (
	ntpLen        = 48
	ntpRefID      = 12
	ntpOrigin     = 24
	ntpReceive    = 32
	ntpTransmit   = 40
	ntpModeServer = 4
)

// buildNTP returns a client packet with nothing but a random transmit
// timestamp. The server repeats it, and it does not reveal our clock
// (draft-ietf-ntp-data-minimization).
func buildNTP(*Target) []byte {
	p := make([]byte, ntpLen)
	p[0] = 0x23 // no leap warning, version 4, mode 3 (client)
	copy(p[ntpTransmit:], nonce(8))
	return p
}

// matchNTP accepts a server's packet whose origin timestamp is our transmit
// timestamp. The fact is its stratum and clock offset.
func matchNTP(x *Exchange) (Answer, bool) {
	r := x.Reply
	if len(r) < ntpLen || len(x.Request) < ntpLen || r[0]&7 != ntpModeServer ||
		!bytes.Equal(r[ntpOrigin:ntpReceive], x.Request[ntpTransmit:ntpLen]) {
		return Answer{}, false
	}
	if r[1] == 0 { // kiss-o'-death, with its reason in the reference ID (RFC 5905 7.4)
		return Answer{Fact: "kiss-o'-death " + display.Payload(bytes.TrimRight(r[ntpRefID:ntpRefID+4], "\x00"), 4)}, true
	}
	fact := fmt.Sprintf("stratum %d", r[1])
	if r[0]>>6 == 3 || r[1] >= 16 {
		return Answer{Fact: fact + ", not synchronised"}, true
	}
	if !x.Sent.IsZero() {
		fact += fmt.Sprintf(", offset %+.3f ms", float64(ntpOffset(x))/float64(time.Millisecond))
	}
	return Answer{Fact: fact}, true
}

// ntpOffset returns the server's clock minus ours: ((T2-T1)+(T3-T4))/2, RFC
// 5905 8.
func ntpOffset(x *Exchange) time.Duration {
	ahead := ntpTime(x.Reply[ntpReceive:], x.Sent).Sub(x.Sent)
	behind := ntpTime(x.Reply[ntpTransmit:], x.Received).Sub(x.Received)
	return ahead/2 + behind/2 // halves first: two offsets of a hundred years overflow together
}

// ntpTime returns the time of an NTP timestamp. Of the eras it takes the one
// that is nearest to about (RFC 5905 6).
func ntpTime(b []byte, about time.Time) time.Time {
	const since1900 = 2208988800 // seconds from the NTP epoch to Unix's
	seconds := binary.BigEndian.Uint32(b)
	delta := int32(seconds - uint32(about.Unix()+since1900))
	nanos := uint64(binary.BigEndian.Uint32(b[4:])) * 1e9 >> 32
	return time.Unix(about.Unix()+int64(delta), int64(nanos))
}
