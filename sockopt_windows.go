package main

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// setOptions applies the command line's socket options to a socket that is
// neither bound nor connected yet. Windows takes the buffer sizes and
// SO_BROADCAST; the others are refused rather than ignored.
func (c *config) setOptions(_, _ string, raw syscall.RawConn) error {
	if c.ttl > 0 || c.minTTL > 0 || c.tos != nil {
		return errors.New("options -M, -m and -T do not work on Windows")
	}
	var failed error
	set := func(fd uintptr, name, value int, what string) {
		if err := syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, name, value); err != nil && failed == nil {
			failed = os.NewSyscallError("setsockopt "+what, err)
		}
	}
	err := raw.Control(func(fd uintptr) {
		if c.broadcast {
			set(fd, syscall.SO_BROADCAST, 1, "SO_BROADCAST")
		}
		if c.receiveBuf > 0 {
			set(fd, syscall.SO_RCVBUF, c.receiveBuf, "SO_RCVBUF")
		}
		if c.sendBuf > 0 {
			set(fd, syscall.SO_SNDBUF, c.sendBuf, "SO_SNDBUF")
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// setCork does nothing: what is written leaves at once.
func setCork(*net.TCPConn, bool) {}
