package datagram

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/sock"
	"purr/internal/sys"
)

// BatchSize is the number of datagrams that one system call may take. Only
// memory that datagrams fill is touched, so the size costs address space.
const BatchSize = 64

// An mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// A Batch holds datagrams in the form of recvmmsg(2) and sendmmsg(2): an answer
// is sent from the same memory, to the sender's address in its place. Nothing
// is allocated after NewBatch. (golang.org/x/net has these calls too, but makes
// a net.Addr of every address.) It is for one goroutine.
type Batch struct {
	msgs    []mmsghdr
	iovs    []unix.Iovec
	names   []unix.RawSockaddrAny
	control [][64]byte
	slot    int
	views   [][]byte // for WriteTo

	// Messages of Reply, gathered from msgs.
	out        []mmsghdr
	outIovs    []unix.Iovec
	outControl [][64]byte
}

// NewBatch returns a batch of at most n datagrams for sockets of a network of
// package net.
func NewBatch(network string, n int) *Batch {
	slot := datagramSlot(network)
	if network == "unixgram" {
		n = min(n, 4)
	}
	b := &Batch{
		msgs: make([]mmsghdr, n), iovs: make([]unix.Iovec, n), names: make([]unix.RawSockaddrAny, n),
		control: make([][64]byte, n), slot: slot, views: make([][]byte, 0, n),
		out: make([]mmsghdr, 0, n), outIovs: make([]unix.Iovec, n), outControl: make([][64]byte, n),
	}
	memory := make([]byte, n*slot)
	for i := range b.msgs {
		b.iovs[i].Base = &memory[i*slot]
		h := &b.msgs[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = &b.control[i][0]
	}
	b.reset(n)
	return b
}

// reset prepares the first n slots for receiving.
func (b *Batch) reset(n int) {
	for i := range b.msgs[:n] {
		h := &b.msgs[i].hdr
		h.Namelen = unix.SizeofSockaddrAny
		h.SetControllen(len(b.control[i]))
		h.Flags = 0
		h.Iov.SetLen(b.slot)
	}
}

// Data returns datagram i, which is valid until the next Receive.
func (b *Batch) Data(i int) []byte {
	return unsafe.Slice(b.msgs[i].hdr.Iov.Base, b.msgs[i].len)
}

// name returns the raw address of the sender of datagram i.
func (b *Batch) name(i int) []byte {
	h := &b.msgs[i].hdr
	return unsafe.Slice(h.Name, h.Namelen)
}

// Sender returns the address of the sender of datagram i; the zero value for a
// Unix socket.
func (b *Batch) Sender(i int) netip.AddrPort { return rawAddrPort(b.name(i)) }

// rawAddrPort parses a struct sockaddr_in or sockaddr_in6.
func rawAddrPort(name []byte) netip.AddrPort {
	if len(name) < unix.SizeofSockaddrInet4 {
		return netip.AddrPort{}
	}
	port := uint16(name[2])<<8 | uint16(name[3])
	switch (*unix.RawSockaddr)(unsafe.Pointer(&name[0])).Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(name[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(name[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// Size returns the bytes in the first n datagrams.
func (b *Batch) Size(n int) int {
	size := 0
	for i := range b.msgs[:n] {
		size += int(b.msgs[i].len)
	}
	return size
}

// Apply calls f, which changes bytes in place and returns them, with each of
// the first n datagrams.
func (b *Batch) Apply(n int, f func([]byte) []byte) {
	for i := range n {
		f(b.Data(i))
	}
}

// WriteTo writes the first n datagrams to out one behind the other, with
// writev(2). It returns fdio.ErrInterrupted if the interrupt of out fires
// first.
func (b *Batch) WriteTo(out *fdio.File, n int) error {
	b.views = b.views[:0]
	for i := range n {
		if d := b.Data(i); len(d) > 0 {
			b.views = append(b.views, d)
		}
	}
	for views := b.views; len(views) > 0; {
		if err := out.WaitWritable(); err != nil {
			return err
		}
		written, err := unix.Writev(out.FD(), views)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if err != nil {
			return os.NewSyscallError("writev", err)
		}
		for len(views) > 0 && written >= len(views[0]) {
			written -= len(views[0])
			views = views[1:]
		}
		if written > 0 {
			views[0] = views[0][written:]
		}
	}
	return nil
}

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

	fd         int
	interrupt  *fdio.Interrupt
	peer       atomic.Pointer[rawPeer]
	noSegments bool // whether the kernel has refused UDP_SEGMENT
}

// Open takes conn over, also on failure: it closes conn, and the caller closes
// the Socket. All waits end with ErrInterrupted when i has fired.
func Open(conn Conn, i *fdio.Interrupt) (*Socket, error) {
	defer conn.Close()
	s := &Socket{Local: conn.LocalAddr(), Remote: conn.RemoteAddr(), interrupt: i}
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
	// A larger buffer for bursts, as far as the system allows; root may exceed
	// net.core.rmem_max.
	const room = 4 << 20
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, room)
	}
	return s, nil
}

// AskForDestination lets a socket that will listen on every address receive the
// destination address of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO), so that
// the answer is sent from there: a client of a host with several addresses
// would drop another. It must be called before the socket is bound, because the
// kernel records the address when a datagram arrives.
func AskForDestination(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) {
		// Each fails on a socket of the other family.
		if unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
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

// Receive waits for datagrams and returns their number in b. It returns
// os.ErrDeadlineExceeded after the Deadline, and errors of the system as they
// are.
func (s *Socket) Receive(b *Batch) (int, error) {
	b.reset(len(b.msgs))
	n, err := s.call(unix.SYS_RECVMMSG, b.msgs, unix.POLLIN, s.Deadline)
	if err != nil {
		return 0, err
	}
	for i := range b.msgs[:n] {
		if b.msgs[i].hdr.Flags&unix.MSG_TRUNC != 0 {
			return 0, errTruncated
		}
	}
	return n, nil
}

// call calls recvmmsg or sendmmsg and waits as long as that returns EAGAIN.
func (s *Socket) call(number uintptr, msgs []mmsghdr, events int16, deadline time.Time) (int, error) {
	for {
		n, _, errno := unix.Syscall6(number, uintptr(s.fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			if err := s.interrupt.Wait(s.fd, events, deadline); err != nil {
				return 0, err
			}
		default:
			return 0, errno
		}
	}
}

// Reply sends each of the first n datagrams of b back to its sender. It calls
// lost for one that cannot be sent and goes on; its own error is that of the
// socket.
func (s *Socket) Reply(b *Batch, n int, lost func(to string, err error)) error {
	for i := range n {
		h := &b.msgs[i].hdr
		h.Iov.SetLen(int(b.msgs[i].len))
		h.Flags = 0
		answerFrom(h)
	}
	out := b.gather(n, !s.noSegments)
	for sent := 0; sent < len(out); {
		m, err := s.call(unix.SYS_SENDMMSG, out[sent:], unix.POLLOUT, time.Time{})
		sent += m
		switch {
		case err == nil:
		case errors.Is(err, unix.ECONNREFUSED):
			// An ICMP error about an earlier datagram; this one is not sent yet.
		case fdio.ClosedHere(err):
			return err
		case out[sent].hdr.Iovlen > 1:
			// The route does not take segments (UDP_SEGMENT in udp(7)).
			s.noSegments = true
			done := 0
			for _, m := range out[:sent] {
				done += int(m.hdr.Iovlen)
			}
			out, sent = b.gather(n, false), done
		default:
			lost(senderName(unsafe.Slice(out[sent].hdr.Name, out[sent].hdr.Namelen)), err)
			sent++
		}
	}
	return nil
}

// maxSegments is the most datagrams that the kernel makes of one message
// (UDP_MAX_SEGMENTS in older kernels).
const maxSegments = 64

// gather returns the messages that send the first n datagrams back. With
// segments, consecutive datagrams of one size to one peer become one message,
// which passes the kernel's stack once and is cut there (UDP_SEGMENT in
// udp(7)).
func (b *Batch) gather(n int, segments bool) []mmsghdr {
	b.out = b.out[:0]
	for i := range n {
		b.outIovs[i] = *b.msgs[i].hdr.Iov
	}
	for i := 0; i < n; {
		run := 1
		if segments {
			run = b.run(i, n)
		}
		m := mmsghdr{hdr: b.msgs[i].hdr}
		m.hdr.Iov = &b.outIovs[i]
		m.hdr.SetIovlen(run)
		if run > 1 {
			b.segment(&m.hdr, &b.outControl[i], uint16(b.msgs[i].len))
		}
		b.out = append(b.out, m)
		i += run
	}
	return b.out
}

// run returns the number of datagrams from i on that can be one message: those
// with the same addresses and the size of the first; the last may be shorter.
func (b *Batch) run(i, n int) int {
	first, total := &b.msgs[i], int(b.msgs[i].len)
	if first.len == 0 || rawFamily(b.name(i)) == unix.AF_UNIX {
		return 1
	}
	for j := i + 1; j < n && j < i+maxSegments; j++ {
		next := &b.msgs[j]
		total += int(next.len)
		if next.len == 0 || next.len > first.len || total > MaxPayload ||
			!bytes.Equal(b.name(i), b.name(j)) || !bytes.Equal(controlOf(&first.hdr), controlOf(&next.hdr)) {
			return j - i
		}
		if next.len < first.len {
			return j - i + 1
		}
	}
	return min(n-i, maxSegments)
}

// segment adds the segment size to the control messages of h, in other memory.
func (b *Batch) segment(h *unix.Msghdr, control *[64]byte, size uint16) {
	used := copy(control[:], controlOf(h))
	used = (used + unix.SizeofPtr - 1) &^ (unix.SizeofPtr - 1)
	c := (*unix.Cmsghdr)(unsafe.Pointer(&control[used]))
	c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	c.SetLen(unix.CmsgLen(2))
	*(*uint16)(unsafe.Pointer(&control[used+unix.CmsgLen(0)])) = size
	h.Control = &control[0]
	h.SetControllen(used + unix.CmsgSpace(2))
}

func controlOf(h *unix.Msghdr) []byte { return unsafe.Slice(h.Control, h.Controllen) }

func rawFamily(name []byte) uint16 {
	if len(name) < 2 {
		return unix.AF_UNIX
	}
	return (*unix.RawSockaddr)(unsafe.Pointer(&name[0])).Family
}

// answerFrom turns the control message of a received datagram, which holds its
// destination, into one that sends the answer from there (struct in_pktinfo in
// ip(7), in6_pktinfo in ipv6(7)). The interface is left to routing, except for
// a link-local peer, whose address needs it.
func answerFrom(h *unix.Msghdr) {
	n := int(h.Controllen)
	if n < unix.SizeofCmsghdr {
		h.SetControllen(0)
		return
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(h.Control))
	data := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(h.Control), unix.CmsgLen(0))), n-unix.CmsgLen(0))
	switch {
	case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		(*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Ifindex = 0
	case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
		if to := netip.AddrFrom16(info.Addr); to.IsMulticast() {
			h.SetControllen(0)
		} else if !to.IsLinkLocalUnicast() {
			info.Ifindex = 0
		}
	default:
		h.SetControllen(0)
	}
}

// A rawPeer is the peer of a listener: its address, and the control message
// that sends from the address that it has sent to.
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
	kept, peer := 0, s.peer.Load().name
	for i := range n {
		if bytes.Equal(b.name(i), peer) {
			b.msgs[kept], b.msgs[i] = b.msgs[i], b.msgs[kept]
			kept++
		}
	}
	return kept
}

// PeerName returns the name of the peer in messages.
func (s *Socket) PeerName() string {
	if peer := s.peer.Load(); peer != nil {
		return senderName(peer.name)
	}
	return "the peer"
}

// senderName returns the name of a raw address in messages.
func senderName(name []byte) string {
	if ap := rawAddrPort(name); ap.IsValid() {
		return sock.PeerName(net.UDPAddrFromAddrPort(ap))
	}
	return "the peer"
}

// SendToPeer sends one datagram to the dialled peer, or to that of SetPeer.
func (s *Socket) SendToPeer(d []byte) error {
	iov := unix.Iovec{Base: unsafe.SliceData(d)}
	iov.SetLen(len(d))
	m := []mmsghdr{{hdr: unix.Msghdr{Iov: &iov}}}
	m[0].hdr.SetIovlen(1)
	if peer := s.peer.Load(); peer != nil {
		if len(peer.name) == 0 {
			return unix.EDESTADDRREQ // a Unix client without a name of its own
		}
		m[0].hdr.Name, m[0].hdr.Namelen = &peer.name[0], uint32(len(peer.name))
		if len(peer.control) > 0 {
			m[0].hdr.Control = &peer.control[0]
			m[0].hdr.SetControllen(len(peer.control))
		}
	}
	_, err := s.call(unix.SYS_SENDMMSG, m, unix.POLLOUT, time.Time{})
	return err
}
