//go:build unix

package child

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/sock"
)

// Shell returns the command that runs a line in /bin/sh. It does not check that
// there is one.
func Shell(line string) *Command {
	return &Command{Path: "/bin/sh", Args: []string{"sh", "-c", line}}
}

// ownGroup makes a process the leader of a new group.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// statusOf returns the exit status as a shell counts it: 128+n if a signal n
// ended the process.
func statusOf(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}

func (p *Process) terminate() { _ = unix.Kill(-p.cmd.Process.Pid, unix.SIGTERM) }

func (p *Process) kill() { _ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL) }

// groupLeft reports whether a process of the group still runs. One that has
// ended belongs to the group until its parent has waited for it: this process,
// if it is process 1, or another that may take its time.
func (p *Process) groupLeft() bool {
	group := p.cmd.Process.Pid
	if p.ended() { // until then Wait needs the status
		for ours, err := 1, error(nil); ours > 0 || err == unix.EINTR; {
			ours, err = unix.Wait4(-group, nil, unix.WNOHANG, nil)
		}
	}
	return unix.Kill(-group, 0) == nil && !onlyZombies(group)
}

// Lends reports whether Serve can give a command the socket of c itself: it is
// a plain TCP or Unix stream.
func Lends(c net.Conn) bool {
	_, plain := sock.RawStream(c)
	return plain
}

// lingerTime is how long a peer may go on sending after the command has ended.
const lingerTime = time.Second

// Serve runs the command with the socket of c itself as stdin and stdout, until
// it has ended, and returns its exit status. The error is that of starting the
// command, that of a connection which is gone or has not delivered all bytes,
// or the cause of ctx. At the end of ctx the command still runs, until Close
// ends it. c stays the caller's to close.
//
// The socket is in blocking mode meanwhile, for all that share it, so that it
// is only watched with poll(2). If its peer is gone, the command is terminated;
// the end of what the peer sends is the command's end of input and nothing
// more.
func (r *Runner) Serve(ctx context.Context, c net.Conn, env []string) (status int, err error) {
	raw, _ := sock.RawStream(c)
	var file *os.File
	controlErr := raw.Control(func(fd uintptr) {
		var own int
		if own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(own, false)
			file = os.NewFile(uintptr(own), "socket")
		}
	})
	if controlErr != nil {
		return 0, controlErr
	}
	if file != nil {
		defer file.Close()
	}
	if err != nil {
		return 0, err
	}
	stop, err := fdio.NewInterrupt()
	if err != nil {
		return 0, err
	}
	defer stop.Close()
	p, err := r.Start(env, file, file)
	if err != nil {
		return 0, err
	}
	_ = file.Close()
	gone := make(chan error, 1)
	go func() { gone <- p.awaitGone(c, raw, stop) }()
	select {
	case <-p.done:
		stop.Fire()
		<-gone
		return p.status, p.finish(ctx, c, raw)
	case err := <-gone:
		p.Terminate()
		return p.status, err
	case <-ctx.Done():
		stop.Fire()
		<-gone
		return 0, context.Cause(ctx)
	}
}

// hold makes Close terminate the group of a process even after its end, until
// release is called.
func (r *Runner) hold(p *Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[p]++
}

// awaitGone waits until the peer of a socket is gone, and returns the error of
// the connection; fdio.ErrInterrupted if stop fires first. A Unix peer may have
// sent all and closed: the command gets that first, and then the grace to end
// by itself.
func (p *Process) awaitGone(c net.Conn, raw syscall.RawConn, stop *fdio.Interrupt) error {
	_, isUnix := c.(*net.UnixConn)
	cause := unix.ECONNRESET
	pending := func() (some bool) {
		_ = raw.Control(func(fd uintptr) {
			n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
			some = n > 0 && err == nil
		})
		return some
	}
	var err error
	controlErr := raw.Control(func(fd uintptr) {
		if err = stop.Wait(int(fd), 0, time.Time{}); err != nil {
			return
		}
		if n, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); n != 0 {
			cause, isUnix = unix.Errno(n), false
		}
	})
	if controlErr != nil || err != nil {
		return fdio.ErrInterrupted
	}
	if isUnix {
		for pending() {
			if err := stop.Sleep(10 * time.Millisecond); err != nil {
				return err
			}
		}
		if err := stop.Sleep(p.grace); err != nil {
			return err
		}
		cause = unix.EPIPE
	}
	return cause
}

// finish ends a connection in order after the command: it waits until the
// peer's system has acknowledged all bytes, and drops what the peer sends for
// some time, because the kernel resets a connection that is closed with unread
// bytes, and the reset would overtake the answer. A socket that other processes
// of the command share is left to them.
func (p *Process) finish(ctx context.Context, c net.Conn, raw syscall.RawConn) error {
	if p.groupLeft() {
		return nil
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetNonblock(int(fd), true) })
	_ = sock.HalfClose(c)
	_ = c.SetReadDeadline(time.Time{})
	dropped := make(chan struct{})
	go func() {
		defer close(dropped)
		_, _ = io.Copy(io.Discard, c)
	}()
	err := sock.AwaitAck(c, func(int) error { return context.Cause(ctx) })
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	<-dropped
	return err
}
