package main

import (
	"fmt"
	"io"
	"sync/atomic"
)

// A digestWay is a bufferWay that hashes what it writes, in another goroutine:
// for files whose SHA-256 is to be told.
type digestWay struct {
	dst      io.Writer
	src      io.Reader
	filters  []filter // such as change bytes where they are, or leave some out
	digester *digester
	limit    int64 // the most bytes that may be written; negative: any number
	writing  atomic.Bool

	// What was written, to be read once close has returned.
	size int64
	sum  []byte
}

// newDigestWay starts the digester's goroutine; close ends it.
func newDigestWay(dst io.Writer, src io.Reader, filters []filter) *digestWay {
	tookWay("digest")
	return &digestWay{dst: dst, src: src, filters: filters, digester: newDigester(nil), limit: -1}
}

// A limitError says that more came than was expected. Nothing beyond the limit
// was written.
type limitError struct{ limit int64 }

func (e limitError) Error() string { return fmt.Sprintf("more than %d bytes", e.limit) }

func (w *digestWay) move(max int) (int, error) {
	block := w.digester.block()
	n, err := w.src.Read(block[:min(max, len(block))])
	b := block[:n]
	for _, f := range w.filters {
		b = f(b)
	}
	writeErr := w.write(b)
	w.digester.put(b)
	switch {
	case writeErr != nil:
		return n, &moveError{reading: false, err: writeErr}
	case err != nil && err != io.EOF:
		err = &moveError{reading: true, err: err}
	}
	return n, err
}

// write passes b on, unless that would be too much.
func (w *digestWay) write(b []byte) error {
	w.size += int64(len(b))
	switch {
	case w.limit >= 0 && w.size > w.limit:
		return limitError{w.limit}
	case len(b) == 0:
		return nil
	}
	w.writing.Store(true)
	defer w.writing.Store(false)
	_, err := w.dst.Write(b)
	return err
}

func (w *digestWay) holding() bool { return w.writing.Load() }

// close waits until everything is hashed.
func (w *digestWay) close() { w.sum = w.digester.sum() }
