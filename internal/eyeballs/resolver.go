package eyeballs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"purr/internal/flags"
	"purr/internal/sys"
)

// A LookupError is an error of Resolver.Lookup in the words of getaddrinfo(3),
// capital letter included, because scripts look for them.
type LookupError string

// The errors of Resolver.Lookup.
const (
	ErrFamily    LookupError = "Address family for hostname not supported"
	ErrUnknown   LookupError = "Name or service not known"
	ErrTemporary LookupError = "Temporary failure in name resolution"
)

func (e LookupError) Error() string { return string(e) }

// A Resolver looks up hosts. The zero value uses both families, and as much
// time as the system's resolver takes.
type Resolver struct {
	IPv4, IPv6 bool          // only this family
	Numeric    bool          // looks no names up
	Timeout    time.Duration // 0: the system's
}

// Lookup returns the addresses of host in the order to try them: as the
// system's resolver sorted them (RFC 6724), the families alternating (RFC 8305,
// section 4). If ctx ends, the error is its cause; it may also be a text of the
// system's.
func (r *Resolver) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if literal, ok := flags.ParseAddr(host); ok {
		if !r.wants(literal) {
			return nil, ErrFamily
		}
		return []netip.Addr{literal}, nil
	}
	if r.Numeric {
		return nil, ErrUnknown
	}
	limited, stop := ctx, context.CancelFunc(func() {})
	if r.Timeout > 0 {
		limited, stop = context.WithTimeout(ctx, r.Timeout)
	}
	defer stop()
	found, err := net.DefaultResolver.LookupNetIP(limited, "ip", host)
	if err != nil { // a name that the resolver has missed in its copy, which it keeps for 5 s
		if added := sys.HostsFile(host); len(added) > 0 {
			found, err = added, nil
		}
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case limited.Err() != nil:
		return nil, fmt.Errorf("no answer within %v", r.Timeout)
	default:
		return nil, lookupError(err)
	}
	var addrs []netip.Addr
	for _, addr := range found {
		if addr = addr.Unmap(); r.wants(addr) {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, ErrFamily
	}
	return Interleave(addrs), nil
}

// lookupError returns the cause of an error of package net.
func lookupError(err error) error {
	var dns *net.DNSError
	var none *net.AddrError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound, errors.As(err, &none):
		return ErrUnknown
	case errors.As(err, &dns) && (dns.IsTemporary || dns.IsTimeout):
		return ErrTemporary
	}
	return sys.Cause(err)
}

// wants reports whether the address is of a family to use.
func (r *Resolver) wants(addr netip.Addr) bool {
	is4 := addr.Unmap().Is4()
	return is4 && !r.IPv6 || !is4 && !r.IPv4
}

// HostName returns the name of an address by a reverse lookup. It returns the
// address itself if Numeric is set, and if no name is found within 1 s: a slow
// name server must not hold a connection up.
func (r *Resolver) HostName(ctx context.Context, addr netip.Addr) string {
	addr = addr.Unmap()
	if r.Numeric || addr.IsUnspecified() {
		return addr.String()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	names, err := net.DefaultResolver.LookupAddr(ctx, addr.String())
	if err != nil || len(names) == 0 {
		return addr.String()
	}
	return strings.TrimSuffix(names[0], ".")
}

// Source returns the one of addrs, which are not none, to bind before
// connecting to peers: the first of the family of the first peer that has one.
func Source(addrs, peers []netip.Addr) netip.Addr {
	for _, peer := range peers {
		if same := SameFamily(addrs, peer); len(same) > 0 {
			return same[0]
		}
	}
	return addrs[0]
}
