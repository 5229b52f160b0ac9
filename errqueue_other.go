//go:build !linux

package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// probeSocket is a UDP socket. Outside Linux it is connected, because only then is it told of a closed port, and only
// that: not by whom, and nothing of other ICMP errors. It does not see answers from another port.
type probeSocket struct {
	conn      *net.UDPConn
	target    netip.AddrPort
	connected bool
	buf       []byte
	clock     probeClock
}

// openProbeSocket returns a socket for the target, bound to source where that is valid. The caller closes it.
func openProbeSocket(target, source netip.AddrPort) (*probeSocket, error) {
	network := "udp4"
	if target.Addr().Is6() {
		network = "udp6"
	}
	var local *net.UDPAddr
	if source = sourceFor(source, target); source.IsValid() {
		local = net.UDPAddrFromAddrPort(source)
	}
	s := &probeSocket{target: target, buf: make([]byte, probeLargest)}
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
	return s, nil
}

func (s *probeSocket) close() error { return s.conn.Close() }

// wake makes a receive in progress return.
func (s *probeSocket) wake() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }

// send sends a datagram to the target and returns its number for sentAt. An error that waits on the socket is returned by
// the next send, whose datagram does not leave, so it is sent once more.
func (s *probeSocket) send(b []byte) (number uint32, err error) { return s.sendTo(b, s.target) }

func (s *probeSocket) sendTo(b []byte, to netip.AddrPort) (number uint32, err error) {
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

// receive returns the next datagram or error, or os.ErrDeadlineExceeded. A datagram's bytes are valid until the next call.
func (s *probeSocket) receive(deadline time.Time, cancelled func() error) (probeEvent, error) {
	n, from, err := s.read(deadline, cancelled)
	if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(deadline) > lateRead {
		n, from, err = s.read(time.Now().Add(lateRead), cancelled)
	}
	now := time.Now()
	if err == nil {
		return probeEvent{user: now, data: s.buf[:n], from: probeUnmap(from)}, nil
	}
	const wsaConnReset = 10054 // what Windows says of an ICMP port unreachable
	var errno syscall.Errno
	if errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &errno) && errno == wsaConnReset {
		return probeEvent{user: now, refused: true}, nil
	}
	if errors.As(err, &errno) && !probeTimedOut(err) {
		return probeEvent{user: now, err: errno}, nil
	}
	return probeEvent{}, err
}

func (s *probeSocket) read(deadline time.Time, cancelled func() error) (n int, from netip.AddrPort, err error) {
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return 0, from, err
	}
	if err := cancelled(); err != nil { // after the deadline is set, so that wake cannot be undone
		return 0, from, err
	}
	return s.conn.ReadFromUDPAddrPort(s.buf)
}

// probeTimedOut says whether err means that the time is up.
func probeTimedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
