package copier

import (
	"io"
	"sync/atomic"
)

// firstRead is the size of the reads that are looked at, in bytes: what a pipe
// holds by default, so that a message that was written at once stays one.
const firstRead = 64 << 10

// NewPeeking is New with a look at the first bytes. look gets the bytes that
// are about to be written, must not keep them, and reports whether it needs
// more. Until it returns false, they pass through a buffer; afterwards New's
// copier copies. A nil look is none.
func NewPeeking(dst io.Writer, src io.Reader, look func([]byte) (more bool), filters ...Filter) Copier {
	if look == nil {
		return New(dst, src, filters...)
	}
	c := &peekingCopier{more: true, rest: func() Copier { return New(dst, src, filters...) }}
	watch := func(b []byte) []byte {
		c.more = c.more && look(b)
		return b
	}
	c.set(&bufferCopier{dst: dst, src: src, filters: append(filters[:len(filters):len(filters)], watch), buf: make([]byte, firstRead)})
	return c
}

// A peekingCopier copies through a buffer while bytes are looked at, and then
// as New does.
type peekingCopier struct {
	current atomic.Pointer[Copier]
	rest    func() Copier // makes the second copier
	more    bool          // whether bytes are still looked at
	second  bool          // whether current is rest's
}

// set makes its argument the current copier.
func (c *peekingCopier) set(to Copier) { c.current.Store(&to) }

// Copy copies with the current copier. Once no more bytes are looked at, it
// first closes the buffer's copier and makes the one of New the current one.
func (c *peekingCopier) Copy(max int) (int, error) {
	if !c.more && !c.second {
		c.second = true
		c.Close()
		c.set(c.rest())
	}
	return (*c.current.Load()).Copy(max)
}

// Blocked is that of the current copier.
func (c *peekingCopier) Blocked() bool { return (*c.current.Load()).Blocked() }

// Close closes the current copier: Copy has closed the one before it.
func (c *peekingCopier) Close() { (*c.current.Load()).Close() }
