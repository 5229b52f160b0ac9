package scan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/sock"
)

// A socket is an unconnected UDP socket that reports the ICMP errors about its
// datagrams. It is unconnected because some services answer from another port
// (TFTP, RFC 1350 4). It uses the error queue (IP_RECVERR) because Linux keeps
// most ICMP errors from a plain socket, such as "host unreachable".
type socket struct {
	udpSocket
	raw    syscall.RawConn
	oob    []byte
	events []event // taken off the error queue, not yet returned by receive
	base   uint32  // number of the datagram that the kernel counts as 0
}

// maxEvents is the number of errors kept between two calls of receive.
const maxEvents = 256

const stamping = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE |
	unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY

// openSocket returns a socket of the target's family, bound to source if it is
// valid. The caller closes it.
func openSocket(ctx context.Context, target, source netip.AddrPort) (*socket, error) {
	network, local := network(target, source)
	conn, err := net.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	if err := sock.RefuseBroadcasts(conn); err != nil {
		conn.Close()
		return nil, err
	}
	s := &socket{udpSocket: udpSocket{conn: conn, target: target, buf: make([]byte, maxDatagram)}, oob: make([]byte, 512)}
	if s.raw, err = conn.SyscallConn(); err != nil {
		conn.Close()
		return nil, err
	}
	var option error
	err = s.raw.Control(func(fd uintptr) {
		if target.Addr().Is6() {
			option = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
		} else {
			option = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		}
		// Without time stamps the process's clock is used.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamping)
	})
	if err = errors.Join(err, option); err != nil {
		conn.Close()
		return nil, fmt.Errorf("error queue: %w", err)
	}
	s.watch(ctx)
	return s, nil
}

// sendTo sends a datagram and returns its number for the clock.
//
// An ICMP error that is pending on the socket is returned by the next send, and
// the datagram does not leave. Therefore after an error the queue is drained
// into events, and the datagram is sent once more.
func (s *socket) sendTo(b []byte, to netip.AddrPort) (number uint32, err error) {
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

// restamp makes the kernel count datagrams from 0 again, beginning with the
// next one. Kernel versions differ in whether they count one that failed. The
// queue must be empty.
func (s *socket) restamp() {
	s.base = s.clock.next
	_ = s.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, 0)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamping)
	})
}

// read returns the next event: a queued one, a datagram or an error of the
// socket. An expired deadline is an error, even if this process was held up
// over it: receive looks once more then.
func (s *socket) read(ctx context.Context, deadline time.Time) (event, error) {
	for {
		if len(s.events) > 0 {
			e := s.events[0]
			s.events = s.events[1:]
			return e, nil
		}
		if err := s.setDeadline(ctx, deadline); err != nil {
			return event{}, err
		}
		n, oobn, _, from, err := s.conn.ReadMsgUDPAddrPort(s.buf, s.oob)
		now := time.Now()
		s.drain(now)
		if err == nil {
			return event{user: now, kernel: parseStamp(s.oob[:oobn]), data: s.buf[:n], from: unmap(from)}, nil
		}
		if len(s.events) > 0 {
			continue
		}
		var errno syscall.Errno
		if errors.As(err, &errno) {
			return event{user: now, err: errno}, nil
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return event{}, err
	}
}

// drain empties the error queue, and handles each entry as arrived at now. An
// entry that is left there would be returned by the next system call on the
// socket, in place of its own result.
func (s *socket) drain(now time.Time) {
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
			s.entry(p[:n], oob[:oobn], addrPortOf(to), now)
		}
	})
}

// entry handles an entry of the error queue. A time stamp of a datagram that
// has left goes to the clock. An error becomes an event; if it is an ICMP
// error, it must be about a datagram to the target. to is that datagram's
// destination, and quoted its beginning.
func (s *socket) entry(quoted, oob []byte, to netip.AddrPort, now time.Time) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for _, m := range messages {
		q, ok := parseQueuedError(m)
		if !ok {
			continue
		}
		e := event{user: now, kernel: parseStamp(oob), icmp: q.icmp}
		switch {
		case q.origin == unix.SO_EE_ORIGIN_TIMESTAMPING:
			s.clock.stamped(s.base+q.data, e.kernel)
			continue
		case q.icmp == nil:
			e.err = q.errno
		case to.Addr() != s.target.Addr().WithZone("") || to.Port() != s.target.Port():
			continue // about another datagram, such as one to the port that an answer came from
		default:
			e.quoted = append([]byte(nil), quoted...)
		}
		if len(s.events) < maxEvents {
			s.events = append(s.events, e)
		}
	}
}
