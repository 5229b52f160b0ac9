package sock

import (
	"os"
	"strings"
	"syscall"
)

// Control sets the options on a socket before it is bound or connected, because
// the handshake announces the window scale (RFC 7323, section 2). It is for the
// Control of net.Dialer and net.ListenConfig. Windows takes the buffer sizes
// and SO_BROADCAST. ReuseAddr is ignored; TTL, MinTTL and TOS are ErrNotHere.
func (o *Options) Control(network, _ string, raw syscall.RawConn) error {
	if o.TTL > 0 || o.MinTTL > 0 || o.TOS != nil {
		return ErrNotHere
	}
	var failed error
	set := func(fd uintptr, name, value int, what string) {
		if err := syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, name, value); err != nil && failed == nil {
			failed = os.NewSyscallError("setsockopt "+what, err)
		}
	}
	err := raw.Control(func(fd uintptr) {
		if o.Broadcast || strings.HasPrefix(network, "udp") { // package net has set it already
			set(fd, syscall.SO_BROADCAST, number(o.Broadcast), "SO_BROADCAST")
		}
		if o.ReceiveBuf > 0 {
			set(fd, syscall.SO_RCVBUF, o.ReceiveBuf, "SO_RCVBUF")
		}
		if o.SendBuf > 0 {
			set(fd, syscall.SO_SNDBUF, o.SendBuf, "SO_SNDBUF")
		}
	})
	if err != nil {
		return err
	}
	return failed
}
