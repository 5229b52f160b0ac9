package main

import (
	"context"
	"fmt"
	"net/netip"

	"purr/internal/eyeballs"
	"purr/internal/sock"
)

// socketOptions returns the options of sockets that listen or dial. The scans
// of -z open sockets without them. A dialer with -p also gets SO_REUSEADDR.
func (o *netOptions) socketOptions() *sock.Options {
	options := o.socket
	options.ReuseAddr = o.sourcePort > 0 // as nc: a port in TIME_WAIT can be dialled from again
	return &options
}

// resolver returns the resolver that -4, -6, -n and --connect-timeout allow
// for.
func (o *netOptions) resolver() *eyeballs.Resolver {
	return &eyeballs.Resolver{IPv4: o.ipv4, IPv6: o.ipv6, Numeric: o.numeric, Timeout: o.connectTimeout}
}

// resolve returns the addresses of host in the order to try them, with -u also
// that of sock.ParseGroup. port is for the error only, which is worded as nc's.
func (o *netOptions) resolve(ctx context.Context, host string, port int) ([]netip.Addr, error) {
	if group, ok := sock.ParseGroup(host); ok && o.udp && !o.ipv6 {
		return []netip.Addr{group}, nil
	}
	addrs, err := o.resolver().Lookup(ctx, host)
	if err != nil && ctx.Err() == nil {
		err = localError{fmt.Errorf("getaddrinfo for host \"%s\" port %d: %v", host, port, err)}
	}
	return addrs, err
}

// localAddr returns the address that a dialer binds: that of -s and -p. An
// invalid address or port 0 leaves the choice to the kernel. If the name behind
// -s has several addresses, one of the first peer's family is preferred.
func (o *netOptions) localAddr(ctx context.Context, peers []netip.Addr) (netip.AddrPort, error) {
	var addr netip.Addr
	if o.source != "" {
		addrs, err := o.resolve(ctx, o.source, o.sourcePort)
		if err != nil {
			return netip.AddrPort{}, err
		}
		addr = eyeballs.Source(addrs, peers)
	}
	return netip.AddrPortFrom(addr, uint16(o.sourcePort)), nil
}
