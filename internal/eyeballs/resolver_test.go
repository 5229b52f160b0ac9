package eyeballs

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// Literals need no resolver, but have a family; without lookups a name is
// unknown.
func TestLookupLiterals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r    Resolver
		host string
		want string // empty: err
		err  error
	}{
		{Resolver{}, "127.1", "127.0.0.1", nil}, {Resolver{}, "::1", "::1", nil},
		{Resolver{IPv4: true}, "::1", "", ErrFamily}, {Resolver{IPv6: true}, "127.0.0.1", "", ErrFamily},
		{Resolver{IPv4: true, Numeric: true}, "127.0.0.1", "127.0.0.1", nil}, {Resolver{Numeric: true}, "localhost", "", ErrUnknown},
	} {
		got, err := c.r.Lookup(t.Context(), c.host)
		if err != c.err || c.want != "" && (len(got) != 1 || got[0] != netip.MustParseAddr(c.want)) {
			t.Errorf("%+v, %s: %v, %v", c.r, c.host, got, err)
		}
	}
}

// The end of the context is its cause, and not an error of the resolver.
func TestLookupInterrupted(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.ErrUnsupported)
	if got, err := new(Resolver).Lookup(ctx, "host.invalid"); err != errors.ErrUnsupported {
		t.Errorf("%v, %v", got, err)
	}
}

func TestLookupError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ err, want error }{
		{&net.DNSError{IsNotFound: true}, ErrUnknown}, {&net.AddrError{Err: "no suitable address"}, ErrUnknown},
		{&net.DNSError{IsTimeout: true}, ErrTemporary}, {&net.DNSError{IsTemporary: true}, ErrTemporary},
		{&net.OpError{Op: "dial", Err: syscall.EMFILE}, syscall.EMFILE},
	} {
		if got := lookupError(c.err); got != c.want {
			t.Errorf("%#v: %v, want %v", c.err, got, c.want)
		}
	}
}

// Without lookups an address is its own name, and so is that of every
// interface.
func TestHostName(t *testing.T) {
	t.Parallel()
	ended, stop := context.WithDeadline(t.Context(), time.Now())
	defer stop()
	for _, c := range []struct {
		r    Resolver
		addr string
		want string
	}{
		{Resolver{Numeric: true}, "::ffff:127.0.0.1", "127.0.0.1"}, {Resolver{}, "0.0.0.0", "0.0.0.0"}, {Resolver{}, "192.0.2.1", "192.0.2.1"},
	} {
		if got := c.r.HostName(ended, netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s: %s", c.addr, got)
		}
	}
}

// The source has the family of the first peer for which there is one.
func TestSource(t *testing.T) {
	t.Parallel()
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	group := netip.MustParseAddr("::ffff:239.1.2.3%eth0") // of IPv4, with an interface
	for _, c := range []struct {
		addrs, peers []netip.Addr
		want         netip.Addr
	}{
		{[]netip.Addr{four, six}, nil, four}, {[]netip.Addr{four, six}, []netip.Addr{six, four}, six},
		{[]netip.Addr{four}, []netip.Addr{six}, four}, {[]netip.Addr{six}, []netip.Addr{four, six}, six},
		{[]netip.Addr{six, four}, []netip.Addr{group}, four},
	} {
		if got := Source(c.addrs, c.peers); got != c.want {
			t.Errorf("%v for %v: %v", c.addrs, c.peers, got)
		}
	}
}
