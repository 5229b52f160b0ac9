//go:build !linux

package scan

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"purr/internal/sock"
)

// A socket is a UDP socket. It is connected, because systems other than Linux
// report a closed port on connected sockets only. Nothing more is reported:
// neither the sender of the error nor any other ICMP error. A connected socket
// receives no answers from another port.
type socket struct {
	udpSocket
	connected bool
}

// openSocket returns a socket for the target, bound to source if it is valid.
// The caller closes it.
func openSocket(ctx context.Context, target, source netip.AddrPort) (*socket, error) {
	network, local := network(target, source)
	s := &socket{udpSocket: udpSocket{target: target, buf: make([]byte, maxDatagram)}}
	var err error
	if target.Addr().IsMulticast() { // answers come from other addresses
		s.conn, err = net.ListenUDP(network, local)
	} else {
		s.connected = true
		s.conn, err = net.DialUDP(network, local, net.UDPAddrFromAddrPort(target))
	}
	if err != nil {
		return nil, err
	}
	if err := sock.RefuseBroadcasts(s.conn); err != nil {
		s.conn.Close()
		return nil, err
	}
	s.watch(ctx)
	return s, nil
}

// sendTo sends a datagram and returns its number for the clock. An error that
// is pending on the socket is returned by the next send, and the datagram does
// not leave. Therefore it is sent once more.
func (s *socket) sendTo(b []byte, to netip.AddrPort) (number uint32, err error) {
	for try := 0; try < 2; try++ {
		number = s.clock.sending()
		if s.connected {
			_, err = s.conn.Write(b)
		} else {
			_, err = s.conn.WriteToUDPAddrPort(b, to)
		}
		if err == nil {
			return number, nil
		}
	}
	return number, err
}

// read returns the next event: a queued one, a datagram or an error of the
// socket. An expired deadline is an error, even if this process was held up
// over it: receive looks once more then.
func (s *socket) read(ctx context.Context, deadline time.Time) (event, error) {
	if err := s.setDeadline(ctx, deadline); err != nil {
		return event{}, err
	}
	n, from, err := s.conn.ReadFromUDPAddrPort(s.buf)
	now := time.Now()
	if err == nil {
		return event{user: now, data: s.buf[:n], from: unmap(from)}, nil
	}
	const wsaConnReset = 10054 // an ICMP port unreachable on Windows
	var errno syscall.Errno
	isErrno := errors.As(err, &errno)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), isErrno && errno == wsaConnReset:
		return event{user: now, refused: true}, nil
	case isErrno && !timedOut(err):
		return event{user: now, err: errno}, nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return event{}, err
}
