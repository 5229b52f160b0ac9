package main

import (
	"fmt"
	"io"
	"sync/atomic"

	"purr/internal/digest"

	"purr/internal/fdio"
)

// A digested is what was written by a way that hashes it. It is to be read once
// the way was closed.
type digested struct {
	limit int64 // the most bytes that may be written; negative: any number
	size  int64
	sum   []byte // the SHA-256
	err   error  // why there is no sum
}

// count books n more bytes, and fails if those are too many.
func (d *digested) count(n int) error {
	if d.size += int64(n); d.limit >= 0 && d.size > d.limit {
		return limitError{d.limit}
	}
	return nil
}

// A limitError says that more came than was expected.
type limitError struct{ limit int64 }

func (e limitError) Error() string { return fmt.Sprintf("more than %d bytes", e.limit) }

// A digestWay is a bufferWay that hashes what it writes, in another goroutine:
// for files whose SHA-256 is to be told. Nothing beyond the limit is written.
type digestWay struct {
	digested
	dst      io.Writer
	src      io.Reader
	filters  []filter // such as change bytes where they are, or leave some out
	digester *digest.Hasher
	writing  atomic.Bool
}

// newDigestWay starts the digester's goroutine; close ends it.
func newDigestWay(dst io.Writer, src io.Reader, filters []filter, limit int64) *digestWay {
	tookWay("digest")
	return &digestWay{digested: digested{limit: limit}, dst: dst, src: src, filters: filters, digester: digest.New(nil)}
}

func (w *digestWay) move(max int) (int, error) {
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

// write passes b on, unless that would be too much.
func (w *digestWay) write(b []byte) error {
	if err := w.count(len(b)); err != nil || len(b) == 0 {
		return err
	}
	w.writing.Store(true)
	defer w.writing.Store(false)
	_, err := w.dst.Write(b)
	return err
}

func (w *digestWay) holding() bool { return w.writing.Load() }

// close waits until everything is hashed.
func (w *digestWay) close() { w.sum = w.digester.Sum() }
