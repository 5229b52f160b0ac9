//go:build !linux

package sock

import "net"

// Acked cannot be known here.
func Acked(net.Conn, bool, int64) (n int64, known bool) { return 0, false }
