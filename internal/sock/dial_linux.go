package sock

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// dialUnbound connects to remote from an address of the kernel's choice. On the
// same machine a handshake is over when connect(2) returns. Package net would
// wait for it in the poller, with three timers; dialUnbound has connected the
// socket before, in the dialer's Control, and sets a limit only for a handshake
// that takes longer.
func dialUnbound(ctx context.Context, dialer net.Dialer, network string, remote netip.AddrPort) (net.Conn, error) {
	limit := dialer.Timeout
	late := &lateContext{Context: ctx}
	dialer.Timeout = 0
	dialer.Control = then(dialer.Control, func(raw syscall.RawConn) error {
		connected, err := connectNow(raw, remote)
		if err == nil && !connected && limit > 0 && late.stop == nil {
			late.Context, late.stop = context.WithTimeout(ctx, limit)
		}
		return err
	})
	conn, err := dialer.DialContext(late, network, remote.String())
	if late.stop != nil {
		late.stop()
	}
	return conn, err
}

// A lateContext is a context that may get a deadline while it is in use, by the
// goroutine that uses it.
type lateContext struct {
	context.Context
	stop context.CancelFunc // nil: no deadline
}

// connectNow begins to connect a socket, and reports whether it is connected
// already. A second connect(2) returns the result of the first, EALREADY if
// that is still to come, and a third one EISCONN, which package net takes for a
// success. It does nothing for an address that needs the number of a zone.
func connectNow(raw syscall.RawConn, remote netip.AddrPort) (connected bool, err error) {
	var to unix.Sockaddr
	switch addr := remote.Addr(); {
	case addr.Is4():
		to = &unix.SockaddrInet4{Port: int(remote.Port()), Addr: addr.As4()}
	case addr.Zone() == "" && !addr.Is4In6():
		to = &unix.SockaddrInet6{Port: int(remote.Port()), Addr: addr.As16()}
	default:
		return false, nil
	}
	controlErr := raw.Control(func(fd uintptr) {
		if err = unix.Connect(int(fd), to); err == unix.EINPROGRESS {
			err = unix.Connect(int(fd), to)
		}
	})
	switch {
	case controlErr != nil:
		return false, controlErr
	case err == unix.EALREADY, err == unix.EINTR:
		return false, nil
	case err == unix.EISCONN:
		return true, nil
	}
	return err == nil, os.NewSyscallError("connect", err)
}
