package copier

import (
	"io"
	"sync/atomic"

	"purr/internal/fdio"
)

// A bufferCopier reads into a buffer and writes from it: every pair works, and
// for a regular file into a socket it is also the fastest (sendfile hands over
// single pages).
type bufferCopier struct {
	dst     io.Writer
	src     io.Reader
	filters []Filter
	buf     []byte
	writing atomic.Bool
}

// NewBuffer returns a copier through a buffer of size bytes, which is also the
// most that one read takes: datagrams stay apart.
func NewBuffer(dst io.Writer, src io.Reader, size int, filters ...Filter) Copier {
	took("buffer")
	return &bufferCopier{dst: dst, src: src, filters: filters, buf: make([]byte, size)}
}

func (w *bufferCopier) Copy(max int) (int, error) {
	n, err := w.src.Read(w.buf[:min(max, len(w.buf))])
	if n > 0 {
		b := w.buf[:n]
		for _, f := range w.filters {
			b = f(b)
		}
		if len(b) > 0 {
			w.writing.Store(true)
			_, err := w.dst.Write(b)
			w.writing.Store(false)
			if err != nil {
				return n, &fdio.CopyError{Reading: false, Err: err}
			}
		}
	}
	if err != nil && err != io.EOF {
		err = &fdio.CopyError{Reading: true, Err: err}
	}
	return n, err
}

func (w *bufferCopier) Blocked() bool { return w.writing.Load() }

func (w *bufferCopier) Close() {}
