package scan

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spare returns the field that holds the spare socket for addr's family: the
// descriptor of a socket that was refused and can connect again, or -1. To
// reuse it saves two system calls per closed port.
func (e *engine) spare(addr netip.AddrPort) *int {
	if addr.Addr().Is6() {
		return &e.spare6
	}
	return &e.spare4
}

// recycle keeps a socket whose connection was refused for the next attempt, and
// reports whether it did. Linux has disconnected such a socket: it has neither
// port nor peer and can connect anew (inet_stream_connect,
// sk_prot->disconnect).
func (e *engine) recycle(fd int, addr netip.AddrPort) bool {
	place := e.spare(addr)
	if *place >= 0 || e.o.Source.IsValid() {
		return false
	}
	*place = fd
	return true
}

// open returns a socket that is connecting to addr, or whose attempt has
// already failed or succeeded. The error is that of a system call that failed
// at once; no socket is left then.
func (e *engine) open(addr netip.AddrPort) (fd int, err error) {
	if place := e.spare(addr); *place >= 0 {
		fd, *place = *place, -1
		if err = e.connect(fd, addr); err == nil || err == unix.EINPROGRESS {
			return fd, nil
		}
		unix.Close(fd) // a new one may succeed
	}
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if family == unix.AF_INET6 { // IPv4 queues the ICMP errors of a connection attempt without it
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	}
	if err := e.bind(fd, addr); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	if err = e.connect(fd, addr); err == nil || err == unix.EINPROGRESS {
		return fd, nil
	}
	unix.Close(fd)
	return -1, os.NewSyscallError("connect", err)
}

// bind binds a socket to the source, if there is one.
func (e *engine) bind(fd int, addr netip.AddrPort) error {
	from := sourceFor(e.o.Source, addr)
	if !from.IsValid() {
		return nil
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if from.Addr().Is6() {
		return unix.Bind(fd, &unix.SockaddrInet6{Addr: from.Addr().As16(), Port: int(from.Port()), ZoneId: zoneID(from.Addr().Zone())})
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: from.Addr().As4(), Port: int(from.Port())})
}

// connect calls connect(2). For a new connection attempt it returns nil or
// EINPROGRESS, for one in flight nil or EALREADY, else the error of the
// attempt.
//
// It is a raw system call, which the scheduler does not see: it never blocks,
// there are two for each port, and losing and regaining a processor costs as
// much as the call (measured: a third of the time of a scan on a busy machine).
func (e *engine) connect(fd int, addr netip.AddrPort) error {
	sa, size := unsafe.Pointer(&e.sockaddr4), unsafe.Sizeof(e.sockaddr4)
	port := (*[2]byte)(unsafe.Pointer(&e.sockaddr4.Port))
	if addr.Addr().Is4() {
		e.sockaddr4.Family, e.sockaddr4.Addr = unix.AF_INET, addr.Addr().As4()
	} else {
		e.sockaddr6.Family, e.sockaddr6.Addr, e.sockaddr6.Scope_id = unix.AF_INET6, addr.Addr().As16(), zoneID(addr.Addr().Zone())
		sa, size = unsafe.Pointer(&e.sockaddr6), unsafe.Sizeof(e.sockaddr6)
		port = (*[2]byte)(unsafe.Pointer(&e.sockaddr6.Port))
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

// zoneID returns the number of an IPv6 zone, which is the name or the number of
// an interface.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}

// softError returns the outcome of a connection attempt. err is the result of
// connect. If it means that the attempt is in flight, the outcome is its soft
// error if there is one, else EALREADY. An ICMP error is soft if it arrives
// while connect(2) holds the socket, or if TCP would sit it out. Only SO_ERROR
// returns it, and for a scan it is final.
func softError(fd int, err error) error {
	if err != unix.EALREADY && err != unix.EINPROGRESS {
		return err
	}
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 {
		return unix.Errno(n)
	}
	return unix.EALREADY
}

// icmp returns the ICMP error in the socket's error queue, or nil.
func (e *engine) icmp(fd int) *ICMP {
	var oob [512]byte
	for range 8 {
		_, n, _, _, err := unix.Recvmsg(fd, e.buf[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return nil
		}
		messages, _ := unix.ParseSocketControlMessage(oob[:n])
		for _, m := range messages {
			if q, ok := parseQueuedError(m); ok && q.icmp != nil {
				return q.icmp
			}
		}
	}
	return nil
}

// toItself reports whether the connection is to itself. A socket that connects
// to a free port of this machine, and is given that port as its own, meets its
// own SYN (RFC 9293 3.5, simultaneous open).
func (e *engine) toItself(a *attempt) bool {
	sa, err := unix.Getsockname(a.fd)
	if err != nil {
		return false
	}
	local, target := addrPortOf(sa), e.targets[a.target].Addr
	return local.Port() == target.Port() && local.Addr() == target.Addr().WithZone("")
}
