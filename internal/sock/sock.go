// Package sock is about one socket: its options, its names, how it is closed and
// what its peer has acknowledged.
package sock

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// AddrPort returns the IP address and port of a, with IPv4 addresses of a
// dual-stack socket in their own form; the zero value for a Unix address.
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

// PeerName names an address in messages as nc does: "127.0.0.1 port 80", or
// the path of a Unix socket.
func PeerName(a net.Addr) string {
	if ap := AddrPort(a); ap.IsValid() {
		return ap.Addr().String() + " port " + strconv.Itoa(int(ap.Port()))
	}
	if a == nil || a.String() == "" || a.String() == "@" {
		return "the peer"
	}
	return a.String()
}

// Under is the socket under a connection that wraps one, or c itself.
func Under(c net.Conn) net.Conn {
	for {
		over, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = over.NetConn()
	}
}

// HalfCloser is a connection whose sending direction ends on its own.
type HalfCloser interface{ CloseWrite() error }

// HalfClose tells the peer that nothing more will come: FIN, or the like. A
// connection that the peer has reset meanwhile is not connected any more; that
// is for whoever reads from it, or settles it, to find.
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

// Reset closes c so that the peer notices: a reset instead of an orderly end.
// It is how a transfer that failed here is kept from looking complete there.
func Reset(c net.Conn) {
	socket := Under(c)
	if tcp, ok := socket.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = socket.Close()
}

// AwaitAck waits until the peer's system has acknowledged all that was sent to
// c. Without it purr could end with status 0 while the last bytes are still on
// their way to a peer that then resets the connection. gaveUp is asked now and
// then, with the number of bytes still unacknowledged; its error ends the
// wait.
func AwaitAck(c net.Conn, gaveUp func(unacked int) error) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		unacked, err := Unacked(c)
		if err != nil || unacked == 0 {
			return err
		}
		if err := gaveUp(unacked); err != nil {
			return err
		}
		time.Sleep(pause)
	}
}

// RawStream returns the raw connection of a TCP or Unix stream socket. A
// wrapped connection is not one: its bytes are not the socket's.
func RawStream(end any) (syscall.RawConn, bool) {
	var raw syscall.RawConn
	var err error
	switch c := end.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	default:
		return nil, false
	}
	return raw, err == nil
}
