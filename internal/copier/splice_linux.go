package copier

import (
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

// kernelCopier returns a copier that keeps the bytes inside the kernel, or nil if
// there is none for this pair that beats a buffer.
func kernelCopier(dst io.Writer, src io.Reader) Copier {
	if conn, ok := sock.RawStream(src); ok {
		switch out, _ := dst.(*fdio.File); {
		case dst == io.Discard:
			return newDiscard(conn, src)
		case out == nil:
			return nil
		case out.Kind() == fdio.Pipe || out.Kind() == fdio.FIFO:
			return newSpliceOut(conn, out)
		case out.Kind() == fdio.Regular:
			return newSpliceFile(conn, out)
		case out.Kind() == fdio.Null:
			return newDiscard(conn, src)
		}
		return nil
	}
	var admit func(int) error
	if limited, ok := dst.(*rate.Writer); ok {
		dst, admit = limited.Writer, limited.Admit
	}
	if conn, ok := sock.RawStream(dst); ok {
		if in, _ := src.(*fdio.File); in != nil && (in.Kind() == fdio.Pipe || in.Kind() == fdio.FIFO) {
			return newSpliceIn(conn, in, admit)
		}
	}
	return nil
}

// splice moves up to max bytes between two descriptors, one of which is a
// pipe, without waiting: EAGAIN if either end is not ready.
func splice(out, in, max int) (int, error) {
	for {
		n, err := unix.Splice(in, nil, out, nil, max, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err != unix.EINTR {
			return int(n), err
		}
	}
}

// A spliceOut moves bytes from a socket straight into the pipe that stdout is.
//
// EAGAIN does not say which end was not ready, so both are waited for in turn:
// the socket in Go's poller, by returning false from the callback, and the
// pipe in poll(2), outside the callback, because a callback that blocks keeps
// Close from finishing. io.Copy would spin on a full pipe instead
// (golang/go#75304).
//
// splice does not pass a byte that the peer sent as urgent: it stops there with
// EAGAIN, or as if the peer had finished. A plain read goes on, and it also is
// what tells the end. RFC 6093 asks nobody to send such bytes, but some do.
// EPIPE comes whether or not there is anything to move; a plain read tells.
type spliceOut struct {
	conn    syscall.RawConn
	out     *fdio.File
	plain   *plainCopy
	waiting atomic.Bool // for the pipe
}

func newSpliceOut(conn syscall.RawConn, out *fdio.File) Copier {
	took("splice")
	return &spliceOut{conn: conn, out: out, plain: &plainCopy{conn: conn, out: out}}
}

func (w *spliceOut) Copy(max int) (n int, err error) {
	for {
		full, stuck := false, false
		readErr := w.conn.Read(func(fd uintptr) bool {
			n, err = splice(w.out.FD(), int(fd), max)
			if err != unix.EAGAIN {
				return true
			}
			// Something to read means that it is the pipe which is full; if
			// that has room too, splice is stuck.
			full = sys.Readable(int(fd))
			stuck = full && sys.Writable(w.out.FD())
			return full
		})
		switch {
		case readErr != nil:
			return 0, &fdio.CopyError{Reading: true, Err: readErr}
		case stuck && err == unix.EAGAIN, n == 0 && err == nil, err == unix.EPIPE:
			return w.plain.Copy(max)
		case full && err == unix.EAGAIN:
			w.waiting.Store(true)
			err := w.out.WaitWritable()
			w.waiting.Store(false)
			if err != nil {
				return 0, &fdio.CopyError{Reading: false, Err: err}
			}
			continue
		case err != nil:
			return 0, &fdio.CopyError{Reading: true, Err: os.NewSyscallError("splice", err)}
		}
		return n, nil
	}
}

func (w *spliceOut) Blocked() bool { return w.waiting.Load() || w.plain.writing.Load() }
func (w *spliceOut) Close()        {}

// A plainCopy takes a socket past what splice cannot: it reads and writes.
type plainCopy struct {
	conn    syscall.RawConn
	out     *fdio.File
	buf     []byte
	writing atomic.Bool
}

// Copy passes on what one read gives; io.EOF when the peer has finished.
func (p *plainCopy) Copy(max int) (n int, err error) {
	if p.buf == nil {
		p.buf = make([]byte, 64<<10)
	}
	readErr := p.conn.Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), p.buf[:min(max, len(p.buf))])
		return err != unix.EAGAIN && err != unix.EINTR
	})
	switch {
	case readErr != nil:
		return 0, &fdio.CopyError{Reading: true, Err: readErr}
	case err != nil:
		return 0, &fdio.CopyError{Reading: true, Err: os.NewSyscallError("read", err)}
	case n == 0:
		return 0, io.EOF
	}
	return n, p.write(p.buf[:n])
}

func (p *plainCopy) write(b []byte) error {
	p.writing.Store(true)
	defer p.writing.Store(false)
	if _, err := p.out.Write(b); err != nil {
		return &fdio.CopyError{Reading: false, Err: err}
	}
	return nil
}

// A spliceIn moves bytes from the pipe that stdin is straight into a socket.
type spliceIn struct {
	conn  syscall.RawConn
	in    *fdio.File
	admit func(n int) error // waits until n bytes may be sent; nil: no limit
	paid  int               // bytes that were admitted and not yet moved
}

func newSpliceIn(conn syscall.RawConn, in *fdio.File, admit func(int) error) *spliceIn {
	took("splice")
	return &spliceIn{conn: conn, in: in, admit: admit}
}

func (w *spliceIn) Copy(max int) (n int, err error) {
	for {
		if err := w.in.WaitReadable(); err != nil {
			return 0, &fdio.CopyError{Reading: true, Err: err}
		}
		w.in.MarkUsed()
		if w.admit != nil {
			if max, err = w.admitted(max); err != nil {
				return 0, &fdio.CopyError{Reading: false, Err: err}
			}
		}
		empty := false
		writeErr := w.conn.Write(func(fd uintptr) bool {
			n, err = splice(int(fd), w.in.FD(), max)
			if err != unix.EAGAIN {
				return true
			}
			// The socket is full, unless another process reads our stdin too
			// and was faster.
			empty = !w.in.Ready()
			return empty
		})
		switch {
		case writeErr != nil:
			return 0, &fdio.CopyError{Reading: false, Err: writeErr}
		case empty && err == unix.EAGAIN:
			continue
		case err != nil:
			return 0, &fdio.CopyError{Reading: false, Err: os.NewSyscallError("splice", err)}
		case n == 0:
			return 0, io.EOF
		}
		w.paid -= n
		return n, nil
	}
}

// admitted returns how many of the bytes in the pipe may be moved now, once it
// is their time: at most max. If there are none it returns 1, which is enough to
// find the end.
func (w *spliceIn) admitted(max int) (int, error) {
	here, err := unix.IoctlGetInt(w.in.FD(), unix.TIOCINQ)
	if err != nil || here == 0 {
		return 1, nil
	}
	n := min(here, max)
	if n > w.paid {
		if err := w.admit(n - w.paid); err != nil {
			return 0, err
		}
		w.paid = n
	}
	return n, nil
}

// Blocked is false: bytes the socket does not take are unacknowledged ones.
func (w *spliceIn) Blocked() bool { return false }
func (w *spliceIn) Close()        {}

// A spliceFile moves bytes from a socket into a regular file, through a pipe
// of its own: splice needs one at one end.
type spliceFile struct {
	conn  syscall.RawConn
	plain *plainCopy
	r, w  int
}

// newSpliceFile returns nil if there is no descriptor left for the pipe.
func newSpliceFile(conn syscall.RawConn, out *fdio.File) Copier {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil
	}
	took("splice to file")
	fdio.EnlargePipe(ends[1])
	return &spliceFile{conn, &plainCopy{conn: conn, out: out}, ends[0], ends[1]}
}

// Copy keeps the pipe empty between calls, so EAGAIN from the socket's side
// means that there is nothing to read yet, or that splice is stuck.
func (w *spliceFile) Copy(max int) (n int, err error) {
	stuck := false
	readErr := w.conn.Read(func(fd uintptr) bool {
		n, err = splice(w.w, int(fd), max)
		stuck = err == unix.EAGAIN && sys.Readable(int(fd))
		return err != unix.EAGAIN || stuck
	})
	switch {
	case readErr != nil:
		return 0, &fdio.CopyError{Reading: true, Err: readErr}
	case stuck, n == 0 && err == nil:
		return w.plain.Copy(max)
	case err != nil:
		return 0, &fdio.CopyError{Reading: true, Err: os.NewSyscallError("splice", err)}
	}
	for left := n; left > 0; {
		m, err := unix.Splice(w.r, nil, w.plain.out.FD(), nil, left, unix.SPLICE_F_MOVE)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EINVAL: // a file system without splice, such as /proc
			return n, w.unsplice(left)
		case err != nil:
			return n - left, &fdio.CopyError{Reading: false, Err: os.NewSyscallError("splice", err)}
		}
		left -= int(m)
	}
	return n, nil
}

// unsplice writes to the file what is left in the pipe.
func (w *spliceFile) unsplice(left int) error {
	b := make([]byte, left)
	for got := 0; got < left; {
		m, err := unix.Read(w.r, b[got:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &fdio.CopyError{Reading: false, Err: os.NewSyscallError("read", err)}
		}
		got += m
	}
	return w.plain.write(b)
}

// Blocked is false: a file takes what it is given, or fails.
func (w *spliceFile) Blocked() bool { return false }

func (w *spliceFile) Close() {
	_ = unix.Close(w.r)
	_ = unix.Close(w.w)
}

// A discard drops what a TCP socket receives when stdout is /dev/null. With
// MSG_TRUNC the kernel does not even copy it (tcp(7)).
type discard struct{ conn syscall.RawConn }

// newDiscard returns nil for a Unix socket, whose MSG_TRUNC means something
// else.
func newDiscard(conn syscall.RawConn, src io.Reader) Copier {
	if _, tcp := src.(*net.TCPConn); !tcp {
		return nil
	}
	took("discard")
	return &discard{conn}
}

func (w *discard) Copy(max int) (n int, err error) {
	readErr := w.conn.Read(func(fd uintptr) bool {
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

func (w *discard) Blocked() bool { return false }
func (w *discard) Close()        {}

// truncate takes up to max bytes from a TCP socket without copying them. The
// kernel does not touch the buffer, so none is given.
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
