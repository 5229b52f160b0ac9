//go:build !linux

package sock

import "net"

// Acked returns false: the system does not report it.
func Acked(net.Conn, bool, int64) (n int64, known bool) { return 0, false }

// AckedByQueue returns false: the system does not report it.
func AckedByQueue(net.Conn, int64) (n int64, known bool) { return 0, false }
