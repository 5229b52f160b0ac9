// Package datagram receives and sends datagrams of UDP and Unix sockets in
// batches (recvmmsg(2), sendmmsg(2), UDP_SEGMENT in udp(7)), and answers each
// from the address that it was sent to. Only Linux has batches; elsewhere a
// batch holds one datagram.
package datagram

import (
	"fmt"
	"net"
	"syscall"
)

// A Conn is a UDP or Unix datagram socket: a *net.UDPConn or *net.UnixConn.
type Conn interface {
	net.Conn
	net.PacketConn
	syscall.Conn
}

// datagramSlot returns the room for one received datagram in bytes, large
// enough that none is cut: UDP's length field ends at 65,535 (RFC 768), and a
// Unix datagram is limited by the sender's buffer, by default 208 KiB.
func datagramSlot(network string) int {
	if network == "unixgram" {
		return 1 << 20
	}
	return 1 << 16
}

// errTruncated is the error of a datagram that does not fit into its slot.
var errTruncated = fmt.Errorf("a datagram of more than %d bytes was cut", 1<<20)

// MaxPayload is the largest payload of a UDP datagram over IPv4 in bytes:
// 65,535 less the headers of IPv4 and UDP (RFC 768, RFC 791).
const MaxPayload = 65507
