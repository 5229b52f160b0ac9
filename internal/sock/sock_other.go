//go:build !linux

package sock

import (
	"net"
	"time"
)

// Unacked returns 0: the system does not report it. The next read or write
// still reports a reset.
func Unacked(net.Conn) (int, error) { return 0, nil }

// Unsent returns 0: the system does not report it.
func Unsent(net.Conn) int { return 0 }

// PeerClosed returns false: only a read would show it.
func PeerClosed(net.Conn) bool { return false }

// Broken returns false: the system does not report it.
func Broken(net.Conn) bool { return false }

// Delivered returns true and 0: the system does not report either.
func Delivered(net.Conn) (all bool, rtt time.Duration) { return true, 0 }
