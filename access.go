package main

import (
	"context"
	"net"
	"net/netip"

	"purr/internal/sock"
)

// This file asks the access lists (--allow, --deny and their files) about each
// client, before it is greeted and before TLS.

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
