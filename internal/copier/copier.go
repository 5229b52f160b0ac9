// Package copier moves bytes between two ends in the fastest way that was
// measured for their kinds: spliced inside the kernel where that wins, else
// through a buffer.
package copier

import (
	"io"

	"purr/internal/fdio"
)

// A Copier moves bytes from a source to a destination. One goroutine uses it.
type Copier interface {
	// Copy waits for bytes, passes on at most max of them and returns the number
	// taken from the source. The error is io.EOF at the end of the source, else a
	// *fdio.CopyError, a LimitError inside one or a filter's own. Bytes that were
	// taken are never kept back for a later call.
	Copy(max int) (int, error)
	// Blocked reports whether the destination does not take bytes that the source
	// has given or is known to have. Any goroutine may call it.
	Blocked() bool
	// Close frees what the copier holds. Both ends stay open.
	Close()
}

// A Filter changes bytes on their way and returns the result, which may be b
// itself and is valid until the next call. It sees the bytes of one direction of
// one connection, in order, cut anywhere.
type Filter func(b []byte) []byte

// New returns the fastest copier from src to dst. Only a concrete *fdio.File,
// *net.TCPConn or *net.UnixConn (as dst also inside a *rate.Writer) can be copied
// inside the kernel, and only without filters; any other pair takes a buffer.
func New(dst io.Writer, src io.Reader, filters ...Filter) Copier {
	if len(filters) == 0 {
		if c := kernelCopier(dst, src); c != nil {
			return c
		}
	}
	return NewBuffer(dst, src, bufferSize(dst, src, filters), filters...)
}

// MaxSlice is the most that one Copy takes when nothing else limits it, in
// bytes. Callers count and keep time between two slices, so a slice must not last
// long on a slow link either.
const MaxSlice = 1 << 20

// Run calls Copy(max) until the source ends (nil) or an error comes. moved is
// called after each slice with its size; an error of moved ends the copying and
// is returned.
func Run(c Copier, max int, moved func(int) error) error {
	for {
		n, err := c.Copy(max)
		if n > 0 {
			if failed := moved(n); failed != nil && err == nil {
				err = failed
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

// bufferSize is the size that measured fastest (see bench/): large enough to
// make system calls rare, small enough to stay in the processor's cache.
func bufferSize(dst io.Writer, src io.Reader, filters []Filter) int {
	in, fromFile := src.(fdio.Source)
	out, toFile := dst.(*fdio.File)
	switch {
	case len(filters) > 0:
		return 256 << 10
	case fromFile && in.Kind() == fdio.Regular, toFile && (out.Kind() == fdio.Append || out.Kind() == fdio.Regular):
		return 1 << 20
	}
	return 64 << 10
}

// TestHook, if set, is called with the kind of each copier that is made. Tests
// prove by it that a fast kind was not silently left.
var TestHook func(kind string)

func took(name string) {
	if TestHook != nil {
		TestHook(name)
	}
}
