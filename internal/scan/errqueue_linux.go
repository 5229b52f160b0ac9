package scan

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A queuedError is struct sock_extended_err of recvmsg(2) with MSG_ERRQUEUE,
// and the address that follows it.
type queuedError struct {
	errno  syscall.Errno
	origin byte
	data   uint32
	icmp   *ICMP // nil if the origin is not ICMP
}

// parseQueuedError returns the error in a control message of the error queue.
// It reports false if the message is of another kind.
func parseQueuedError(m unix.SocketControlMessage) (q queuedError, ok bool) {
	v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
	v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
	const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
	if !v4 && !v6 || len(m.Data) < size {
		return q, false
	}
	// errno (4), origin, type, code, pad, info (4), data (4)
	q = queuedError{errno: syscall.Errno(binary.NativeEndian.Uint32(m.Data)), origin: m.Data[4], data: binary.NativeEndian.Uint32(m.Data[12:])}
	if q.origin == unix.SO_EE_ORIGIN_ICMP || q.origin == unix.SO_EE_ORIGIN_ICMP6 {
		q.icmp = &ICMP{Type: int(m.Data[5]), Code: int(m.Data[6]), V6: q.origin == unix.SO_EE_ORIGIN_ICMP6,
			From: parseSockaddr(m.Data[size:])}
	}
	return q, true
}

// parseStamp returns the kernel's software time stamp among control messages,
// or the zero time.
func parseStamp(oob []byte) time.Time {
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

// parseSockaddr returns the address in a sockaddr_in or sockaddr_in6, or the
// zero Addr if there is none.
func parseSockaddr(b []byte) netip.Addr {
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

// addrPortOf returns the address in sa without its zone.
func addrPortOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
