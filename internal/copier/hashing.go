package copier

import (
	"fmt"
	"io"
	"sync/atomic"

	"purr/internal/digest"
	"purr/internal/fdio"
)

// A Sum is the size and digest of the bytes that a hashing copier has written.
// It is complete once the copier is closed.
type Sum struct {
	Size   int64 // bytes
	SHA256 []byte

	limit int64 // in bytes; negative: none
}

// count adds n bytes. It returns a LimitError once there are more than the
// limit.
func (s *Sum) count(n int) error {
	if s.Size += int64(n); s.limit >= 0 && s.Size > s.limit {
		return LimitError{s.limit}
	}
	return nil
}

// A LimitError is the error of a source that has more than Limit bytes.
type LimitError struct{ Limit int64 }

// Error returns the limit in words.
func (e LimitError) Error() string { return fmt.Sprintf("more than %d bytes", e.Limit) }

// A hashingCopier is a bufferCopier that hashes the written bytes in another
// goroutine. It writes nothing beyond the limit.
type hashingCopier struct {
	Sum
	dst      io.Writer
	src      io.Reader
	filters  []Filter
	digester *digest.Hasher
	writing  atomic.Bool
}

// NewHashing returns a copier through a buffer that also computes the SHA-256
// of the written bytes. If a Copy would take their number beyond limit, it
// writes nothing and fails with a LimitError; a negative limit is none. Close
// waits for the hashing, for a few milliseconds. The Sum is complete then.
func NewHashing(dst io.Writer, src io.Reader, limit int64, filters ...Filter) (Copier, *Sum) {
	created("digest")
	c := &hashingCopier{Sum: Sum{limit: limit}, dst: dst, src: src, filters: filters, digester: digest.New(nil)}
	return c, &c.Sum
}

// Copy copies the bytes of one read.
func (c *hashingCopier) Copy(max int) (int, error) {
	block := c.digester.Block()
	n, err := c.src.Read(block[:min(max, len(block))])
	b := block[:n]
	for _, f := range c.filters {
		b = f(b)
	}
	writeErr := c.write(b)
	c.digester.Put(b)
	switch {
	case writeErr != nil:
		return n, &fdio.CopyError{Reading: false, Err: writeErr}
	case err != nil && err != io.EOF:
		err = &fdio.CopyError{Reading: true, Err: err}
	}
	return n, err
}

// write writes b. If b exceeds the limit, it writes nothing and returns a
// LimitError.
func (c *hashingCopier) write(b []byte) error {
	if err := c.count(len(b)); err != nil || len(b) == 0 {
		return err
	}
	c.writing.Store(true)
	defer c.writing.Store(false)
	_, err := c.dst.Write(b)
	return err
}

// Blocked reports whether a write is under way.
func (c *hashingCopier) Blocked() bool { return c.writing.Load() }

// Close waits until all bytes are hashed and completes the Sum.
func (c *hashingCopier) Close() { c.SHA256 = c.digester.Sum() }
