package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The sockets of a scan: how one is opened and used again, and what it knows of its connection attempt.

// spare returns where a socket of addr's family is kept for the next connection.
func (e *scanEngine) spare(addr netip.AddrPort) *int {
	if addr.Addr().Is6() {
		return &e.spare6
	}
	return &e.spare4
}

// keep keeps a socket whose connection was refused and says whether it did. Linux has disconnected it by then: it
// has neither port nor peer and connects anew (inet_stream_connect, sk_prot->disconnect).
func (e *scanEngine) keep(fd int, addr netip.AddrPort) bool {
	place := e.spare(addr)
	if *place >= 0 || e.o.source.IsValid() {
		return false
	}
	*place = fd
	return true
}

// open returns a socket whose connection to addr is under way, or has already failed or succeeded.
func (e *scanEngine) open(addr netip.AddrPort) (fd int, err error) {
	if place := e.spare(addr); *place >= 0 {
		fd, *place = *place, -1
		if err = e.reconnect(fd, addr); err == nil || err == unix.EINPROGRESS {
			return fd, nil
		}
		unix.Close(fd) // and see whether a new one does better
	}
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if family == unix.AF_INET6 { // IPv4 queues errors of a connection attempt unasked
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	}
	if from := sourceFor(e.o.source, addr); from.IsValid() {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		var source unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte(from.Addr().AsSlice()[:4]), Port: int(from.Port())}
		if from.Addr().Is6() {
			source = &unix.SockaddrInet6{Addr: from.Addr().As16(), Port: int(from.Port()), ZoneId: scanZone(from.Addr().Zone())}
		}
		if err := unix.Bind(fd, source); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("bind", err)
		}
	}
	if err = e.reconnect(fd, addr); err == nil || err == unix.EINPROGRESS {
		return fd, nil
	}
	unix.Close(fd)
	return -1, os.NewSyscallError("connect", err)
}

// reconnect calls connect, which for a connection under way returns what became of it: nil, EALREADY or its error.
//
// It is a raw system call, of which the scheduler is not told: it never blocks, there are two for each port, and a processor
// taken away meanwhile and asked back costs as much as the call (measured: a third of the time of a scan on a busy machine).
func (e *scanEngine) reconnect(fd int, addr netip.AddrPort) error {
	sa, size := unsafe.Pointer(&e.raw4), unsafe.Sizeof(e.raw4)
	port := (*[2]byte)(unsafe.Pointer(&e.raw4.Port))
	if addr.Addr().Is4() {
		e.raw4.Family, e.raw4.Addr = unix.AF_INET, addr.Addr().As4()
	} else {
		e.raw6.Family, e.raw6.Addr, e.raw6.Scope_id = unix.AF_INET6, addr.Addr().As16(), scanZone(addr.Addr().Zone())
		sa, size = unsafe.Pointer(&e.raw6), unsafe.Sizeof(e.raw6)
		port = (*[2]byte)(unsafe.Pointer(&e.raw6.Port))
	}
	binary.BigEndian.PutUint16(port[:], addr.Port())
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(sa), size)
		switch errno {
		case unix.EINTR:
			continue
		case 0, unix.EISCONN:
			return nil
		}
		return errno
	}
}

// scanZone returns the number of an IPv6 zone, which is an interface's name or its number.
func scanZone(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}

// scanPending returns what became of a connection under way if err, from connect, does not tell. An ICMP error that arrives
// while connect still holds the socket, or one that TCP would rather sit out, is kept as a soft error, which only
// SO_ERROR returns; nobody who asks whether a port is open wants to sit it out.
func scanPending(fd int, err error) error {
	if err != unix.EALREADY && err != unix.EINPROGRESS {
		return err
	}
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 {
		return unix.Errno(n)
	}
	return unix.EALREADY
}

// icmp returns the ICMP error in the socket's error queue, or nil.
func (e *scanEngine) icmp(fd int) *probeICMP {
	var oob [512]byte
	for range 8 {
		_, n, _, _, err := unix.Recvmsg(fd, e.buf[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return nil
		}
		messages, _ := unix.ParseSocketControlMessage(oob[:n])
		for _, m := range messages {
			if q, ok := queuedErrorIn(m); ok && q.icmp != nil {
				return q.icmp
			}
		}
	}
	return nil
}

// self says whether the connection goes to itself: a socket that connects to a free port of this machine, and is
// given just that port as its own, meets its own SYN (RFC 9293 3.5, simultaneous open).
func (e *scanEngine) self(f *scanFlight) bool {
	sa, err := unix.Getsockname(f.fd)
	if err != nil {
		return false
	}
	local, target := probeSockaddr(sa), e.targets[f.index].addr
	return local.Port() == target.Port() && local.Addr() == target.Addr().WithZone("")
}
