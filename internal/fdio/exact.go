package fdio

import (
	"fmt"
	"io"
)

// An Exact is a regular file of a known size: bytes that are appended to it
// meanwhile are not read, and a file that shrinks is an error.
type Exact struct {
	*File
	Size int64 // bytes
	left int64
}

// NewExact returns f, of which size bytes are left to read.
func NewExact(f *File, size int64) *Exact { return &Exact{f, size, size} }

// Read reads at most to the size of the file.
func (f *Exact) Read(b []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	select {
	case <-f.Interrupt.Done(): // reads of a regular file do not wait, so nothing else ends them
		return 0, ErrInterrupted
	default:
	}
	n, err := f.File.Read(b[:min(int64(len(b)), f.left)])
	f.left -= int64(n)
	if err == io.EOF {
		err = fmt.Errorf("file shrank while it was sent: %d of %d bytes", f.Size-f.left, f.Size)
	}
	return n, err
}
