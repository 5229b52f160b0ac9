package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"purr/internal/eyeballs"
	"purr/internal/proxy"
	"purr/internal/sock"
	"purr/internal/sys"
)

// This file is -l --proxy-type: purr is the proxy.

// A proxyServer is the proxy that clients connect through.
type proxyServer struct {
	proxy.Server
	web bool // HTTP, else SOCKS5
	log *logger
}

// newProxyServer returns the proxy of the command line, or nil if there is
// none. Each of its tunnels is a conversation of t. d dials the targets, with
// the socket options of cfg.
func newProxyServer(cfg *config, d dialer, t *talker) *proxyServer {
	if cfg.server == nil {
		return nil
	}
	o := netOptions{network: "tcp", ipv4: cfg.ipv4, ipv6: cfg.ipv6, numeric: cfg.numeric, connectTimeout: cfg.connectTimeout, keepalive: cfg.keepalive, socket: cfg.socket}
	d.netOptions = &o
	s := &proxyServer{web: cfg.server.Protocol == proxy.HTTP, log: t.log}
	s.User, s.Password, s.Timeout = cfg.server.User, cfg.server.Password, cfg.connectTimeout
	s.Dial = func(ctx context.Context, host string, port int) (net.Conn, error) {
		addrs, err := d.resolve(ctx, host, port)
		if err != nil {
			return nil, err
		}
		return eyeballs.Race(ctx, addrs, func(ctx context.Context, addr netip.Addr) (net.Conn, error) {
			return d.dialAddr(ctx, netip.AddrPort{}, netip.AddrPortFrom(addr, uint16(port)))
		})
	}
	s.Join = func(ctx context.Context, client, target net.Conn) error {
		return newConversation(t, connName(client)).join(ctx, client, target, sock.PeerName(target.RemoteAddr()))
	}
	return s
}

// bound records the address of the listening socket. It warns if other machines
// can reach a proxy without a password, unless its clients are limited
// otherwise. A nil s does nothing.
func (s *proxyServer) bound(addr net.Addr, limited bool) {
	if s == nil {
		return
	}
	s.Addr = addr
	if ip := sock.AddrPort(addr).Addr(); s.User == "" && !limited && ip.IsValid() && !ip.IsLoopback() {
		s.log.warnf("a proxy without a password: whoever reaches this port can connect from here to wherever this machine can; --proxy-auth USER:PASS asks for one, --allow LIST limits the clients, and \"127.0.0.1 PORT\" in place of PORT serves this machine alone")
	}
}

// serveProxy is the handler of -l --proxy-type: the client names the target.
func serveProxy(ctx context.Context, t *talker, c net.Conn) error {
	serve := t.server.SOCKS5
	if t.server.web {
		serve = t.server.HTTP
	}
	err := serve(ctx, c)
	switch refused, ok := errors.AsType[*proxy.Refusal](err); {
	case ok:
		return fmt.Errorf("%s: %w", connName(c), refused)
	case err != nil && ctx.Err() == nil && !errors.As(err, new(tunnelError)):
		return fmt.Errorf("%s: %w", connName(c), sys.Cause(err))
	}
	return err
}
