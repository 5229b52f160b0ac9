package sock

import "net"

// A bufferedReader reads from a connection into a buffer of its own. It serves
// connections that cannot be waited for without one: encrypted ones, and all on
// systems that wait with a buffer.
type bufferedReader struct {
	conn    net.Conn
	buf     []byte
	end     error // that the last read returned beside its bytes
	Waiting bool  // whether the last error came from reading, not from handle
}

// newBufferedReader returns a reader of c with a buffer of its own.
func newBufferedReader(c net.Conn) *bufferedReader {
	size := 64 << 10
	if c != Under(c) { // a wrapper: under TLS a read returns one record at most
		size = 16 << 10
	}
	return &bufferedReader{conn: c, buf: make([]byte, size)}
}

// Next waits for bytes and calls handle with them, which must not keep them. It
// returns the number of bytes, and the error of the read or of handle; io.EOF
// when the peer has finished. An error that the read returns beside bytes is
// returned by the next call.
func (r *bufferedReader) Next(handle func([]byte) error) (n int, err error) {
	r.Waiting = true
	if err = r.end; err == nil {
		n, err = r.conn.Read(r.buf)
	}
	if n == 0 && err != nil {
		return 0, err
	}
	r.end = err
	r.Waiting = false
	return n, handle(r.buf[:n])
}
