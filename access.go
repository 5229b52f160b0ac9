package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"

	"purr/internal/proxyproto"
	"purr/internal/sock"
	"purr/internal/sys"
)

// This file asks the access lists (--allow, --deny and their files) about each
// client, before it is greeted, and before its PROXY header and TLS.

// resolveAccess looks up the host names in the access lists, always in both
// families: -4 and -6 have no effect. The error contains the name that failed.
func (l *listener) resolveAccess(ctx context.Context) (err error) {
	lookup := netOptions{connectTimeout: l.connectTimeout}
	_ = l.access.Resolve(ctx, func(ctx context.Context, name string) (addrs []netip.Addr, _ error) {
		addrs, err = lookup.resolve(ctx, name, l.ports[0])
		return addrs, err
	})
	return err
}

// announced returns a listener of the clients of ln that have sent a PROXY
// header, which has been read; ln itself without --accept-proxy. The clients
// without one are reset and logged.
func (l *listener) announced(ctx context.Context, ln net.Listener) net.Listener {
	if !l.acceptProxy {
		return ln
	}
	return proxyproto.Listen(ctx, ln, proxyproto.Options{Pending: handshakes(), Rejected: func(c net.Conn, err error) {
		if err == io.EOF { // a port check
			l.log.verbosef("%s: closed the connection and sent no PROXY header", connName(c))
			return
		}
		l.log.fail(fmt.Errorf("%s: %w (--accept-proxy): reset, nothing of it was taken", connName(c), sys.Cause(err)))
	}})
}

// acceptPermitted waits for a client that the access lists permit, and closes
// the connections of others.
func (l *listener) acceptPermitted(ctx context.Context, ln net.Listener) (net.Conn, error) {
	for {
		conn, err := l.accept(ctx, ln)
		if err != nil || l.permits(sock.AddrPort(conn.RemoteAddr())) {
			return conn, err
		}
		_ = conn.Close()
	}
}

// permits reports whether the access lists permit a client, and logs one that
// they do not. Consecutive datagrams of one address are logged once.
func (l *listener) permits(from netip.AddrPort) bool {
	switch addr := from.Addr(); {
	case l.access.Permits(addr):
		return true
	case !l.udp || addr != l.denied:
		l.denied = addr
		l.log.verbosef("%s: denied by the access lists", sock.PeerName(net.TCPAddrFromAddrPort(from)))
	}
	return false
}
