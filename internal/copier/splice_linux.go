package copier

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/rate"
	"purr/internal/sock"
	"purr/internal/sys"
)

// kernelCopier returns a copier that keeps the bytes inside the kernel, or nil
// for a pair that needs a buffer or is faster with one. Between two sockets it
// splices once a plain read has filled its buffer. Nothing is spliced into a
// regular file: unlike write(2), splice(2) does not lock the offset, which
// other sessions and the processes that inherited the same open file may use at
// the same time.
func kernelCopier(dst io.Writer, src io.Reader) Copier {
	slow := func() Copier { return NewBuffer(dst, src, bufferSize(dst, src, nil)) }
	if conn, ok := sock.RawStream(src); ok {
		switch out, _ := dst.(*fdio.File); {
		case dst == io.Discard:
			return newDiscard(conn, src)
		case out == nil:
			if fast := newSpliceSocket(conn, dst); fast != nil {
				return &fallback{fast: fast, slow: slow}
			}
			return nil
		case out.Kind() == fdio.Pipe || out.Kind() == fdio.FIFO:
			return &fallback{fast: newSpliceOut(conn, out), slow: slow}
		case out.Kind() == fdio.Null:
			return newDiscard(conn, src)
		}
		return nil
	}
	end, admit := dst, (func(int) error)(nil)
	if limited, ok := dst.(*rate.Writer); ok {
		end, admit = limited.Writer, limited.Admit
	}
	if conn, ok := sock.RawStream(end); ok {
		if in, _ := src.(*fdio.File); in != nil && (in.Kind() == fdio.Pipe || in.Kind() == fdio.FIFO) {
			return &fallback{fast: newSpliceIn(conn, in, admit), slow: slow}
		}
	}
	return nil
}

// A fallback copies by splice(2) until that is refused, and then through a
// buffer.
type fallback struct {
	fast Copier
	slow func() Copier
	used atomic.Pointer[Copier] // the buffer; nil: not refused so far
}

// Copy copies by splice(2). Once that is refused, this and every later call
// copy through a buffer.
func (f *fallback) Copy(max int) (int, error) {
	if f.used.Load() == nil {
		n, err := f.fast.Copy(max)
		if err != errRefused {
			return n, err
		}
		slow := f.slow()
		f.used.Store(&slow)
	}
	return f.inUse().Copy(max)
}

// inUse returns the copier that copies now.
func (f *fallback) inUse() Copier {
	if slow := f.used.Load(); slow != nil {
		return *slow
	}
	return f.fast
}

func (f *fallback) Blocked() bool { return f.inUse().Blocked() }

func (f *fallback) Close() {
	f.fast.Close()
	if slow := f.used.Load(); slow != nil {
		(*slow).Close()
	}
}

// errRefused is the error of a Copy that has moved nothing because the system
// does not splice here.
var errRefused = errors.New("splice refused")

// refused reports whether err, of splice(2), means that splice cannot be used
// here: a system call filter forbids it (EPERM, ENOSYS), the kernel lacks it
// (ENOSYS), or the file does (EINVAL, EOPNOTSUPP). Any other error is final: a
// socket reports its error only once, so a buffer would not meet it again.
func refused(err error) bool {
	return err == unix.ENOSYS || err == unix.EPERM || err == unix.EINVAL || err == unix.EOPNOTSUPP
}

// splice moves up to max bytes between two descriptors, one of which is a pipe.
// It does not wait: EAGAIN if either end is not ready.
func splice(out, in, max int) (int, error) {
	for {
		n, err := unix.Splice(in, nil, out, nil, max, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err != unix.EINTR {
			return int(n), err
		}
	}
}

// A spliceOut moves bytes from a socket into a pipe.
//
// EAGAIN may mean either end, so both are waited for in turn: the socket in
// Go's poller, by returning false from the callback, and the pipe in poll(2),
// outside the callback, because a callback that blocks keeps Close from
// finishing. io.Copy would spin on a full pipe instead (golang/go#75304).
//
// splice does not pass an urgent byte (RFC 6093): it stops there with EAGAIN,
// or as if the peer had finished. A plain read goes on past it and finds the
// real end. EPIPE is returned whether or not there is anything to move; a plain
// read finds out.
type spliceOut struct {
	conn    syscall.RawConn
	out     *fdio.File
	plain   *plainCopy
	waiting atomic.Bool // for the pipe
}

func newSpliceOut(conn syscall.RawConn, out *fdio.File) Copier {
	created("splice")
	return &spliceOut{conn: conn, out: out, plain: &plainCopy{in: sock.NewRawReader(conn), out: out}}
}

// Copy moves the bytes of one splice(2), once the socket has some and the pipe
// has room. Where splice is stuck, it copies the bytes of one plain read.
func (c *spliceOut) Copy(max int) (n int, err error) {
	for {
		full, stuck := false, false
		readErr := c.conn.Read(func(fd uintptr) bool {
			n, err = splice(c.out.FD(), int(fd), max)
			if err != unix.EAGAIN {
				return true
			}
			// If there is something to read, the pipe is full; if that has room
			// too, splice is stuck.
			full = sys.Readable(int(fd))
			if full && sys.Writable(c.out.FD()) { // both only now, or stuck
				n, err = splice(c.out.FD(), int(fd), max)
				stuck = err == unix.EAGAIN
			}
			return full
		})
		switch {
		case readErr != nil:
			return 0, &fdio.CopyError{Reading: true, Err: readErr}
		case stuck && err == unix.EAGAIN, n == 0 && err == nil, err == unix.EPIPE:
			return c.plain.Copy(max)
		case full && err == unix.EAGAIN:
			c.waiting.Store(true)
			err := c.out.WaitWritable()
			c.waiting.Store(false)
			if err != nil {
				return 0, &fdio.CopyError{Reading: false, Err: err}
			}
			continue
		case refused(err):
			return 0, errRefused
		case err != nil:
			return 0, &fdio.CopyError{Reading: true, Err: os.NewSyscallError("splice", err)}
		}
		return n, nil
	}
}

func (c *spliceOut) Blocked() bool { return c.waiting.Load() || c.plain.writing.Load() }
func (c *spliceOut) Close()        {}

// A plainCopy reads and writes, where splice is stuck.
type plainCopy struct {
	in      *sock.Reader
	out     *fdio.File
	writing atomic.Bool
}

// Copy copies the bytes of one read; io.EOF when the peer has finished.
func (p *plainCopy) Copy(max int) (int, error) { return nextPlain(p.in, max, p.write) }

// nextPlain calls send with the bytes of one read of at most max bytes, and
// returns their number and the error of send. Without bytes the error is a
// *fdio.CopyError, or io.EOF when the peer has finished.
func nextPlain(in *sock.Reader, max int, send func([]byte) error) (int, error) {
	in.Max = max
	n, err := in.Next(send)
	if err != nil && err != io.EOF && in.Waiting {
		err = &fdio.CopyError{Reading: true, Err: err}
	}
	return n, err
}

func (p *plainCopy) write(b []byte) error {
	p.writing.Store(true)
	defer p.writing.Store(false)
	if _, err := p.out.Write(b); err != nil {
		return &fdio.CopyError{Reading: false, Err: err}
	}
	return nil
}

// A spliceIn moves bytes from a pipe into a socket.
type spliceIn struct {
	conn     syscall.RawConn
	in       *fdio.File
	admit    func(n int) error // waits until n bytes may be sent; nil: no limit
	admitted int               // bytes that were admitted and not yet moved
	waiting  atomic.Bool       // for the socket
}

func newSpliceIn(conn syscall.RawConn, in *fdio.File, admit func(int) error) *spliceIn {
	created("splice")
	return &spliceIn{conn: conn, in: in, admit: admit}
}

// Copy waits for input, for its admission and for room in the socket, and moves
// the bytes of one splice(2). It starts over if another process has emptied the
// pipe meanwhile.
func (c *spliceIn) Copy(max int) (n int, err error) {
	for {
		if err := c.in.WaitReadable(); err != nil {
			return 0, &fdio.CopyError{Reading: true, Err: err}
		}
		c.in.MarkUsed()
		if c.admit != nil {
			if max, err = c.awaitAdmission(max); err != nil {
				return 0, &fdio.CopyError{Reading: false, Err: err}
			}
		}
		empty := false
		writeErr := c.conn.Write(func(fd uintptr) bool {
			n, err = splice(int(fd), c.in.FD(), max)
			if err != unix.EAGAIN {
				return true
			}
			// The socket is full, unless another process has read from the pipe.
			empty = !c.in.Ready()
			c.waiting.Store(!empty)
			return empty
		})
		c.waiting.Store(false)
		switch {
		case writeErr != nil:
			return 0, &fdio.CopyError{Reading: false, Err: writeErr}
		case empty && err == unix.EAGAIN:
			continue
		case refused(err):
			return 0, errRefused
		case err != nil:
			return 0, &fdio.CopyError{Reading: false, Err: os.NewSyscallError("splice", err)}
		case n == 0:
			return 0, io.EOF
		}
		c.admitted -= n
		return n, nil
	}
}

// awaitAdmission waits until some bytes of the pipe may be sent and returns
// their number, at most max. It asks admit only for bytes beyond those that
// were admitted before and not moved. If the pipe is empty it returns 1, enough
// to find the end.
func (c *spliceIn) awaitAdmission(max int) (int, error) {
	here, err := sys.IoctlInt(c.in.FD(), unix.TIOCINQ)
	if err != nil || here == 0 {
		return 1, nil
	}
	n := min(here, max)
	if n > c.admitted {
		if err := c.admit(n - c.admitted); err != nil {
			return 0, err
		}
		c.admitted = n
	}
	return n, nil
}

func (c *spliceIn) Blocked() bool { return c.waiting.Load() }
func (c *spliceIn) Close()        {}

// A discard drops the bytes of a TCP socket. With MSG_TRUNC the kernel does not
// copy them (tcp(7)).
type discard struct{ conn syscall.RawConn }

// newDiscard returns a copier that drops the bytes of src, whose raw connection
// is conn. It returns nil for anything but TCP, for example a Unix socket,
// where MSG_TRUNC has another meaning.
func newDiscard(conn syscall.RawConn, src io.Reader) Copier {
	if _, tcp := src.(*net.TCPConn); !tcp {
		return nil
	}
	created("discard")
	return &discard{conn}
}

// Copy drops the bytes of one call of recvfrom(2) and returns their number.
func (c *discard) Copy(max int) (n int, err error) {
	readErr := c.conn.Read(func(fd uintptr) bool {
		n, err = truncate(int(fd), max)
		return err != unix.EAGAIN
	})
	switch {
	case readErr != nil:
		return 0, &fdio.CopyError{Reading: true, Err: readErr}
	case err != nil:
		return 0, &fdio.CopyError{Reading: true, Err: os.NewSyscallError("recvfrom", err)}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (c *discard) Blocked() bool { return false }
func (c *discard) Close()        {}

// truncate takes up to max bytes from a TCP socket without copying them. The
// kernel does not touch the buffer, so it is nil.
func truncate(fd, max int) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(max), unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}
