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

// receive lets fill write into b. It returns once end was called or the store
// has failed, and closes b. The error is nil after the last byte, the
// *store.Error of b, or the reason that was passed to end.
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

// close is called once by the storing goroutine, when it stores nothing any
// more. If receive was never called, fill then discards the content instead of
// waiting.
func (p *pipe) close() { close(p.gone) }

// fill reads the next n bytes of in into the store's blocks, and calls moved
// with the number of bytes of each read. It waits while the store is slow. If
// the store has failed or the pipe is closed, it discards the bytes without a
// call of moved. The error is that of in.
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

// end marks the end of the content. err is io.EOF after the last byte, else the
// reason why the content is cut. Calls after the first do nothing.
func (p *pipe) end(err error) {
	if !closed(p.ended) {
		p.err = err
		close(p.ended)
	}
}
