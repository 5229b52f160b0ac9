package main

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"purr/internal/sock"
)

// This file turns addresses, ports and errors into the words that messages
// use.

// serviceName returns what nc puts in brackets: "tcp/http", or "tcp/*" where
// the port has no name or under -n.
func (o *netOptions) serviceName(port int) string {
	if !o.numeric {
		if name := sock.ServiceName(o.network, port); name != "" {
			return o.network + "/" + name
		}
	}
	return o.network + "/*"
}

// hostName returns the name of an address for "Connection received on", by a
// reverse lookup as in nc. It returns the address itself under -n, and if no
// name is found within 1 s: a slow name server must not hold the connection up.
func (o *netOptions) hostName(ctx context.Context, addr netip.Addr) string {
	addr = addr.Unmap()
	if o.numeric || addr.IsUnspecified() {
		return addr.String()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	names, err := net.DefaultResolver.LookupAddr(ctx, addr.String())
	if err != nil || len(names) == 0 {
		return addr.String()
	}
	return strings.TrimSuffix(names[0], ".")
}

// connName names the other end of c in messages. A Unix client has no name of
// its own and gets that of the listening socket.
func connName(c net.Conn) string {
	if name := sock.PeerName(c.RemoteAddr()); name != "the peer" {
		return name
	}
	return "the client of " + sock.PeerName(c.LocalAddr())
}
