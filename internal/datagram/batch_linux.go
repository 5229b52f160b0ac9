package datagram

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/sock"
)

// BatchSize is the number of datagrams that one system call may take. Only
// memory that datagrams fill is touched, so the size costs address space.
const BatchSize = 64

// controlSize is the room for control messages: an in6_pktinfo and an
// in_pktinfo, or one of them and a segment size.
const controlSize = 96

// An mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// A Batch holds datagrams in the form of recvmmsg(2) and sendmmsg(2): an answer
// is sent from the memory of the datagram, to the address that recvmmsg has
// stored beside it. Nothing is allocated after NewBatch. (golang.org/x/net has
// these calls too, but makes a net.Addr of every address.) It is for one
// goroutine.
type Batch struct {
	msgs    []mmsghdr
	iovs    []unix.Iovec
	names   []unix.RawSockaddrAny
	control [][controlSize]byte
	slot    int
	views   [][]byte // for WriteTo

	noNowait bool // whether the kernel has refused RWF_NOWAIT

	// Messages of Reply, gathered from msgs.
	out        []mmsghdr
	outIovs    []unix.Iovec
	outControl [][controlSize]byte
}

// NewBatch returns a batch of at most n datagrams for sockets of network, a
// name of package net. With "unixgram", whose datagrams are large, it has room
// for at most 4.
func NewBatch(network string, n int) *Batch {
	slot := datagramSlot(network)
	if network == "unixgram" {
		n = min(n, 4)
	}
	b := &Batch{
		msgs: make([]mmsghdr, n), iovs: make([]unix.Iovec, n), names: make([]unix.RawSockaddrAny, n),
		control: make([][controlSize]byte, n), slot: slot, views: make([][]byte, 0, n),
		out: make([]mmsghdr, 0, n), outIovs: make([]unix.Iovec, n), outControl: make([][controlSize]byte, n),
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

// Answerable reports whether datagram i has a sender that an answer can reach.
func (b *Batch) Answerable(i int) bool {
	if from := b.Sender(i); from.IsValid() {
		return from.Port() != 0
	}
	return len(b.name(i)) > unix.SizeofSockaddrUnix-len(unix.RawSockaddrUnix{}.Path)
}

// Keep moves those of the first n datagrams for which keep returns true to the
// front, in their order, and returns their number. keep is called with each in
// turn.
func (b *Batch) Keep(n int, keep func(i int) bool) int {
	kept := 0
	for i := range n {
		if keep(i) {
			b.msgs[kept], b.msgs[i] = b.msgs[i], b.msgs[kept]
			kept++
		}
	}
	return kept
}

// Sender returns the address of the sender of datagram i; the zero value for a
// Unix socket.
func (b *Batch) Sender(i int) netip.AddrPort { return rawAddrPort(b.name(i)) }

// SenderName returns the name of the sender of datagram i for messages.
func (b *Batch) SenderName(i int) string { return senderName(b.name(i)) }

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

// rawName returns the raw address of ap, the inverse of rawAddrPort.
func rawName(ap netip.AddrPort) []byte {
	name := make([]byte, unix.SizeofSockaddrInet6)
	if ap.Addr().Is4() {
		name = name[:unix.SizeofSockaddrInet4]
		raw := (*unix.RawSockaddrInet4)(unsafe.Pointer(&name[0]))
		raw.Family, raw.Addr = unix.AF_INET, ap.Addr().As4()
	} else {
		raw := (*unix.RawSockaddrInet6)(unsafe.Pointer(&name[0]))
		raw.Family, raw.Addr = unix.AF_INET6, ap.Addr().As16()
		zone, _ := sock.ZoneIndex(ap.Addr())
		raw.Scope_id = uint32(zone)
	}
	binary.BigEndian.PutUint16(name[2:], ap.Port())
	return name
}

// Size returns the total length of the first n datagrams in bytes.
func (b *Batch) Size(n int) int {
	size := 0
	for i := range b.msgs[:n] {
		size += int(b.msgs[i].len)
	}
	return size
}

// Apply calls f with each of the first n datagrams. f changes the bytes in
// place; its result is ignored.
func (b *Batch) Apply(n int, f func([]byte) []byte) {
	for i := range n {
		f(b.Data(i))
	}
}

// behind is how many bytes a reader has left in a pipe that does not keep up:
// its reads return several datagrams at once, however they were written.
const behind = 16 << 10

// WriteTo writes the first n datagrams to out, except empty ones. A socket or
// pipe gets each in a write of its own, so that a reader that keeps up sees
// them apart. Any other file gets them together with writev(2), as does a pipe
// whose reader is far behind, unless it keeps packets. The error is
// fdio.ErrInterrupted if the interrupt of out fires first.
func (b *Batch) WriteTo(out *fdio.File, n int) error {
	together := n
	switch kind := out.Kind(); kind {
	case fdio.Pipe, fdio.FIFO, fdio.Socket:
		if kind == fdio.Socket || n == 1 || out.Unread() < behind || keepsPackets(out) {
			together = 1
		}
	}
	b.views = b.views[:0]
	for i := range n {
		if d := b.Data(i); len(d) > 0 {
			b.views = append(b.views, d)
		}
	}
	for views := b.views; len(views) > 0; {
		written, err := b.write(out, views[:min(len(views), together)])
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if errors.Is(err, fdio.ErrInterrupted) {
			return err
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

// keepsPackets reports whether a pipe is in packet mode: each read returns the
// bytes of one write only (O_DIRECT in pipe(2)).
func keepsPackets(out *fdio.File) bool {
	flags, err := unix.FcntlInt(uintptr(out.FD()), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_DIRECT != 0
}

// write writes views by one system call, and returns how many bytes out has
// taken. It first tries without waiting (RWF_NOWAIT in pwritev2(2)), which
// spares a call of poll(2) for each datagram. If out is full, or the kernel
// does not support that for out, it waits until out is writable.
func (b *Batch) write(out *fdio.File, views [][]byte) (int, error) {
	if !b.noNowait {
		written, err := unix.Pwritev2(out.FD(), views, -1, unix.RWF_NOWAIT)
		switch err {
		case unix.EOPNOTSUPP, unix.ENOSYS, unix.EPERM, unix.EINVAL:
			b.noNowait = true
		case unix.EAGAIN:
		default:
			return written, err
		}
	}
	if err := out.WaitWritable(); err != nil {
		return 0, err
	}
	return unix.Writev(out.FD(), views)
}

// maxSegments is the most datagrams that the kernel makes of one message
// (UDP_MAX_SEGMENTS in older kernels).
const maxSegments = 64

// gather returns the messages that send the first n datagrams back, until its
// next call. If segments is true, consecutive datagrams of one size to one peer
// become one message, which passes the kernel's stack once and is cut there
// (UDP_SEGMENT in udp(7)).
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
	if first.len == 0 {
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

// segment copies the control messages of h to control, adds the segment size
// there, and makes h use the copy.
func (b *Batch) segment(h *unix.Msghdr, control *[controlSize]byte, size uint16) {
	used := copy(control[:], controlOf(h))
	used = (used + unix.SizeofPtr - 1) &^ (unix.SizeofPtr - 1)
	c := (*unix.Cmsghdr)(unsafe.Pointer(&control[used]))
	c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	c.SetLen(unix.CmsgLen(2))
	*(*uint16)(unsafe.Pointer(&control[used+unix.CmsgLen(0)])) = size
	h.Control = &control[0]
	h.SetControllen(used + unix.CmsgSpace(2))
}

// controlOf returns the control messages of h, without copying them.
func controlOf(h *unix.Msghdr) []byte { return unsafe.Slice(h.Control, h.Controllen) }

// rawFamily returns the family of a raw address. An empty one is that of a Unix
// socket without a name.
func rawFamily(name []byte) uint16 {
	if len(name) < 2 {
		return unix.AF_UNIX
	}
	return (*unix.RawSockaddr)(unsafe.Pointer(&name[0])).Family
}

// answerFrom turns the control messages of a received datagram, which hold its
// destination, into one that sends the answer from there (struct in_pktinfo in
// ip(7), in6_pktinfo in ipv6(7)). Routing chooses the interface, except for a
// link-local address, which needs its own. If the destination is a broadcast
// address or a group, the kernel chooses the source. An IPv4 datagram on an
// IPv6 socket has both messages; only the IPv4 one holds that choice
// (ipi_spec_dst) and is used.
func answerFrom(h *unix.Msghdr) {
	control := controlOf(h)
	h.SetControllen(0)
	for rest := control; len(rest) >= unix.SizeofCmsghdr; {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&rest[0]))
		size := int(c.Len)
		if size < unix.CmsgLen(0) || size > len(rest) {
			return
		}
		data := rest[unix.CmsgLen(0):size]
		switch {
		case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			(*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Ifindex = 0
			h.SetControllen(copy(control, rest[:size]))
			return
		case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			to := netip.AddrFrom16(info.Addr)
			if !to.IsLinkLocalUnicast() {
				info.Ifindex = 0
			}
			if !to.IsMulticast() && !to.Is4In6() {
				h.SetControllen(copy(control, rest[:size]))
			}
		}
		rest = rest[min(len(rest), unix.CmsgSpace(len(data))):]
	}
}
