package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probeSocket is an unconnected UDP socket that hears what routers and the kernel say about its datagrams. It belongs to one
// goroutine; close may be called from any.
//
// It is unconnected because some services answer from another port (TFTP, RFC 1350 4), and it asks for the error
// queue (IP_RECVERR) because without it Linux keeps most ICMP errors to itself: a plain socket never learns of
// "host unreachable".
type probeSocket struct {
	conn   *net.UDPConn
	raw    syscall.RawConn
	target netip.AddrPort
	buf    []byte
	oob    []byte
	events []probeEvent // taken off the error queue, not yet returned by receive
	clock  probeClock
	base   uint32 // number of the datagram that the kernel counts as 0
}

const probeStamping = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE |
	unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY

// openProbeSocket returns a socket of the target's family, bound to source where that is valid. The caller closes it.
func openProbeSocket(target, source netip.AddrPort) (*probeSocket, error) {
	network := "udp4"
	if target.Addr().Is6() {
		network = "udp6" // a dual-stack socket would need the options of both families
	}
	var local *net.UDPAddr
	if source = sourceFor(source, target); source.IsValid() {
		local = net.UDPAddrFromAddrPort(source)
	}
	conn, err := net.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, err
	}
	s := &probeSocket{conn: conn, raw: raw, target: target, buf: make([]byte, probeLargest), oob: make([]byte, 512)}
	var option error
	err = raw.Control(func(fd uintptr) {
		if network == "udp4" {
			option = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		} else {
			option = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
		}
		// Without time stamps our own clock has to do.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, probeStamping)
	})
	if err = errors.Join(err, option); err != nil {
		conn.Close()
		return nil, fmt.Errorf("error queue: %w", err)
	}
	return s, nil
}

func (s *probeSocket) close() error { return s.conn.Close() }

// wake makes a receive in progress return.
func (s *probeSocket) wake() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }

// send sends a datagram to the target and returns its number for sentAt.
//
// An ICMP error that waits on the socket is returned by the next send, whose datagram then does not leave. So after an
// error the queue is emptied, which receive will tell, and the datagram is sent once more.
func (s *probeSocket) send(b []byte) (number uint32, err error) { return s.sendTo(b, s.target) }

func (s *probeSocket) sendTo(b []byte, to netip.AddrPort) (number uint32, err error) {
	for try := 0; ; try++ {
		number = s.clock.sending()
		_, err = s.conn.WriteToUDPAddrPort(b, to)
		if err == nil {
			return number, nil
		}
		s.drain(time.Now())
		s.restamp()
		if try == 1 {
			return number, err
		}
	}
}

// restamp makes the kernel count the datagrams from 0 again, beginning with the next: whether one that failed was counted
// differs between versions. The queue must be empty.
func (s *probeSocket) restamp() {
	s.base = s.clock.next
	_ = s.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, 0)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, probeStamping)
	})
}

// receive returns the next datagram or error, or os.ErrDeadlineExceeded. A datagram's bytes are valid until the next call.
func (s *probeSocket) receive(deadline time.Time, cancelled func() error) (probeEvent, error) {
	for late := false; ; {
		if len(s.events) > 0 {
			e := s.events[0]
			s.events = s.events[1:]
			return e, nil
		}
		if err := s.conn.SetReadDeadline(deadline); err != nil {
			return probeEvent{}, err
		}
		if err := cancelled(); err != nil { // after the deadline is set, so that wake cannot be undone
			return probeEvent{}, err
		}
		n, oobn, _, from, err := s.conn.ReadMsgUDPAddrPort(s.buf, s.oob)
		now := time.Now()
		s.drain(now)
		if err == nil {
			e := probeEvent{user: now, data: s.buf[:n], from: probeUnmap(from)}
			e.kernel = stampIn(s.oob[:oobn])
			return e, nil
		}
		if len(s.events) > 0 {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && !late && now.Sub(deadline) > lateRead {
			deadline, late = now.Add(lateRead), true
			continue
		}
		var errno syscall.Errno
		if errors.As(err, &errno) {
			return probeEvent{user: now, err: errno}, nil
		}
		return probeEvent{}, err
	}
}

// drain takes everything off the error queue. Entries left there would be returned by later calls in place of what those
// are about.
func (s *probeSocket) drain(now time.Time) {
	_ = s.raw.Control(func(fd uintptr) {
		var p [2048]byte
		var oob [1024]byte
		for {
			n, oobn, _, to, err := unix.Recvmsg(int(fd), p[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return
			}
			s.entry(p[:n], oob[:oobn], probeSockaddr(to), now)
		}
	})
}

// entry handles one entry of the error queue: the stamp of a datagram that left, or an error about one, which is quoted.
func (s *probeSocket) entry(quoted, oob []byte, to netip.AddrPort, now time.Time) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for _, m := range messages {
		q, ok := queuedErrorIn(m)
		if !ok {
			continue
		}
		e := probeEvent{user: now, kernel: stampIn(oob), icmp: q.icmp}
		switch {
		case q.origin == unix.SO_EE_ORIGIN_TIMESTAMPING:
			s.clock.left(s.base+q.data, e.kernel)
			continue
		case q.icmp == nil:
			e.err = q.errno
		case to.Addr() != s.target.Addr().WithZone("") || to.Port() != s.target.Port():
			continue // about a datagram that was not sent to the target, such as an answer to another port
		default:
			e.quoted = append([]byte(nil), quoted...)
		}
		if len(s.events) < probeMostEvents {
			s.events = append(s.events, e)
		}
	}
}

// queuedError is struct sock_extended_err and the address behind it.
type queuedError struct {
	errno  syscall.Errno
	origin byte
	data   uint32
	icmp   *probeICMP // nil if origin is another
}

// queuedErrorIn returns the error in a control message of the error queue.
func queuedErrorIn(m unix.SocketControlMessage) (q queuedError, ok bool) {
	v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
	v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
	const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
	if !v4 && !v6 || len(m.Data) < size {
		return q, false
	}
	// errno (4), origin, type, code, pad, info (4), data (4)
	q = queuedError{errno: syscall.Errno(binary.NativeEndian.Uint32(m.Data)), origin: m.Data[4], data: binary.NativeEndian.Uint32(m.Data[12:])}
	if q.origin == unix.SO_EE_ORIGIN_ICMP || q.origin == unix.SO_EE_ORIGIN_ICMP6 {
		q.icmp = &probeICMP{Type: int(m.Data[5]), Code: int(m.Data[6]), v6: q.origin == unix.SO_EE_ORIGIN_ICMP6,
			From: probeRawSockaddr(m.Data[size:])}
	}
	return q, true
}

// stampIn returns the kernel's time stamp among control messages, or the zero time.
func stampIn(oob []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Time{}
	}
	for _, m := range messages {
		var ts unix.Timespec
		raw := unsafe.Slice((*byte)(unsafe.Pointer(&ts)), unsafe.Sizeof(ts))
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPING && len(m.Data) >= len(raw) {
			if copy(raw, m.Data); ts.Sec != 0 || ts.Nsec != 0 {
				return time.Unix(ts.Unix())
			}
		}
	}
	return time.Time{}
}

// probeSockaddr returns the address in sa without its zone.
func probeSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// probeRawSockaddr returns the address in a sockaddr_in or sockaddr_in6, or the zero Addr if there is none.
func probeRawSockaddr(b []byte) netip.Addr {
	if len(b) < 2 {
		return netip.Addr{}
	}
	switch family := binary.NativeEndian.Uint16(b); {
	case family == unix.AF_INET && len(b) >= 8:
		return netip.AddrFrom4([4]byte(b[4:8]))
	case family == unix.AF_INET6 && len(b) >= 24:
		return netip.AddrFrom16([16]byte(b[8:24]))
	}
	return netip.Addr{}
}

// probeTimedOut says whether err means that the time is up.
func probeTimedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
