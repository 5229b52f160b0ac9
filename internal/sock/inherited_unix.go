//go:build unix

package sock

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// FindInherited returns the socket that the variables LISTEN_PID and LISTEN_FDS
// pass on to this process (sd_listen_fds(3)), nil if there is none. It unsets
// the variables, and marks the descriptor close-on-exec. More sockets than one,
// a connection (Accept=yes in systemd.socket(5)) and other descriptors are
// errors.
func FindInherited() (*Inherited, error) {
	const first = 3 // SD_LISTEN_FDS_START
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || n < 1 {
		return nil, nil
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	if n > 1 {
		return nil, fmt.Errorf("%d sockets are passed on, and one is served: give each a service of its own", n)
	}
	return inherit(first)
}

// inherit is FindInherited for one descriptor.
func inherit(fd int) (*Inherited, error) {
	i := &Inherited{fd: uintptr(fd)}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	unix.CloseOnExec(fd)
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	network, suffix := map[int]string{unix.SOCK_STREAM: "tcp", unix.SOCK_DGRAM: "udp"}[kind], ""
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		i.Addr, suffix = netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port)), "4"
	case *unix.SockaddrInet6:
		addr := netip.AddrFrom16(name.Addr)
		if name.ZoneId != 0 {
			addr = addr.WithZone(strconv.Itoa(int(name.ZoneId)))
		}
		i.Addr, suffix = netip.AddrPortFrom(addr, uint16(name.Port)), "6"
	case *unix.SockaddrUnix:
		i.Path = name.Name
		network = map[int]string{unix.SOCK_STREAM: "unix", unix.SOCK_DGRAM: "unixgram"}[kind]
	default:
		network = ""
	}
	if network == "" {
		return nil, fmt.Errorf("descriptor %d is no socket of TCP, UDP or Unix streams and datagrams", fd)
	}
	if accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); kind == unix.SOCK_STREAM && err == nil && accepts == 0 {
		return nil, errors.New("a connection, and no socket that listens: say Accept=no in its unit")
	}
	i.Network = network + suffix
	return i, nil
}
