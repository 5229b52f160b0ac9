//go:build !linux

package sock

import "net"

// Unacked cannot be known here: 0, as if all had arrived. A reset still
// shows in the next read or write.
func Unacked(net.Conn) (int, error) { return 0, nil }

// PeerClosed cannot be asked here without reading.
func PeerClosed(net.Conn) bool { return false }
