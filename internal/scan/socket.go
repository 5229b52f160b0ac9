package scan

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// An event is a datagram that a socket has received, or an error about a
// datagram that it has sent.
type event struct {
	user   time.Time // when this process received it
	kernel time.Time // when the kernel did; may be zero

	data []byte
	from netip.AddrPort // valid for a datagram

	icmp    *ICMP
	quoted  []byte // the beginning of the datagram that icmp is about; may be empty
	refused bool   // port unreachable, without details
	err     error
}

// state reports whether the event is an error that proves the state of the
// target's port, and returns that state. target is the address that was asked:
// an ICMP error from there differs from one of a router.
func (e *event) state(target netip.Addr) (State, bool) {
	switch {
	case e.refused:
		return Closed, true
	case e.icmp != nil && !e.icmp.tooBig(): // the kernel has learnt the size, and fragments the next datagram
		return e.icmp.state(target), true
	}
	return "", false
}

// maxStamps is the number of datagrams whose times of sending are kept.
const maxStamps = 4096

// A sendClock holds the times at which the last maxStamps datagrams left.
type sendClock struct {
	next         uint32
	user, kernel map[uint32]time.Time
}

// sending records that the next datagram is about to leave, and returns its
// number.
func (c *sendClock) sending() uint32 {
	if c.user == nil {
		c.user, c.kernel = map[uint32]time.Time{}, map[uint32]time.Time{}
	}
	n := c.next
	c.next++
	c.user[n] = time.Now()
	delete(c.user, n-maxStamps)
	delete(c.kernel, n-maxStamps)
	return n
}

// stamped records the kernel's time at which datagram n left. A number that is
// not known is ignored.
func (c *sendClock) stamped(n uint32, at time.Time) {
	if _, known := c.user[n]; known && !at.IsZero() {
		c.kernel[n] = at
	}
}

// between returns the times at which datagram n left and e arrived, both by the
// same clock. kernel reports whether that is the kernel's. Its times are not
// used if they contradict our own clock, which brackets them. Both times are
// zero if n is not known.
func (c *sendClock) between(n uint32, e *event) (sent, received time.Time, kernel bool) {
	const slack = time.Millisecond // the two clocks are read at different moments
	sent = c.user[n]
	if sent.IsZero() {
		return sent, sent, false
	}
	k := c.kernel[n]
	if d := e.kernel.Sub(k); !k.IsZero() && !e.kernel.IsZero() && d >= 0 && d <= e.user.Sub(sent)+slack {
		return k, e.kernel, true
	}
	return sent, e.user, false
}

// maxDatagram is the largest datagram in bytes.
const maxDatagram = 65535

// A udpSocket is what the sockets of all systems share. It belongs to one
// goroutine.
type udpSocket struct {
	conn   *net.UDPConn
	target netip.AddrPort
	clock  sendClock
	buf    []byte
	cancel func() bool // ends the watch over the context
}

// network returns the network of target's family and the local address to bind
// to, or nil. A dual-stack socket would need the options of both families.
func network(target, source netip.AddrPort) (string, *net.UDPAddr) {
	network := "udp4"
	if target.Addr().Is6() {
		network = "udp6"
	}
	if source = sourceFor(source, target); source.IsValid() {
		return network, net.UDPAddrFromAddrPort(source)
	}
	return network, nil
}

// watch makes a read under way return when ctx ends, by a deadline in the past.
// close ends it.
func (s *udpSocket) watch(ctx context.Context) {
	s.cancel = context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
}

// close ends watch and closes the socket.
func (s *udpSocket) close() {
	s.cancel()
	_ = s.conn.Close()
}

// setDeadline sets the deadline of the next read. It returns the cause if ctx
// has ended. It checks ctx last, because the new deadline may have replaced the
// past one of watch.
func (s *udpSocket) setDeadline(ctx context.Context, deadline time.Time) error {
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// receive returns the next event: a datagram, or an error about one. Its own
// error is os.ErrDeadlineExceeded, the cause of ctx, or one of the socket. The
// bytes of a datagram are valid until the next call.
func (s *socket) receive(ctx context.Context, deadline time.Time) (event, error) {
	return readUntil(deadline, func(deadline time.Time) (event, error) { return s.read(ctx, deadline) })
}

// unmap returns a with an IPv4 address in place of one mapped into IPv6.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// loopback replaces the unspecified address, which means this machine, by the
// address that answers come from.
func loopback(a netip.AddrPort) netip.AddrPort {
	a = unmap(a)
	switch a.Addr() {
	case netip.IPv4Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	case netip.IPv6Unspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
	}
	return a
}
