// Package datagram receives and sends datagrams of UDP and Unix sockets in batches,
// and answers each from the address that it was sent to.
package datagram

import (
	"fmt"
	"net"
	"syscall"
)

// A Conn is a UDP or Unix datagram socket.
type Conn interface {
	net.Conn
	net.PacketConn
	syscall.Conn
}

// datagramSlot is how much room one received datagram gets, so that none is
// ever cut: UDP's length field ends at 65,535; a Unix datagram is limited by
// the sender's buffer, 208 KiB unless somebody raised it.
func datagramSlot(network string) int {
	if network == "unixgram" {
		return 1 << 20
	}
	return 1 << 16
}

// errTruncated says that a datagram did not fit into its slot.
var errTruncated = fmt.Errorf("a datagram of more than %d bytes was cut", 1<<20)

// MaxPayload is the most that one read of stdin puts into a datagram: what
// IPv4 carries, 65,535 bytes less its header and UDP's (RFC 768, RFC 791).
const MaxPayload = 65507
