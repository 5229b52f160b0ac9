// Package copier copies bytes from a source to a destination in the fastest way
// that was measured for their kinds: inside the kernel where that wins
// (splice(2), MSG_TRUNC), else through a buffer.
package copier

import (
	"io"

	"purr/internal/fdio"
)

// A Copier copies bytes from a source to a destination. It is for one
// goroutine, except for Blocked.
type Copier interface {
	// Copy waits for bytes, writes at most max of them and returns the number
	// taken from the source. The error is io.EOF at the end of the source, else a
	// *fdio.CopyError, which may wrap a LimitError. Bytes that were taken are
	// never kept back for a later call.
	Copy(max int) (int, error)
	// Blocked reports whether Copy waits for the destination to take
	// bytes. Any goroutine may call it.
	Blocked() bool
	// Close frees the copier's buffers and descriptors. Both ends stay open.
	Close()
}

// A Filter changes the bytes of one direction of one connection. It gets them
// in order, cut anywhere. The result may be b, changed in place, and is valid
// until the next call.
type Filter func(b []byte) []byte

// New returns the fastest copier from src to dst, which the caller closes.
// Bytes stay inside the kernel only if there are no filters, and src or dst is
// a bare *net.TCPConn or *net.UnixConn; as dst it may also be inside a
// *rate.Writer. Every other pair takes a buffer.
func New(dst io.Writer, src io.Reader, filters ...Filter) Copier {
	if len(filters) == 0 {
		if c := kernelCopier(dst, src); c != nil {
			return c
		}
	}
	return NewBuffer(dst, src, bufferSize(dst, src, filters), filters...)
}

// MaxSlice is the most that one Copy should take, in bytes. Callers count bytes
// and check timeouts between two slices, so a slice must not last long on a
// slow link either.
const MaxSlice = 1 << 20

// Run calls Copy(max) until the source ends or a call fails. It returns nil at
// the end of the source. moved is called after each slice with its size; an
// error of moved ends the copying and is returned.
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

// bufferSize returns the size of the buffer in bytes that measured fastest for
// the pair: large enough for few system calls, small enough for the processor's
// cache.
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

// TestHook, if set, is called with the kind of each new copier: "splice",
// "discard", "buffer" or "digest". Tests check by it that a pair is still
// copied inside the kernel. Between two sockets it is called once splice
// begins.
var TestHook func(kind string)

// created calls the TestHook.
func created(name string) {
	if TestHook != nil {
		TestHook(name)
	}
}
