package sock

import (
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"
)

// ends are the addresses of connections that a proxy has passed on, by a weak
// pointer to the socket: an entry is removed when the socket is collected. A
// wrapper with the addresses would cost splice(2).
var ends sync.Map

// anyEnds is whether there was an entry: without one, a look-up would cost each
// connection a weak pointer of its own.
var anyEnds atomic.Bool

// addresses are those of a client and of the server that it connected to.
type addresses struct{ remote, local netip.AddrPort }

// SetEnds records the addresses of the client behind the proxy that is the peer
// of c, a socket of a type that RawStream knows or a wrapper of one: remote is
// the client's own, local the one that it connected to.
func SetEnds(c net.Conn, remote, local netip.AddrPort) {
	switch socket := Under(c).(type) {
	case *net.TCPConn:
		setEnds(socket, addresses{remote, local})
	case *net.UnixConn:
		setEnds(socket, addresses{remote, local})
	case *vmConn:
		setEnds(socket, addresses{remote, local})
	}
}

// setEnds is SetEnds for one type of sockets.
func setEnds[T any](socket *T, a addresses) {
	key := weak.Make(socket)
	anyEnds.Store(true)
	ends.Store(key, a)
	runtime.AddCleanup(socket, func(key weak.Pointer[T]) { ends.Delete(key) }, key)
}

// Ends returns the addresses that SetEnds has recorded for c; otherwise those
// of its socket, the zero value for a Unix address.
func Ends(c net.Conn) (remote, local netip.AddrPort) {
	if a, ok := recorded(c); ok {
		return a.remote, a.local
	}
	return AddrPort(c.RemoteAddr()), AddrPort(c.LocalAddr())
}

// RemoteAddr returns the address of the peer of c, or of the client behind it
// if SetEnds has recorded that.
func RemoteAddr(c net.Conn) net.Addr {
	if a, ok := recorded(c); ok {
		return net.TCPAddrFromAddrPort(a.remote)
	}
	return c.RemoteAddr()
}

// recorded returns what SetEnds has recorded for c.
func recorded(c net.Conn) (addresses, bool) {
	if !anyEnds.Load() {
		return addresses{}, false
	}
	var a any
	switch socket := Under(c).(type) {
	case *net.TCPConn:
		a, _ = ends.Load(weak.Make(socket))
	case *net.UnixConn:
		a, _ = ends.Load(weak.Make(socket))
	case *vmConn:
		a, _ = ends.Load(weak.Make(socket))
	}
	known, ok := a.(addresses)
	return known, ok
}
