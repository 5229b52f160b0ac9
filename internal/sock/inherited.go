package sock

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
)

// An Inherited is the socket that a service manager has bound and passed on.
type Inherited struct {
	Network string         // "tcp4", "tcp6", "udp4", "udp6", "unix" or "unixgram"
	Addr    netip.AddrPort // invalid: a Unix socket
	Path    string         // of a Unix socket; "@name" is abstract
	fd      uintptr
}

// Datagram reports whether the socket carries datagrams.
func (i *Inherited) Datagram() bool {
	return strings.HasPrefix(i.Network, "udp") || i.Network == "unixgram"
}

// Listen returns a listener on the inherited stream socket, and sets the
// options of config on it and on the connections of its clients. If i is nil,
// it listens on addr instead, where it replaces a dead Unix socket; of the
// network "vsock" addr is "vsock:CID:PORT". The listener of a Unix socket
// leaves the file in place. The caller closes it, and calls Listen once.
func (i *Inherited) Listen(ctx context.Context, config net.ListenConfig, network, addr string) (net.Listener, error) {
	if i == nil {
		switch network {
		case "vsock":
			return listenVM(config, addr)
		case "unix":
			if err := ClearPath(ctx, addr); err != nil {
				return nil, err
			}
		default:
			keepAliveOnce(&config)
		}
		ln, err := config.Listen(ctx, network, addr)
		if unix, ok := ln.(*net.UnixListener); ok {
			unix.SetUnlinkOnClose(false)
		}
		return ln, err
	}
	f, err := i.file(config)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if tcp, ok := ln.(*net.TCPListener); ok {
		return inheritedListener{tcp, config.KeepAliveConfig}, nil
	}
	return ln, err
}

// ListenPacket is Listen for a socket of datagrams. joinErr is that of the
// function ListenPacket.
func (i *Inherited) ListenPacket(ctx context.Context, config net.ListenConfig, network, addr string) (conn net.PacketConn, joinErr, err error) {
	if i == nil {
		if network == "unixgram" {
			if err := ClearPath(ctx, addr); err != nil {
				return nil, nil, err
			}
		}
		return ListenPacket(ctx, config, network, addr)
	}
	f, err := i.file(config)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	conn, err = net.FilePacketConn(f)
	return conn, nil, err
}

// file returns the descriptor, with the options of config. Package net makes a
// copy of it, and the caller closes it.
func (i *Inherited) file(config net.ListenConfig) (*os.File, error) {
	f := os.NewFile(i.fd, i.Network)
	raw, err := f.SyscallConn()
	if err == nil {
		err = config.Control(i.Network, i.Addr.String(), raw)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// An inheritedListener has the keepalive of its clients, which package net sets
// only for sockets of its own.
type inheritedListener struct {
	*net.TCPListener
	keepalive net.KeepAliveConfig
}

// Accept returns the next client, which the caller closes.
func (l inheritedListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	_ = c.SetKeepAliveConfig(l.keepalive)
	return c, nil
}
