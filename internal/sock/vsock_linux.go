package sock

import (
	"cmp"
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/sys"
)

// HasVM reports whether this system has sockets of virtual machines.
const HasVM = true

// defaultVMTimeout is the limit of a connection if the dialer has none: the
// kernel's own is 2 s for one that is not answered.
const defaultVMTimeout = time.Minute

// shutdownWrite ends the sending direction of a socket.
func shutdownWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// openVM returns a socket of virtual machines with the options of control, as a
// file, which the caller closes.
func openVM(name string, control func(f *os.File) error) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := control(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// DialVM connects to "vsock:CID:PORT" within the dialer's Timeout, with its
// Control. The caller closes the connection. If nothing listens there, the
// error is ECONNRESET; ENODEV without a hypervisor or the module
// vsock_loopback; ETIMEDOUT when the time is over, and the cause of ctx when
// that has ended.
func DialVM(ctx context.Context, dialer net.Dialer, name string) (net.Conn, error) {
	remote, err := ParseVM(name, false)
	if err != nil {
		return nil, err
	}
	f, err := openVM(name, func(f *os.File) error {
		raw, err := f.SyscallConn()
		if err == nil && dialer.Control != nil {
			err = dialer.Control("vsock", name, raw)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := connectVM(ctx, f, remote, cmp.Or(dialer.Timeout, defaultVMTimeout)); err != nil {
		_ = f.Close()
		return nil, err
	}
	return newVMConn(f, remote), nil
}

// connectVM connects the socket f, within timeout.
func connectVM(ctx context.Context, f *os.File, remote *VMAddr, timeout time.Duration) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.Connect(int(fd), &unix.SockaddrVM{CID: remote.CID, Port: remote.Port})
	})
	if controlErr != nil || err != nil && err != unix.EINPROGRESS {
		return errors.Join(controlErr, os.NewSyscallError("connect", err))
	}
	_ = f.SetWriteDeadline(time.Now().Add(timeout))
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	waitErr := raw.Write(func(fd uintptr) bool {
		if !sys.Writable(int(fd)) {
			return false
		}
		var pending int
		if pending, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && pending != 0 {
			err = unix.Errno(pending)
		}
		return true
	})
	switch {
	case !stop():
		return context.Cause(ctx)
	case errors.Is(waitErr, os.ErrDeadlineExceeded):
		return os.NewSyscallError("connect", unix.ETIMEDOUT)
	case waitErr != nil:
		return waitErr
	}
	_ = f.SetWriteDeadline(time.Time{})
	return os.NewSyscallError("connect", err)
}

// newVMConn returns the connection of the socket f.
func newVMConn(f *os.File, remote *VMAddr) *vmConn {
	return &vmConn{file: f, local: ownVM(f), remote: remote}
}

// ownVM returns the address that the socket f is bound to.
func ownVM(f *os.File) *VMAddr {
	a := new(VMAddr)
	_ = sys.OnFD(f, func(fd int) error {
		name, err := unix.Getsockname(fd)
		if vm, ok := name.(*unix.SockaddrVM); ok {
			a.CID, a.Port = vm.CID, vm.Port
		}
		return err
	})
	return a
}

// A vmListener accepts connections of virtual machines.
type vmListener struct {
	file   *os.File
	addr   *VMAddr
	closed atomic.Bool
}

// listenVM listens on "vsock:CID:PORT", with the Control of config. The caller
// closes the listener.
func listenVM(config net.ListenConfig, name string) (net.Listener, error) {
	own, err := ParseVM(name, true)
	if err != nil {
		return nil, err
	}
	f, err := openVM(name, func(f *os.File) error {
		raw, err := f.SyscallConn()
		if err == nil && config.Control != nil {
			err = config.Control("vsock", name, raw)
		}
		return errors.Join(err, sys.OnFD(f, func(fd int) error {
			if err := unix.Bind(fd, &unix.SockaddrVM{CID: own.CID, Port: own.Port}); err != nil {
				return os.NewSyscallError("bind", err)
			}
			return os.NewSyscallError("listen", unix.Listen(fd, unix.SOMAXCONN))
		}))
	})
	if err != nil {
		return nil, err
	}
	return &vmListener{file: f, addr: ownVM(f)}, nil
}

// Accept implements net.Listener.
func (l *vmListener) Accept() (net.Conn, error) {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return nil, net.ErrClosed
	}
	var fd int
	var name unix.Sockaddr
	waitErr := raw.Read(func(listening uintptr) bool {
		for {
			fd, name, err = unix.Accept4(int(listening), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	switch {
	case waitErr != nil && l.closed.Load():
		return nil, net.ErrClosed
	case waitErr != nil:
		return nil, waitErr
	case err != nil:
		return nil, os.NewSyscallError("accept", err)
	}
	remote := new(VMAddr)
	if vm, ok := name.(*unix.SockaddrVM); ok {
		remote.CID, remote.Port = vm.CID, vm.Port
	}
	return newVMConn(os.NewFile(uintptr(fd), remote.String()), remote), nil
}

// Close and the others implement net.Listener, with a deadline for Accept.
func (l *vmListener) Close() error {
	l.closed.Store(true)
	return l.file.Close()
}

func (l *vmListener) Addr() net.Addr                { return l.addr }
func (l *vmListener) SetDeadline(t time.Time) error { return l.file.SetDeadline(t) }
