package copier

import (
	"io"
	"sync/atomic"
)

// firstRead is the size of the reads that are looked at, in bytes: what a pipe
// holds by default, so that a message that was written at once stays one.
const firstRead = 64 << 10

// NewPeeking is New for a conversation whose first bytes matter: look gets the
// bytes that are written, and must not keep them, until it returns false. Only
// those pass through a buffer where New would copy inside the kernel. A nil
// look is none.
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

// A peekingCopier copies through a buffer first, and then as New does.
type peekingCopier struct {
	current atomic.Pointer[Copier]
	rest    func() Copier // makes the second copier
	more    bool          // whether bytes are still looked at
	second  bool          // whether current is rest's
}

func (c *peekingCopier) set(to Copier) { c.current.Store(&to) }

// Copy copies with the copier of the moment.
func (c *peekingCopier) Copy(max int) (int, error) {
	if !c.more && !c.second {
		c.second = true
		c.Close()
		c.set(c.rest())
	}
	return (*c.current.Load()).Copy(max)
}

// Blocked asks the copier of the moment.
func (c *peekingCopier) Blocked() bool { return (*c.current.Load()).Blocked() }

// Close frees the copier of the moment.
func (c *peekingCopier) Close() { (*c.current.Load()).Close() }
