package push

import (
	"bufio"
	"io"

	"purr/internal/store"
)

// A pipe hands the blocks of one file from the reader of a stream to the store:
// they go from the socket to where they are hashed and written.
type pipe struct {
	ready  chan struct{} // closed when the store takes blocks
	blocks *store.Blocks // after ready; the reader's until ended, failed or gone
	failed chan struct{} // closed when the store takes no more
	ended  chan struct{} // closed when no more comes, with err
	err    error         // io.EOF after the last byte
	gone   chan struct{} // closed when nothing is stored any more
}

// newPipe returns a pipe whose fill waits until receive or close is called.
func newPipe() *pipe {
	return &pipe{ready: make(chan struct{}), failed: make(chan struct{}), ended: make(chan struct{}), gone: make(chan struct{})}
}

// receive lets fill write into b, and returns once end was called or the store
// has failed. The error is nil after the last byte, an *store.Error of the
// store, or the reason that was passed to end.
func (p *pipe) receive(b *store.Blocks) error {
	p.blocks = b
	close(p.ready)
	select {
	case <-p.ended:
	case <-p.failed:
	}
	if err := b.Close(); err != nil {
		return err
	}
	if p.err == io.EOF {
		return nil
	}
	return p.err
}

// close makes fill drop all content that still comes if receive was never
// called. The storing goroutine calls it once.
func (p *pipe) close() { close(p.gone) }

// fill reads the next n bytes of in into the store's blocks, and calls moved
// with the bytes of each read. It waits while the store is slow, and discards
// the bytes if the store has failed or the pipe is closed. The error is that of
// in.
func (p *pipe) fill(in *bufio.Reader, n int, moved func(int)) error {
	select {
	case <-p.ready:
	case <-p.gone:
		_, err := in.Discard(n)
		return err
	}
	for n > 0 {
		var room []byte
		if !closed(p.failed) {
			if room = p.blocks.Next(); room == nil {
				close(p.failed)
			}
		}
		if room == nil {
			_, err := in.Discard(n)
			return err
		}
		got, err := io.ReadFull(in, room[:min(n, len(room))])
		p.blocks.Filled(got)
		moved(got)
		if err != nil {
			return err
		}
		n -= got
	}
	return nil
}

// closed reports whether c is closed. Nothing is ever sent on it.
func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// end marks the end of the content: io.EOF, or the reason why it is cut. Calls
// after the first do nothing.
func (p *pipe) end(err error) {
	if !closed(p.ended) {
		p.err = err
		close(p.ended)
	}
}
