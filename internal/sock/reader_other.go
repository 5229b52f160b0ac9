//go:build !unix

package sock

import "net"

// A pooledReader is a plain one here.
type pooledReader = connReader

func NewReader(c net.Conn) (*pooledReader, error) { return newConnReader(c), nil }
