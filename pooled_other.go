//go:build !unix

package main

import "net"

// A pooledReader is a plain one here.
type pooledReader = connReader

func newPooledReader(c net.Conn) (*pooledReader, error) { return newConnReader(c), nil }
