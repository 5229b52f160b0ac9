package sock

import (
	"cmp"
	"context"
	"net"
	"os"
	"syscall"
)

// ListenPacket binds a datagram socket as config does. Windows binds no address
// of a multicast group: the socket receives everything for the port. joinErr is
// nil.
func ListenPacket(ctx context.Context, config net.ListenConfig, network, addr string) (conn net.PacketConn, joinErr, err error) {
	conn, err = config.ListenPacket(ctx, network, addr)
	return conn, nil, err
}

// sendOn makes a socket send to IPv4 groups on the interface with the address
// own.
func sendOn(raw syscall.RawConn, own [4]byte) (err error) {
	controlErr := raw.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt IP_MULTICAST_IF", syscall.SetsockoptInet4Addr(syscall.Handle(fd), syscall.IPPROTO_IP, syscall.IP_MULTICAST_IF, own))
	})
	return cmp.Or(controlErr, err)
}
