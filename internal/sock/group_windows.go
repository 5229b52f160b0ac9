package sock

import (
	"context"
	"net"
)

// ListenPacket binds a datagram socket as config does. Windows binds no address
// of a multicast group: the socket receives everything for the port. joinErr is
// nil.
func ListenPacket(ctx context.Context, config net.ListenConfig, network, addr string) (conn net.PacketConn, joinErr, err error) {
	conn, err = config.ListenPacket(ctx, network, addr)
	return conn, nil, err
}
