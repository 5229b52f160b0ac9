package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"

	"purr/internal/fdio"
)

// A way moves bytes from one descriptor to another. There is one for every
// pair of kinds that measures differently; newWay chooses.
type way interface {
	// move waits for bytes, passes on at most max of them and returns how
	// many it took from the source; io.EOF when the source has ended. Any
	// other error is a *moveError. Nothing that move took is kept back.
	move(max int) (int, error)
	// holding reports whether the way is waiting for the destination to take
	// bytes that the source has given or is known to have.
	holding() bool
	// close frees what the way holds. The two ends stay open.
	close()
}

// testHookWay, if set, is told which way was taken; the tests prove by it that
// a fast one was not silently left.
var testHookWay func(name string)

// newWay returns the fastest way from src to dst that was measured for their
// kinds. Filters need to see the bytes, so with any of them the way is a
// buffer.
func newWay(dst io.Writer, src io.Reader, filters []filter) way {
	if len(filters) == 0 {
		if w := fastWay(dst, src); w != nil {
			return w
		}
	}
	return newBufferWay(dst, src, filters)
}

func tookWay(name string) {
	if testHookWay != nil {
		testHookWay(name)
	}
}

// A bufferWay reads into a buffer and writes from it: every pair works, and
// for a regular file into a socket it is also the fastest (sendfile hands over
// single pages).
type bufferWay struct {
	dst     io.Writer
	src     io.Reader
	filters []filter
	buf     []byte
	writing atomic.Bool
}

func newBufferWay(dst io.Writer, src io.Reader, filters []filter) *bufferWay {
	tookWay("buffer")
	return &bufferWay{dst: dst, src: src, filters: filters, buf: make([]byte, bufferSize(dst, src, filters))}
}

// bufferSize is the size that measured fastest (see bench/): large enough to
// make system calls rare, small enough to stay in the processor's cache.
func bufferSize(dst io.Writer, src io.Reader, filters []filter) int {
	in, fromStdio := src.(fdio.Source)
	out, toStdio := dst.(*fdio.File)
	switch {
	case len(filters) > 0:
		return 256 << 10
	case fromStdio && in.Kind() == fdio.Regular, toStdio && (out.Kind() == fdio.Append || out.Kind() == fdio.Regular):
		return 1 << 20
	}
	return 64 << 10
}

func (w *bufferWay) move(max int) (int, error) {
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

func (w *bufferWay) holding() bool { return w.writing.Load() }
func (w *bufferWay) close()        {}

// maxSlice is the most that one move takes when nothing else limits it. Between
// two slices the session counts and keeps the time, so a slice must not last
// long on a slow link either.
const maxSlice = 1 << 20

// pump moves bytes along w, at most max at once, until the source ends (nil)
// or an error comes, and reports each slice to moved.
func pump(w way, max int, moved func(int) error) error {
	for {
		n, err := w.move(max)
		if n > 0 {
			if limit := moved(n); limit != nil && err == nil {
				err = limit
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// A pacedWriter passes lines on one by one with an interval between them (-i).
// The first goes out at once, as in nc.
type pacedWriter struct {
	io.Writer
	pause func() error // waits for the interval
	begun bool
}

func (w *pacedWriter) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		if w.begun {
			if err := w.pause(); err != nil {
				return written, err
			}
		}
		line := b[written:]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end+1]
		}
		w.begun = line[len(line)-1] == '\n'
		n, err := w.Writer.Write(line)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// isClosedByUs reports whether err only says that this side has closed the
// connection or ended the wait: no error of the conversation's.
func isClosedByUs(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, fdio.ErrInterrupted)
}
