package copier

import (
	"io"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/rate"
	"purr/internal/sock"
	"purr/internal/sys"
)

// A spliceSocket moves bytes from one socket to another: by plain reads while a
// buffer takes all that has arrived, and by splice(2) as soon as one was full.
// splice needs a pipe at one end, whose system calls would be a large part of a
// short conversation. io.Copy splices, too, but takes an urgent byte for the
// end of the stream, or waits behind it for ever.
type spliceSocket struct {
	in, out syscall.RawConn
	admit   func(n int) error // waits until n bytes may be sent; nil: no limit
	plain   *sock.Reader      // of in
	full    bool              // whether it has filled its buffer
	pipe    [2]int            // its reading and writing end
	opened  bool
	waiting atomic.Bool // for out

	rest []byte // read, and still to be written; nil: left bytes are in the pipe
	left int
	err  error // of the last call

	// Bound once, because a closure for each call would be an allocation.
	send    func([]byte) error
	attempt func(fd uintptr) bool
}

// newSpliceSocket returns a copier from in to dst. It returns nil if dst is
// neither a socket nor a rate.Writer over one, whose limit the copier keeps.
func newSpliceSocket(in syscall.RawConn, dst io.Writer) Copier {
	c := &spliceSocket{in: in, plain: sock.NewRawReader(in)}
	if limited, ok := dst.(*rate.Writer); ok {
		dst, c.admit = limited.Writer, limited.Admit
	}
	out, ok := sock.RawStream(dst)
	if !ok {
		return nil
	}
	c.out, c.send, c.attempt = out, c.sendPlain, c.writeRest
	return c
}

// Copy moves the bytes of one read(2) or splice(2), and leaves the pipe empty.
func (c *spliceSocket) Copy(max int) (int, error) {
	if !c.opened && !(c.full && c.openPipe()) {
		return c.copyPlain(max)
	}
	return c.copySpliced(max)
}

// copySpliced copies the bytes of one splice(2). As the pipe is empty, EAGAIN
// of the source means that there is nothing to read yet, or that splice is
// stuck at an urgent byte. A plain read goes past that byte.
func (c *spliceSocket) copySpliced(max int) (n int, err error) {
	stuck := false
	readErr := c.in.Read(func(fd uintptr) bool {
		n, err = splice(c.pipe[1], int(fd), max)
		stuck = err == unix.EAGAIN && sys.Readable(int(fd))
		return err != unix.EAGAIN || stuck
	})
	switch {
	case readErr != nil:
		return 0, &fdio.CopyError{Reading: true, Err: readErr}
	case stuck, n == 0 && err == nil:
		return c.copyPlain(max)
	case refused(err):
		return 0, errRefused
	case err != nil:
		return 0, &fdio.CopyError{Reading: true, Err: os.NewSyscallError("splice", err)}
	}
	return n, c.write(nil, n)
}

// openPipe opens the pipe. It returns false if the process is out of
// descriptors, and may be called again then.
func (c *spliceSocket) openPipe() bool {
	if unix.Pipe2(c.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return false
	}
	created("splice")
	fdio.EnlargePipe(c.pipe[1])
	c.opened = true
	return true
}

// copyPlain copies the bytes of one plain read; io.EOF when the peer has
// finished.
func (c *spliceSocket) copyPlain(max int) (int, error) {
	n, err := nextPlain(c.plain, max, c.send)
	c.full = n == min(max, sock.ReadSize)
	return n, err
}

// sendPlain sends the bytes of a plain read.
func (c *spliceSocket) sendPlain(b []byte) error { return c.write(b, len(b)) }

// write sends n bytes to out, once they are admitted: b, or if that is nil
// those in the pipe.
func (c *spliceSocket) write(b []byte, n int) error {
	if c.admit != nil {
		if err := c.admit(n); err != nil {
			return &fdio.CopyError{Reading: false, Err: err}
		}
	}
	c.rest, c.left = b, n
	err := c.out.Write(c.attempt)
	c.rest = nil
	c.waiting.Store(false)
	if err == nil {
		err = c.err
	}
	if err != nil {
		return &fdio.CopyError{Reading: false, Err: err}
	}
	return nil
}

// writeRest writes until nothing is left. It returns false if out has no room,
// so that Go's poller calls it again once there is some.
func (c *spliceSocket) writeRest(fd uintptr) bool {
	for c.left > 0 {
		call, n := "splice", 0
		if c.rest == nil {
			n, c.err = splice(int(fd), c.pipe[0], c.left)
		} else {
			call = "sendmsg"
			n, c.err = unix.SendmsgN(int(fd), c.rest[len(c.rest)-c.left:], nil, nil, unix.MSG_NOSIGNAL)
		}
		switch c.err {
		case nil:
			c.waiting.Store(false)
			c.left -= n
		case unix.EINTR:
		case unix.EAGAIN:
			c.waiting.Store(true)
			return false
		default:
			c.err = os.NewSyscallError(call, c.err)
			return true
		}
	}
	return true
}

func (c *spliceSocket) Blocked() bool { return c.waiting.Load() }

// Close frees the pipe.
func (c *spliceSocket) Close() {
	if c.opened {
		_ = unix.Close(c.pipe[0])
		_ = unix.Close(c.pipe[1])
	}
}
