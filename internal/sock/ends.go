package sock

import (
	"net"
	"net/netip"
	"runtime"
	"strconv"
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

// addresses are those of the other end behind a proxy, and of the server that a
// client connected to; local is the zero value for a target.
type addresses struct {
	remote net.Addr
	local  netip.AddrPort
}

// A HostAddr is the address of a TCP target by name, as a proxy gets it.
type HostAddr struct {
	Host string // a name, or an address without brackets
	Port int
}

// Network returns "tcp".
func (a *HostAddr) Network() string { return "tcp" }

func (a *HostAddr) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// SetEnds records the addresses of the client behind the proxy that is the peer
// of c, a socket of a type that RawStream knows or a wrapper of one: remote is
// the client's own, local the one that it connected to.
func SetEnds(c net.Conn, remote, local netip.AddrPort) {
	record(c, addresses{net.TCPAddrFromAddrPort(remote), local})
}

// SetTarget records the target behind the proxy that is the peer of c, a socket
// as for SetEnds: RemoteAddr then returns it, and Ends still the addresses of
// the socket.
func SetTarget(c net.Conn, target *HostAddr) { record(c, addresses{remote: target}) }

// record keeps a for the socket of c.
func record(c net.Conn, a addresses) {
	switch socket := Under(c).(type) {
	case *net.TCPConn:
		recordFor(socket, a)
	case *net.UnixConn:
		recordFor(socket, a)
	case *vmConn:
		recordFor(socket, a)
	}
}

// recordFor is record for one type of sockets.
func recordFor[T any](socket *T, a addresses) {
	key := weak.Make(socket)
	anyEnds.Store(true)
	ends.Store(key, a)
	runtime.AddCleanup(socket, func(key weak.Pointer[T]) { ends.Delete(key) }, key)
}

// Ends returns the addresses that SetEnds has recorded for c; otherwise those
// of its socket, the zero value for a Unix address.
func Ends(c net.Conn) (remote, local netip.AddrPort) {
	if a, ok := recorded(c); ok && a.local.IsValid() {
		return AddrPort(a.remote), a.local
	}
	return AddrPort(c.RemoteAddr()), AddrPort(c.LocalAddr())
}

// RemoteAddr returns the address of the peer of c, or of the client or target
// behind it if SetEnds or SetTarget has recorded that.
func RemoteAddr(c net.Conn) net.Addr {
	if a, ok := recorded(c); ok {
		return a.remote
	}
	return c.RemoteAddr()
}

// recorded returns what SetEnds or SetTarget has recorded for c.
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
