//go:build !unix

package sock

import "net"

// A Reader reads from a connection into a buffer of its own.
type Reader = bufferedReader

// NewReader returns a Reader for c, which stays the caller's to close.
func NewReader(c net.Conn) (*Reader, error) { return newBufferedReader(c), nil }
