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

// A spliceSocket moves bytes from one socket to another, through a pipe of its
// own, because splice needs one at one end. io.Copy does the same, but takes an
// urgent byte for the end of the stream, or waits behind it for ever.
type spliceSocket struct {
	in, out syscall.RawConn
	admit   func(n int) error // waits until n bytes may be sent; nil: no limit
	pipe    [2]int            // its reading and writing end
	waiting atomic.Bool       // for out
}

// newSpliceSocket returns a copier between two sockets. It returns nil if dst
// is no socket, or if the process is out of descriptors for the pipe.
func newSpliceSocket(in syscall.RawConn, dst io.Writer) Copier {
	c := &spliceSocket{in: in}
	if limited, ok := dst.(*rate.Writer); ok {
		dst, c.admit = limited.Writer, limited.Admit
	}
	out, ok := sock.RawStream(dst)
	if !ok || unix.Pipe2(c.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	created("splice")
	c.out = out
	fdio.EnlargePipe(c.pipe[1])
	return c
}

// Copy moves the bytes of one splice(2) and leaves the pipe empty. So EAGAIN of
// the source means that there is nothing to read yet, or that splice is stuck
// at an urgent byte. A plain read goes past that byte.
func (c *spliceSocket) Copy(max int) (n int, err error) {
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
	return n, c.write(n, func(fd, done int) (int, error) { return splice(fd, c.pipe[0], n-done) })
}

// copyPlain copies the bytes of one plain read; io.EOF when the peer has
// finished.
func (c *spliceSocket) copyPlain(max int) (n int, err error) {
	buf := plainBuffers.Get().(*plainBuffer)
	defer plainBuffers.Put(buf)
	if n, err = readPlain(c.in, buf, max); err != nil {
		return 0, err
	}
	return n, c.write(n, func(fd, done int) (int, error) {
		m, err := unix.SendmsgN(fd, buf[done:n], nil, nil, unix.MSG_NOSIGNAL)
		return m, err
	})
}

// write sends n bytes to out, once they are admitted. It calls send with the
// number of bytes that are sent so far, until all of them are; send returns the
// number that it has added.
func (c *spliceSocket) write(n int, send func(fd, done int) (int, error)) error {
	if c.admit != nil {
		if err := c.admit(n); err != nil {
			return &fdio.CopyError{Reading: false, Err: err}
		}
	}
	var err error
	done := 0
	writeErr := c.out.Write(func(fd uintptr) bool {
		for done < n {
			var m int
			if m, err = send(int(fd), done); err == unix.EINTR {
				continue
			}
			c.waiting.Store(err == unix.EAGAIN)
			if err != nil {
				return err != unix.EAGAIN
			}
			done += m
		}
		return true
	})
	c.waiting.Store(false)
	if writeErr != nil {
		return &fdio.CopyError{Reading: false, Err: writeErr}
	}
	if err != nil {
		return &fdio.CopyError{Reading: false, Err: os.NewSyscallError("splice", err)}
	}
	return nil
}

func (c *spliceSocket) Blocked() bool { return c.waiting.Load() }

// Close frees the pipe.
func (c *spliceSocket) Close() {
	_ = unix.Close(c.pipe[0])
	_ = unix.Close(c.pipe[1])
}
