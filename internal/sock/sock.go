// Package sock is about one socket: its options, the names of its ends,
// half-close and reset, and the bytes that its peer has acknowledged.
package sock

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// AddrPort returns the IP address and port of a, the zero value for a Unix
// address. An IPv4 address of a dual-stack socket has its IPv4 form.
func AddrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// HostPort returns the host and port of a: an IP address, or the name of a
// HostAddr. ok is false for every other address.
func HostPort(a net.Addr) (host string, port int, ok bool) {
	if target, ok := a.(*HostAddr); ok {
		return target.Host, target.Port, true
	}
	ap := AddrPort(a)
	return ap.Addr().String(), int(ap.Port()), ap.IsValid()
}

// UDPAddr returns the address of a UDP peer, the inverse of AddrPort; nil for
// the zero value.
func UDPAddr(ap netip.AddrPort) net.Addr {
	if !ap.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(ap)
}

// PeerName returns the name of an address in messages, as nc words it:
// "127.0.0.1 port 80", or the path of a Unix socket. An address without a name
// is "the peer".
func PeerName(a net.Addr) string {
	if host, port, ok := HostPort(a); ok {
		return host + " port " + strconv.Itoa(port)
	}
	if a == nil || a.String() == "" || a.String() == "@" {
		return "the peer"
	}
	return a.String()
}

// Under returns the socket under a connection that wraps one by a NetConn
// method, as *tls.Conn does, or c itself.
func Under(c net.Conn) net.Conn {
	for {
		over, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = over.NetConn()
	}
}

// A HalfCloser is a connection whose sending direction can be closed alone.
type HalfCloser interface{ CloseWrite() error }

// HalfClose ends the sending direction of c: by FIN, or close_notify under TLS.
// It does nothing for a connection without CloseWrite. For ENOTCONN, which
// follows a reset of the peer's, it returns nil: a read or AwaitAck reports the
// reset.
func HalfClose(c net.Conn) error {
	h, ok := c.(HalfCloser)
	if !ok {
		return nil
	}
	if err := h.CloseWrite(); !errors.Is(err, syscall.ENOTCONN) {
		return err
	}
	return nil
}

// Reset closes the socket of c, by RST instead of FIN if it is a TCP socket
// (SO_LINGER of 0 seconds in socket(7)), so that a transfer which failed here
// does not look complete to the peer.
func Reset(c net.Conn) {
	socket := Under(c)
	if tcp, ok := socket.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = socket.Close()
}

// AwaitAck waits until the peer's system has acknowledged all bytes sent to c.
// Without the wait a process could end in success while its last bytes are on
// their way to a peer that resets the connection. It returns the error that
// ended the connection meanwhile. gaveUp is called at least every 20 ms with
// the number of bytes still unacknowledged; its error ends the wait. For a
// connection whose method Delivered returns true, before or after an error,
// AwaitAck returns nil.
func AwaitAck(c net.Conn, gaveUp func(unacked int) error) error {
	if delivered(c) {
		return nil
	}
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		unacked, err := Unacked(c)
		if err != nil && delivered(c) {
			return nil
		}
		if err != nil || unacked == 0 {
			return err
		}
		if err := gaveUp(unacked); err != nil {
			return err
		}
		time.Sleep(pause)
	}
}

// delivered reports whether a reset of c means nothing: what its method
// Delivered returns, false without one.
func delivered(c net.Conn) bool {
	d, ok := c.(interface{ Delivered() bool })
	return ok && d.Delivered()
}

// RawStream returns the raw connection of a *net.TCPConn, *net.UnixConn or
// *vmConn. It returns false for anything else: the bytes of a wrapped
// connection are not the socket's.
func RawStream(end any) (syscall.RawConn, bool) {
	var raw syscall.RawConn
	var err error
	switch c := end.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	case *vmConn:
		raw, err = c.SyscallConn()
	default:
		return nil, false
	}
	return raw, err == nil
}
