// Package eyeballs looks up the addresses of a host, connects to the first of
// them that answers (Happy Eyeballs, RFC 8305), and repeats what has failed.
package eyeballs

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// AttemptDelay is how long one attempt may keep the next one waiting: the
// Connection Attempt Delay of RFC 8305, section 5.
const AttemptDelay = 250 * time.Millisecond

// Race connects to addrs in their order: an attempt starts when the one before
// has failed or has taken AttemptDelay. It returns the first connection, which
// the caller closes, and cancels the other attempts. If all of them fail, the
// error joins theirs; if ctx ends first, it is the context's cause.
func Race(ctx context.Context, addrs []netip.Addr, dial func(context.Context, netip.Addr) (net.Conn, error)) (net.Conn, error) {
	type attempt struct {
		conn net.Conn
		err  error
	}
	if len(addrs) == 1 {
		return dial(ctx, addrs[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt, len(addrs))
	next := time.NewTimer(0)
	defer next.Stop()

	var failures []error
	started := 0
	for len(failures) < len(addrs) {
		select {
		case <-next.C:
			addr := addrs[started]
			started++
			go func() {
				conn, err := dial(ctx, addr)
				results <- attempt{conn, err}
			}()
			if started < len(addrs) {
				next.Reset(AttemptDelay)
			}
		case r := <-results:
			if r.err == nil {
				go func(pending int) { // cancelled attempts may still have connected
					for range pending {
						if late := <-results; late.conn != nil {
							late.conn.Close()
						}
					}
				}(started - len(failures) - 1)
				return r.conn, nil
			}
			failures = append(failures, r.err)
			if started < len(addrs) {
				next.Reset(0)
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if len(failures) == 1 {
		return nil, failures[0]
	}
	return nil, errors.Join(failures...)
}

// Interleave returns addrs with the families alternating (RFC 8305, section 4).
// The first address stays first, and each family keeps its order.
func Interleave(addrs []netip.Addr) []netip.Addr {
	if len(addrs) == 0 {
		return nil
	}
	same := SameFamily(addrs, addrs[0])
	var other, out []netip.Addr
	for _, addr := range addrs {
		if addr.Is4() != addrs[0].Is4() {
			other = append(other, addr)
		}
	}
	for i := range max(len(same), len(other)) {
		if i < len(same) {
			out = append(out, same[i])
		}
		if i < len(other) {
			out = append(out, other[i])
		}
	}
	return out
}

// SameFamily returns those of addrs that have the family of as.
func SameFamily(addrs []netip.Addr, as netip.Addr) (out []netip.Addr) {
	for _, addr := range addrs {
		if addr.Unmap().Is4() == as.Unmap().Is4() { // a group with an interface has the IPv6 form
			out = append(out, addr)
		}
	}
	return out
}
