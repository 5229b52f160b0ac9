package datagram

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/sock"
	"purr/internal/sys"
)

// A Socket receives and sends batches on a datagram socket. It is for one
// receiving and one sending goroutine; Deadline, SetPeer and KeepPeer belong to
// the former.
//
// Its descriptor is not in Go's poller, which registers for EPOLLOUT: with UDP
// that fires each time the other end has taken a datagram, and wakes a thread
// for nothing. It waits in poll(2) together with an interrupt.
type Socket struct {
	Local, Remote net.Addr  // Remote is nil for a listener
	Deadline      time.Time // of Receive; zero: none

	// Lost is called by the methods for a datagram that was dropped, with
	// the name of its other end in messages.
	Lost func(peer string, err error)

	// Permits, if set, reports whether datagrams of a sender are received. The
	// others are dropped, without a call of Lost.
	Permits func(from netip.AddrPort) bool

	// Refused, if set, is called when the system of the dialled peer has answered
	// an earlier datagram by ECONNREFUSED.
	Refused func()

	// Prompt makes a sending method drop a datagram that cannot be sent within
	// about 20 ms, as with a full queue. It is for a socket that must not hold up
	// others.
	Prompt bool

	fd         int
	interrupt  *fdio.Interrupt
	peer       atomic.Pointer[rawPeer]
	noSegments bool     // of a Unix socket, and once the kernel has refused UDP_SEGMENT
	patience   patience // of Reply with full queues
	fairness   fairness // of the sending goroutine
}

// Open returns a Socket with a duplicate of conn's descriptor, and closes conn,
// also on failure. The caller closes the Socket. When i has fired, all waits
// end with fdio.ErrInterrupted.
func Open(conn Conn, i *fdio.Interrupt) (*Socket, error) {
	defer conn.Close()
	s := &Socket{Local: conn.LocalAddr(), Remote: conn.RemoteAddr(), interrupt: i}
	if _, group := conn.(*sock.GroupConn); group { // is not connected
		s.peer.Store(&rawPeer{name: rawName(s.Remote.(*net.UDPAddr).AddrPort())})
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if controlErr != nil || err != nil {
		return nil, errors.Join(controlErr, err)
	}
	s.noSegments = s.isUnix() // which would ignore the control message, and send one datagram
	s.enlarge(unix.SO_RCVBUF, unix.SO_RCVBUFFORCE)
	if s.manyPeers() {
		// What one peer has not read takes room from the answers to all others.
		s.enlarge(unix.SO_SNDBUF, unix.SO_SNDBUFFORCE)
		s.fairness.size, _ = unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	}
	return s, nil
}

// enlarge makes a socket buffer larger, for bursts, unless -I or -O has set its
// size. option is SO_RCVBUF or SO_SNDBUF. force is the option by which root
// exceeds the system's limit (net.core.rmem_max, wmem_max).
func (s *Socket) enlarge(option, force int) {
	const room = 4 << 20
	fresh, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	usual, _ := unix.GetsockoptInt(fresh, unix.SOL_SOCKET, option)
	_ = unix.Close(fresh)
	if size, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, option); err != nil || size != usual {
		return // -I or -O
	}
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, force, room) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, option, room)
	}
}

func (s *Socket) isUnix() bool {
	_, ok := s.Local.(*net.UnixAddr)
	return ok
}

// manyPeers reports whether this is a Unix socket that is not connected:
// poll(2) reports it as writable whatever the queues of its peers hold.
func (s *Socket) manyPeers() bool { return s.isUnix() && s.Remote == nil }

// AskForDestination lets a socket that will listen on every address receive the
// destination address of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO). The
// answer is sent from there, because a client drops an answer from any other
// address. It must be called before the socket is bound: the kernel records the
// destination when a datagram arrives.
func AskForDestination(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) {
		// An IPv6 socket takes both, and reports an IPv4 datagram by both; the first
		// fails on an IPv4 socket.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	})
}

// Close frees the descriptor. No other method may be running.
func (s *Socket) Close() { _ = unix.Close(s.fd) }

// ReportErrors makes a socket without a fixed peer report ICMP errors about its
// datagrams, such as ECONNREFUSED (IP_RECVERR in ip(7)).
func (s *Socket) ReportErrors() {
	_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
}

// Arrived reports whether a datagram waits to be received.
func (s *Socket) Arrived() bool { return sys.Readable(s.fd) }

// Receive waits for datagrams, stores them in b and returns their number, at
// least 1. It drops datagrams that Permits rejects, and those that are too
// long, for which it calls Lost. After the Deadline the error is
// os.ErrDeadlineExceeded. Errors of the system are returned as they are.
func (s *Socket) Receive(b *Batch) (int, error) {
	for {
		b.reset(len(b.msgs))
		n, err := s.call(unix.SYS_RECVMMSG, b.msgs, unix.POLLIN, s.Deadline)
		if err != nil {
			return 0, err
		}
		if n = s.keepWhole(b, n); n > 0 {
			return n, nil
		}
	}
}

// keepWhole moves those of the first n datagrams that Permits accepts and that
// are not too long to the front, and returns their number.
func (s *Socket) keepWhole(b *Batch, n int) int {
	return b.Keep(n, func(i int) bool {
		if s.Permits != nil && !s.Permits(b.Sender(i)) {
			return false
		}
		if b.msgs[i].hdr.Flags&unix.MSG_TRUNC == 0 {
			return true
		}
		s.lose(senderName(b.name(i)), ErrTooLong)
		return false
	})
}

// call calls recvmmsg or sendmmsg and returns the number of messages. On EAGAIN
// it waits for events until the deadline and tries again. A sendmmsg of a
// socket with many peers cannot wait like that, because no event follows, and
// one of a Prompt socket must not: both return ErrQueueFull.
func (s *Socket) call(number uintptr, msgs []mmsghdr, events int16, deadline time.Time) (int, error) {
	for {
		n, _, errno := unix.Syscall6(number, uintptr(s.fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			if number == unix.SYS_SENDMMSG && (s.Prompt || s.manyPeers()) {
				return 0, ErrQueueFull
			}
			if err := s.interrupt.Wait(s.fd, events, deadline); err != nil {
				return 0, err
			}
		default:
			return 0, errno
		}
	}
}

// Reply sends each of the first n datagrams of b back to its sender, from the
// address to which it came. It calls Lost for each that cannot be sent, or that
// admit turns down. A sender with a full queue is waited for
// as long as patience allows. Afterwards the content of b is no longer valid.
// Reply returns an error only if the interrupt has fired.
func (s *Socket) Reply(b *Batch, n int) error {
	n, err := s.admit(b, n)
	if err != nil {
		return err
	}
	for i := range n {
		h := &b.msgs[i].hdr
		h.Iov.SetLen(int(b.msgs[i].len))
		h.Flags = 0
		answerFrom(h)
	}
	return s.send(func(segments bool) []mmsghdr { return b.gather(n, segments) })
}

// admit begins a batch of answers: it moves those of the first n datagrams that
// can be answered now to the front, and returns their number. It calls Lost for
// the others. It returns an error only if the interrupt has fired.
func (s *Socket) admit(b *Batch, n int) (int, error) {
	s.patience.renew(time.Now())
	s.measure()
	greedy := false
	n = b.Keep(n, func(i int) bool {
		switch {
		case !b.Answerable(i) && s.Remote == nil:
			s.lose(senderName(b.name(i)), ErrNoAddress)
		case !s.mayTake(b.name(i), int(b.msgs[i].len)):
			greedy = true
			s.lose(senderName(b.name(i)), ErrQueueFull)
		default:
			return true
		}
		return false
	})
	return n, s.pauseFor(greedy)
}

// pauseFor waits a moment if greedy is true and patience allows it: a peer that
// takes its answers slowly gets time to do so.
func (s *Socket) pauseFor(greedy bool) error {
	if greedy && s.patience.take() {
		return s.interrupt.Sleep(pause)
	}
	return nil
}

// send sends the messages that gather returns, with or without segments. It
// calls Lost for each that cannot be sent, and waits for full queues as long as
// patience allows. It returns an error only if the interrupt has fired.
func (s *Socket) send(gather func(segments bool) []mmsghdr) error {
	out := gather(!s.noSegments)
	for sent := 0; sent < len(out); {
		m, err := s.call(unix.SYS_SENDMMSG, out[sent:], unix.POLLOUT, time.Time{})
		sent += m
		switch {
		case err == nil:
		case errors.Is(err, unix.ECONNREFUSED) && !s.isUnix():
			// An ICMP error about an earlier datagram; this one is not sent yet.
			if s.Refused != nil {
				s.Refused()
			}
		case fdio.ClosedHere(err):
			return err
		case errors.Is(err, ErrQueueFull) && s.patience.take():
			if err := s.interrupt.Sleep(pause); err != nil {
				return err
			}
		case out[sent].hdr.Iovlen > 1 && !errors.Is(err, ErrQueueFull):
			// The route does not take segments (UDP_SEGMENT in udp(7)).
			s.noSegments = true
			done := 0
			for _, m := range out[:sent] {
				done += int(m.hdr.Iovlen)
			}
			out = gather(false)
			sent = done
		default:
			for range out[sent].hdr.Iovlen {
				s.lose(senderName(unsafe.Slice(out[sent].hdr.Name, out[sent].hdr.Namelen)), err)
			}
			sent++
		}
	}
	return nil
}

// measure lets fairness observe the send buffer of a socket with many peers.
func (s *Socket) measure() {
	if s.fairness.size > 0 {
		if taken, err := sys.IoctlInt(s.fd, unix.SIOCOUTQ); err == nil {
			s.fairness.observe(taken, time.Now())
		}
	}
}

// mayTake reports whether fairness lets a peer, by its raw address, take n more
// bytes of the send buffer, and counts them if it does. Unless manyPeers is
// true, fairness has no size, and there is no limit.
func (s *Socket) mayTake(peer []byte, n int) bool {
	return s.fairness.size == 0 || s.fairness.allows(peer, n)
}

// A rawPeer is the peer of a listener: its raw address, and the control message
// that makes a datagram to it leave from the address to which the peer has
// sent.
type rawPeer struct {
	name, control []byte
	received      []byte // the control message as received
}

// SetPeer makes the sender of datagram i the peer of SendToPeer.
func (s *Socket) SetPeer(b *Batch, i int) {
	h := b.msgs[i].hdr
	received := unsafe.Slice(h.Control, h.Controllen)
	if old := s.peer.Load(); old != nil && bytes.Equal(old.name, b.name(i)) && bytes.Equal(old.received, received) {
		return
	}
	control := bytes.Clone(received)
	received = bytes.Clone(received)
	if len(control) > 0 {
		h.Control = &control[0]
		answerFrom(&h)
	}
	s.peer.Store(&rawPeer{name: bytes.Clone(b.name(i)), control: control[:h.Controllen], received: received})
}

// KeepPeer moves the peer's datagrams among the first n to the front and
// returns their number. SetPeer must have been called.
func (s *Socket) KeepPeer(b *Batch, n int) int {
	peer := s.peer.Load().name
	return b.Keep(n, func(i int) bool { return bytes.Equal(b.name(i), peer) })
}

// PeerName returns the name of SetPeer's peer for messages: "the peer" if there
// is none yet.
func (s *Socket) PeerName() string {
	if peer := s.peer.Load(); peer != nil {
		return senderName(peer.name)
	}
	return "the peer"
}

// senderName returns the name of a raw address for messages: address and port,
// the path of a Unix socket, @NAME for an abstract one, or "the peer" if it has
// no name.
func senderName(name []byte) string {
	if ap := rawAddrPort(name); ap.IsValid() {
		return sock.PeerName(net.UDPAddrFromAddrPort(ap))
	}
	if len(name) <= 2 || rawFamily(name) != unix.AF_UNIX {
		return "the peer"
	}
	if path := name[2:]; path[0] == 0 {
		return "@" + string(path[1:])
	}
	path, _, _ := bytes.Cut(name[2:], []byte{0})
	return string(path)
}

// SendToPeer sends one datagram to the peer of SetPeer, or else to the dialled
// one. If the queue of a Unix listener's peer is full, it tries again until
// limit has passed (0: without limit), or until SetPeer has set another peer;
// then the error is ErrQueueFull. A peer without an address causes
// ErrNoAddress.
func (s *Socket) SendToPeer(d []byte, limit time.Duration) error {
	iov := unix.Iovec{Base: unsafe.SliceData(d)}
	iov.SetLen(len(d))
	m := []mmsghdr{{hdr: unix.Msghdr{Iov: &iov}}}
	m[0].hdr.SetIovlen(1)
	peer := s.peer.Load()
	if peer != nil {
		if len(peer.name) == 0 {
			return ErrNoAddress
		}
		m[0].hdr.Name, m[0].hdr.Namelen = &peer.name[0], uint32(len(peer.name))
		if len(peer.control) > 0 {
			m[0].hdr.Control = &peer.control[0]
			m[0].hdr.SetControllen(len(peer.control))
		}
	}
	for begun := time.Now(); ; {
		err := ErrQueueFull
		if s.measure(); peer == nil || limit == 0 || s.mayTake(peer.name, len(d)) {
			_, err = s.call(unix.SYS_SENDMMSG, m, unix.POLLOUT, time.Time{})
		}
		if !errors.Is(err, ErrQueueFull) || s.peer.Load() != peer || limit > 0 && time.Since(begun) >= limit {
			return err
		}
		if err := s.interrupt.Sleep(pause); err != nil {
			return err
		}
	}
}
