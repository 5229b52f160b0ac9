//go:build !unix

package main

import "net"

// A pooledReader reads from a connection. Here the system wants a buffer to
// wait with, so each connection has its own.
type pooledReader struct {
	conn    net.Conn
	buf     []byte
	waiting bool // whether the last error came from reading, not from use
}

func newPooledReader(c net.Conn) (*pooledReader, error) {
	return &pooledReader{conn: c, buf: make([]byte, 64<<10)}, nil
}

// read waits for bytes and hands them to use, which must not keep them. It
// returns how many there were; io.EOF when the peer finished.
func (r *pooledReader) read(use func([]byte) error) (int, error) {
	r.waiting = true
	n, err := r.conn.Read(r.buf)
	if err != nil {
		return 0, err
	}
	r.waiting = false
	return n, use(r.buf[:n])
}
