//go:build !unix

package sock

import "net"

// A Reader is a plain one here.
type Reader = connReader

func NewReader(c net.Conn) (*Reader, error) { return newConnReader(c), nil }
