package main

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// A packetConn is a UDP or Unix datagram socket.
type packetConn interface {
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

// temporarySocketName is a name for a Unix datagram client to get its replies
// at: abstract where there is such a thing, else a file that is removed at
// exit.
func temporarySocketName() string {
	name := "purr-" + rand.Text()[:12]
	if runtime.GOOS == "linux" {
		return "@" + name
	}
	return filepath.Join(os.TempDir(), name)
}
