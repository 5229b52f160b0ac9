//go:build unix && !linux

package main

import (
	"errors"
	"net"
)

// dualStackOptions says whether an IPv6 socket takes the IPv4 options too.
// Only Linux does.
const dualStackOptions = false

// setMinTTL reports that the option cannot be kept: a filter that silently
// does not filter would be worse.
func setMinTTL(int, bool, int) error {
	return errors.New("option -m works on Linux only")
}

// setCork does nothing: what is written leaves at once.
func setCork(*net.TCPConn, bool) {}
