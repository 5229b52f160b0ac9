//go:build !linux

package sock

import (
	"context"
	"errors"
	"net"
)

// HasVM reports whether this system has sockets of virtual machines.
const HasVM = false

// DialVM returns errors.ErrUnsupported.
func DialVM(context.Context, net.Dialer, string) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

// listenVM returns errors.ErrUnsupported.
func listenVM(net.ListenConfig, string) (net.Listener, error) { return nil, errors.ErrUnsupported }

// shutdownWrite returns errors.ErrUnsupported.
func shutdownWrite(int) error { return errors.ErrUnsupported }
