package main

import (
	"net"

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

// connName names the other end of c in messages. A Unix client has no name of
// its own and gets that of the listening socket.
func connName(c net.Conn) string {
	if name := sock.PeerName(sock.RemoteAddr(c)); name != "the peer" {
		return name
	}
	return "the client of " + sock.PeerName(c.LocalAddr())
}
