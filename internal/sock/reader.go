package sock

import "net"

// A connReader reads from a connection into a buffer of its own. It is for
// those that cannot be waited for without one: encrypted connections, and
// every connection where the system wants a buffer to wait with.
type connReader struct {
	conn    net.Conn
	buf     []byte
	end     error // what the last read found behind its bytes
	Waiting bool  // whether the last error came from reading, not from use
}

func newConnReader(c net.Conn) *connReader {
	size := 64 << 10
	if c != Under(c) {
		size = 16 << 10 // a read gives one TLS record at most
	}
	return &connReader{conn: c, buf: make([]byte, size)}
}

// Next waits for bytes and hands them to use, which must not keep them. It
// returns how many there were; io.EOF when the peer finished.
func (r *connReader) Next(use func([]byte) error) (n int, err error) {
	r.Waiting = true
	if err = r.end; err == nil {
		n, err = r.conn.Read(r.buf)
	}
	if n == 0 && err != nil {
		return 0, err
	}
	r.end = err
	r.Waiting = false
	return n, use(r.buf[:n])
}
