package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"

	"purr/internal/eyeballs"
	"purr/internal/flags"
	"purr/internal/sock"
	"purr/internal/sys"
)

// socketOptions returns the options of sockets that listen or dial. The scans
// of -z open sockets without them. A dialer with -p also gets SO_REUSEADDR.
func (o *netOptions) socketOptions() *sock.Options {
	options := o.socket
	options.ReuseAddr = o.sourcePort > 0 // as nc: a port in TIME_WAIT can be dialled from again
	return &options
}

// resolve returns the addresses of host in the order to try them: as the
// resolver sorted them (RFC 6724), the families alternating (RFC 8305, section
// 4). port is for the error only, which is worded as nc's.
func (o *netOptions) resolve(ctx context.Context, host string, port int) ([]netip.Addr, error) {
	wrong := func(why string) error {
		return fmt.Errorf("getaddrinfo for host \"%s\" port %d: %s", host, port, why)
	}
	if literal, ok := flags.ParseAddr(host); ok {
		if !o.wants(literal) {
			return nil, wrong("Address family for hostname not supported")
		}
		return []netip.Addr{literal}, nil
	}
	if o.numeric {
		return nil, wrong("Name or service not known")
	}
	limited, stop := ctx, context.CancelFunc(func() {})
	if o.connectTimeout > 0 {
		limited, stop = context.WithTimeout(ctx, o.connectTimeout)
	}
	defer stop()
	found, err := net.DefaultResolver.LookupNetIP(limited, "ip", host)
	if err != nil { // a name that the resolver has missed in its copy, which it keeps for 5 s
		if added := sys.HostsFile(host); len(added) > 0 {
			found, err = added, nil
		}
	}
	if err != nil {
		var dns *net.DNSError
		var none *net.AddrError
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case limited.Err() != nil:
			return nil, wrong(fmt.Sprintf("no answer within %v", o.connectTimeout))
		case errors.As(err, &dns) && dns.IsNotFound, errors.As(err, &none):
			return nil, wrong("Name or service not known")
		case errors.As(err, &dns) && (dns.IsTemporary || dns.IsTimeout):
			return nil, wrong("Temporary failure in name resolution")
		}
		return nil, wrong(sys.Cause(err).Error())
	}
	var addrs []netip.Addr
	for _, addr := range found {
		if addr = addr.Unmap(); o.wants(addr) {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, wrong("Address family for hostname not supported")
	}
	return eyeballs.Interleave(addrs), nil
}

// wants reports whether -4 and -6 allow the address.
func (o *netOptions) wants(addr netip.Addr) bool {
	is4 := addr.Unmap().Is4()
	return is4 && !o.ipv6 || !is4 && !o.ipv4
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
		addr = addrs[0]
		for _, peer := range peers {
			if same := eyeballs.SameFamily(addrs, peer); len(same) > 0 {
				addr = same[0]
				break
			}
		}
	}
	return netip.AddrPortFrom(addr, uint16(o.sourcePort)), nil
}

// shuffled returns the ports in random order; the argument stays as it is.
func shuffled(ports []int) []int {
	out := slices.Clone(ports)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
