package copier

import (
	"fmt"
	"io"
	"sync/atomic"

	"purr/internal/digest"
	"purr/internal/fdio"
)

// A Sum is what a hashing copier has written. It is complete once the copier is
// closed.
type Sum struct {
	Size   int64  // bytes
	SHA256 []byte // nil if Err is set
	Err    error  // set if what was written could not be read again

	limit int64 // the most bytes that may be written; negative: any number
}

// count adds n bytes, and fails if those are too many.
func (d *Sum) count(n int) error {
	if d.Size += int64(n); d.limit >= 0 && d.Size > d.limit {
		return LimitError{d.limit}
	}
	return nil
}

// A LimitError says that more came than was expected.
type LimitError struct{ Limit int64 }

func (e LimitError) Error() string { return fmt.Sprintf("more than %d bytes", e.Limit) }

// A hashingCopier is a bufferCopier that hashes what it writes, in another
// goroutine. Nothing beyond the limit is written.
type hashingCopier struct {
	Sum
	dst      io.Writer
	src      io.Reader
	filters  []Filter // they may change bytes in place and leave some out
	digester *digest.Hasher
	writing  atomic.Bool
}

// NewHashing is New with a SHA-256 of what is written. More than limit bytes are
// a LimitError and are not written; a negative limit is none. Where a socket is
// spliced into a regular file, the file is hashed behind the copy: it must be
// readable, and be written from its beginning by nothing else. Close waits for the
// hashing, a moment at most, and completes the Sum.
func NewHashing(dst io.Writer, src io.Reader, limit int64, filters ...Filter) (Copier, *Sum) {
	if out, ok := dst.(*fdio.File); ok && out.Kind() == fdio.Regular && len(filters) == 0 {
		if fast := kernelCopier(dst, src); fast != nil {
			w := newBehind(fast, out.File, limit)
			return w, &w.Sum
		}
	}
	took("digest")
	w := &hashingCopier{Sum: Sum{limit: limit}, dst: dst, src: src, filters: filters, digester: digest.New(nil)}
	return w, &w.Sum
}

func (w *hashingCopier) Copy(max int) (int, error) {
	block := w.digester.Block()
	n, err := w.src.Read(block[:min(max, len(block))])
	b := block[:n]
	for _, f := range w.filters {
		b = f(b)
	}
	writeErr := w.write(b)
	w.digester.Put(b)
	switch {
	case writeErr != nil:
		return n, &fdio.CopyError{Reading: false, Err: writeErr}
	case err != nil && err != io.EOF:
		err = &fdio.CopyError{Reading: true, Err: err}
	}
	return n, err
}

// write passes b on, unless that exceeds the limit.
func (w *hashingCopier) write(b []byte) error {
	if err := w.count(len(b)); err != nil || len(b) == 0 {
		return err
	}
	w.writing.Store(true)
	defer w.writing.Store(false)
	_, err := w.dst.Write(b)
	return err
}

func (w *hashingCopier) Blocked() bool { return w.writing.Load() }

// Close waits until everything is hashed.
func (w *hashingCopier) Close() { w.SHA256 = w.digester.Sum() }
