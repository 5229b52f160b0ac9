package main

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"purr/internal/sock"
)

// This file turns addresses, ports and errors into the words that messages
// use.

// wellKnown are the ports a network tutorial begins with, for machines without
// /etc/services.
var wellKnown = map[string]string{
	"20/tcp": "ftp-data", "21/tcp": "ftp", "22/tcp": "ssh", "23/tcp": "telnet", "25/tcp": "smtp",
	"53/tcp": "domain", "53/udp": "domain", "67/udp": "bootps", "68/udp": "bootpc", "69/udp": "tftp",
	"80/tcp": "http", "110/tcp": "pop3", "119/tcp": "nntp", "123/udp": "ntp", "143/tcp": "imap2",
	"161/udp": "snmp", "443/tcp": "https", "443/udp": "https", "514/udp": "syslog", "993/tcp": "imaps",
}

// services maps "80/tcp" to "http", the first name that /etc/services gives.
var services = sync.OnceValue(func() map[string]string {
	f, err := os.Open("/etc/services")
	if err != nil {
		return wellKnown
	}
	defer f.Close()
	names := make(map[string]string)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if fields := strings.Fields(text); len(fields) >= 2 && names[fields[1]] == "" {
			names[fields[1]] = fields[0]
		}
	}
	return names
})

// serviceName returns nc's words in brackets: "tcp/http", or "tcp/*" where the
// port has no name or under -n.
func (o *netOptions) serviceName(port int) string {
	if !o.numeric {
		if name := services()[strconv.Itoa(port)+"/"+o.network]; name != "" {
			return o.network + "/" + name
		}
	}
	return o.network + "/*"
}

// hostName is the name of an address for "Connection received on": found by
// reverse lookup as nc does, unless -n was given. A name server that does not
// answer must not hold the connection up, so the lookup is short.
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
// its own and is called after the socket it came to.
func connName(c net.Conn) string {
	if name := sock.PeerName(c.RemoteAddr()); name != "the peer" {
		return name
	}
	return "the client of " + sock.PeerName(c.LocalAddr())
}
