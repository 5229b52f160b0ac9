package copier

import (
	"io"
	"sync/atomic"

	"purr/internal/fdio"
)

// A bufferCopier copies through a buffer. It works for every pair, and from a
// regular file to a socket it is also the fastest: sendfile(2) passes single
// pages.
type bufferCopier struct {
	dst     io.Writer
	src     io.Reader
	filters []Filter
	buf     []byte
	writing atomic.Bool
}

// NewBuffer returns a copier through a buffer of size bytes. Each Copy makes
// one read of at most size bytes and at most one write, so that datagrams stay
// apart.
func NewBuffer(dst io.Writer, src io.Reader, size int, filters ...Filter) Copier {
	created("buffer")
	return &bufferCopier{dst: dst, src: src, filters: filters, buf: make([]byte, size)}
}

// Copy copies the bytes of one read.
func (c *bufferCopier) Copy(max int) (int, error) {
	n, err := c.src.Read(c.buf[:min(max, len(c.buf))])
	if n > 0 {
		if err := c.write(c.buf[:n]); err != nil {
			return n, &fdio.CopyError{Reading: false, Err: err}
		}
	}
	if err != nil && err != io.EOF {
		err = &fdio.CopyError{Reading: true, Err: err}
	}
	return n, err
}

// write filters b and writes it. A filter may wait, too.
func (c *bufferCopier) write(b []byte) error {
	c.writing.Store(true)
	defer c.writing.Store(false)
	for _, f := range c.filters {
		b = f(b)
	}
	if len(b) == 0 {
		return nil
	}
	_, err := c.dst.Write(b)
	return err
}

func (c *bufferCopier) Blocked() bool { return c.writing.Load() }

func (c *bufferCopier) Close() {}
