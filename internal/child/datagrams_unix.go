//go:build unix

package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/datagram"
	"purr/internal/fdio"
	"purr/internal/sys"
)

// HasDatagrams reports whether the system has what Datagrams needs: pairs of
// Unix datagram sockets.
const HasDatagrams = true

// Datagrams runs a command for each sender of datagrams. Any goroutine may use
// it.
type Datagrams struct {
	runner  *Runner
	local   net.Addr
	ended   func(peer string, status int)
	places  chan struct{} // holds an element for each sender
	buffers sync.Pool     // of *[2 * pairRoom]byte
}

// pairRoom is the size of the socket buffers between a sender and its command,
// in bytes. Linux doubles it (SO_SNDBUF in socket(7)).
const pairRoom = 256 << 10

// NewDatagrams returns Datagrams that run the command of r for at most limit
// senders at once. local is the address that they send to. ended is called with
// the exit status of each command, and the name of its sender in messages.
func NewDatagrams(r *Runner, limit int, local net.Addr, ended func(peer string, status int)) *Datagrams {
	return &Datagrams{runner: r, local: local, ended: ended, places: make(chan struct{}, limit), buffers: sync.Pool{New: func() any { return new([2 * pairRoom]byte) }}}
}

// Dial starts the command for a sender, with the variables of Env, and returns
// a datagram socket whose other end is that command: each datagram that is sent
// to it is written to the command's stdin, and each read of its stdout, of at
// most datagram.MaxPayload bytes, is a datagram in return. While the command
// does not read, the queue of the socket fills up. The caller closes the
// socket.
//
// A command has ended once its process and its output have. Those datagrams
// that it has not begun to read by then, except for its first one, and those
// that come later start another command, one after the other. Between two
// commands an empty datagram is sent, and the socket has the method of a
// tunnel.Finite.
//
// Dial waits while there are as many senders as the limit. The end of ctx means
// that the sender is gone: it ends the wait, or else the command's stdin, and
// terminates the command. If the cause is a timeout, the command has the grace
// to end by itself.
func (d *Datagrams) Dial(ctx context.Context, from *datagram.Peer) (datagram.Conn, error) {
	return d.dial(ctx, &bridge{Datagrams: d, peer: from.String(), env: Env(d.local, from.NetAddr())})
}

// dial is Dial for a bridge that is still to be opened.
func (d *Datagrams) dial(ctx context.Context, b *bridge) (datagram.Conn, error) {
	select {
	case d.places <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ours, err := b.open(ctx)
	if err != nil {
		<-d.places
	}
	return ours, err
}

// read waits until raw is readable, and returns the result of one read(2), of
// at most size bytes.
func (d *Datagrams) read(raw syscall.RawConn, size int) (b []byte, err error) {
	waitErr := raw.Read(func(fd uintptr) bool {
		buffer := d.buffers.Get().(*[2 * pairRoom]byte)
		defer d.buffers.Put(buffer)
		n := -1
		for err = unix.EINTR; err == unix.EINTR; {
			n, err = unix.Read(int(fd), buffer[:size])
		}
		b = bytes.Clone(buffer[:max(n, 0)])
		return err != unix.EAGAIN
	})
	return b, errors.Join(waitErr, err)
}

// A bridge passes datagrams of one sender between a socket and a command.
type bridge struct {
	*Datagrams
	peer   string // its name in messages
	env    []string
	socket *net.UnixConn
	raw    syscall.RawConn // of socket

	mu       sync.Mutex
	received int   // datagrams from socket
	over     error // why no command runs; nil: one does
}

// open starts the first command, and the goroutine that serves the sender until
// ctx ends, and returns the sender's end of the bridge.
func (b *bridge) open(ctx context.Context) (datagram.Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	b.socket = theirs
	if b.raw, err = theirs.SyscallConn(); err == nil {
		var c *command
		if c, err = b.start(); err == nil {
			go b.run(ctx, c)
			return commandConn{ours, b}, nil
		}
	}
	return nil, errors.Join(err, ours.Close(), theirs.Close())
}

// A commandConn is the sender's end of a bridge.
type commandConn struct {
	*net.UnixConn
	bridge *bridge
}

// Ended returns ErrEnded if no command runs and all of the sent datagrams were
// received, or the error of starting the next command; else nil.
func (c commandConn) Ended(sent int) error {
	c.bridge.mu.Lock()
	defer c.bridge.mu.Unlock()
	if c.bridge.over == ErrEnded && c.bridge.received != sent {
		return nil
	}
	return c.bridge.over
}

// run serves the sender, by one command after the other, until ctx ends. Then
// it frees the bridge and the sender's place.
func (b *bridge) run(ctx context.Context, c *command) {
	defer func() { <-b.places }()
	stop := context.AfterFunc(ctx, func() { _ = b.socket.Close() })
	defer stop()
	defer b.socket.Close()
	var queue [][]byte
	for {
		queue = b.serve(ctx, c, queue)
		if ctx.Err() != nil {
			return
		}
		if len(queue) == 0 {
			b.end(ErrEnded)
			d, err := b.receive()
			if err != nil { // ctx has ended
				return
			}
			queue = append(queue, d)
		}
		var err error
		if c, err = b.start(); err != nil {
			b.end(err)
			<-ctx.Done()
			return
		}
	}
}

// serve passes the datagrams of queue, and then those that are received, to a
// command, and its output back, until it has ended or ctx has. It returns the
// datagrams for the next command, and frees this one.
func (b *bridge) serve(ctx context.Context, c *command, queue [][]byte) (left [][]byte) {
	late, stop := outlast(ctx, c.grace)
	defer stop()
	defer context.AfterFunc(ctx, func() { _ = c.in.Close() })()
	defer context.AfterFunc(late, func() { _ = c.out.Close() })()
	b.runner.hold(c.Process)
	go b.passOutput(late, c)
	var err error
	for err == nil {
		var d []byte
		if len(queue) > 0 {
			d, queue = queue[0], queue[1:]
		} else if d, err = b.receive(); err != nil {
			break
		}
		err = c.write(d)
	}
	<-c.gone
	left = append(c.unread(), queue...)
	c.hangUp()
	_ = c.stdin.Close()
	_ = b.socket.SetReadDeadline(time.Time{})
	b.ended(b.peer, c.status)
	if !c.begun { // the datagram that it was started for is still on its way
		_, _ = b.receive()
	}
	return left
}

// passOutput sends what the command writes, and waits for its end, which it
// enforces at the end of ctx. Then it ends the waits of serve.
func (b *bridge) passOutput(ctx context.Context, c *command) {
	defer close(c.gone)
	defer b.runner.release(c.Process)
	if raw, err := c.out.SyscallConn(); err == nil {
		for d, err := b.read(raw, datagram.MaxPayload); err == nil && len(d) > 0; d, err = b.read(raw, datagram.MaxPayload) {
			b.send(d)
		}
	}
	_, _ = c.Wait(ctx)
	if ctx.Err() != nil { // the process may have ended, and left others in its group
		c.Terminate()
	}
	_ = c.in.Close()
	_ = b.socket.SetReadDeadline(time.Unix(1, 0))
}

// outlast returns a context that ends together with ctx, but later by the grace
// if the cause is a timeout. The caller calls stop, which ends it.
func outlast(ctx context.Context, grace time.Duration) (late context.Context, stop func()) {
	late, end := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		if cause, ok := errors.AsType[interface {
			error
			Timeout() bool
		}](context.Cause(ctx)); ok && cause.Timeout() {
			sys.Sleep(late, grace)
		}
		end()
	})
	return late, func() { unhook(); end() }
}

// receive waits for a datagram of the sender. It fails once the command or ctx
// has ended.
func (b *bridge) receive() ([]byte, error) {
	d, err := b.read(b.raw, 2*pairRoom)
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.received++
		b.over = nil
	}
	return d, err
}

// send sends a datagram to the sender, as soon as its queue has room. BSD
// systems have ENOBUFS in place of a wait.
func (b *bridge) send(d []byte) {
	for {
		if _, err := b.socket.Write(d); !errors.Is(err, unix.ENOBUFS) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// end makes Ended return the reason, and prompts a call of it.
func (b *bridge) end(reason error) {
	b.mu.Lock()
	b.over = reason
	b.mu.Unlock()
	b.send(nil)
}

// A command is a process with pipes. Those of this side are in Go's poller, so
// that a command costs no threads.
type command struct {
	*Process
	stdin *os.File // the command's end, which shows what is unread
	in    *os.File
	out   *os.File
	gone  chan struct{} // closed at the end of the command

	begun bool    // whether a datagram was written
	later []input // the next ones, those that may be unread
	size  int     // of later, as written
}

// An input is a datagram with the number of its bytes that were written.
type input struct {
	datagram []byte
	written  int
}

// pipeSize is the capacity of a pipe in bytes, as pipe(7) has it.
const pipeSize = 64 << 10

// start starts a command.
func (b *bridge) start() (*command, error) {
	stdin, in, out, stdout, err := twoPipes()
	if err != nil {
		return nil, err
	}
	c := &command{stdin: stdin, in: in, out: out, gone: make(chan struct{})}
	c.Process, err = b.runner.Start(b.env, stdin, stdout)
	_ = stdout.Close()
	if err != nil {
		c.hangUp()
		_ = stdin.Close()
		return nil, fmt.Errorf("run %s: %w", b.runner.Path, sys.Cause(err))
	}
	return c, nil
}

// hangUp ends the command's input, and the reading of its output.
func (c *command) hangUp() { _, _ = c.in.Close(), c.out.Close() }

// write writes a datagram to the command's stdin, and waits until it has room.
// It fails once the command has ended.
func (c *command) write(d []byte) error {
	n, err := c.in.Write(d)
	if c.begun && (n > 0 || err != nil) {
		c.later = append(c.later, input{d, n})
		for c.size += n; c.size-c.later[0].written >= pipeSize; c.later = c.later[1:] {
			c.size -= c.later[0].written
		}
	}
	c.begun = true
	return err
}

// unread returns the datagrams after the first one that a command has not begun
// to read.
func (c *command) unread() (all [][]byte) {
	left := max(0, fdio.New(c.stdin, nil).Unread())
	for _, d := range slices.Backward(c.later) {
		if left -= d.written; left < 0 {
			break
		}
		all = append(all, d.datagram)
	}
	slices.Reverse(all)
	return all
}

// socketPair returns two connected Unix datagram sockets.
func socketPair() (a, b *net.UnixConn, err error) {
	syscall.ForkLock.RLock()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(pair[0])
		unix.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	var conns [2]net.Conn
	for i, fd := range pair {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, pairRoom)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, pairRoom)
		f := os.NewFile(uintptr(fd), "socketpair")
		var connErr error
		conns[i], connErr = net.FileConn(f)
		err = errors.Join(err, connErr, f.Close())
	}
	for _, c := range conns {
		if c != nil && err != nil {
			_ = c.Close()
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return conns[0].(*net.UnixConn), conns[1].(*net.UnixConn), nil
}
