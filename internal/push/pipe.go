package push

import (
	"bufio"
	"io"
)

// A pipe hands the blocks of one file from the reader of a stream to what stores
// the file: they go from the socket into the buffers that Read is given.
type pipe struct {
	buffers chan []byte   // to be filled, from Read
	filled  chan int      // how much of the last one was
	ended   chan struct{} // closed when no more comes, with err
	err     error         // io.EOF after the last byte
	gone    chan struct{} // closed when nothing reads any more

	buf []byte // the reader's: taken from buffers, and not filled yet
}

func newPipe() *pipe {
	return &pipe{buffers: make(chan []byte), filled: make(chan int), ended: make(chan struct{}), gone: make(chan struct{})}
}

// Read implements io.Reader for what stores the file.
func (p *pipe) Read(b []byte) (int, error) {
	select {
	case p.buffers <- b:
		if n := <-p.filled; n > 0 {
			return n, nil
		}
		return 0, io.ErrUnexpectedEOF // end tells what it is; there is no read after it
	case <-p.ended:
		return 0, p.err
	}
}

// close makes fill drop what else comes.
func (p *pipe) close() { close(p.gone) }

// fill passes on the next n bytes of in. It waits while what stores the file is
// slow, and drops the bytes if it has given up. The error is that of in.
func (p *pipe) fill(in *bufio.Reader, n int, moved func(int)) error {
	for n > 0 {
		select {
		case b := <-p.buffers:
			got, err := io.ReadFull(in, b[:min(n, len(b))])
			if got > 0 {
				moved(got)
			}
			if err != nil {
				p.end(err)
			}
			p.filled <- got
			if err != nil {
				return err
			}
			n -= got
		case <-p.gone:
			_, err := in.Discard(n)
			return err
		}
	}
	return nil
}

// end tells what stores the file that nothing more comes: io.EOF, or why not.
// Calls after the first do nothing.
func (p *pipe) end(err error) {
	select {
	case <-p.ended:
	default:
		p.err = err
		close(p.ended)
	}
}
