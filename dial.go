package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"purr/internal/datagram"
	"purr/internal/display"
	"purr/internal/eyeballs"
	"purr/internal/flags"
	"purr/internal/proxy"
	"purr/internal/proxyproto"
	"purr/internal/scan"
	"purr/internal/sock"
	"purr/internal/sys"
)

// A dialer opens connections to the peer of the command line.
type dialer struct {
	*netOptions
	waitOptions
	interval time.Duration // between two ports
	log      *logger
	meter    *meter
	opened   func(context.Context) // called as soon as there is a connection
	proxied  *proxy.Dialer         // nil without --proxy

	sendProxy int      // version of the PROXY header; 0: none is sent
	client    net.Conn // the one whose addresses the header has; nil: the connection itself
}

// dialAll holds one conversation with each port in turn, as nc does. A port
// that cannot be reached is passed over; if none can be, the last error is
// returned. The first conversation that fails is the last one, and its error is
// returned.
func (d *dialer) dialAll(ctx context.Context, talk handler) error {
	if d.unix {
		return d.dialUnix(ctx, talk)
	}
	ports := d.ports
	if d.shuffle {
		ports = flags.Shuffled(ports)
	}
	var failed error
	connected := false
	for i, port := range ports {
		if i > 0 && !sys.Sleep(ctx, d.interval) {
			return context.Cause(ctx)
		}
		conn, err := d.dialRetry(ctx, port)
		if err != nil {
			failed = err
			if len(ports) > 1 {
				d.log.fail(err)
				failed = reportedError{err}
			}
			continue
		}
		connected = true
		err = talk(ctx, conn)
		conn.Close()
		if err != nil {
			return err
		}
	}
	if connected {
		return nil
	}
	return failed
}

// dial connects to one port of the host over TCP, through the proxy if there is
// one, and prints nc's line under -v. The caller closes the connection.
func (d *dialer) dial(ctx context.Context, port int) (net.Conn, error) {
	connect := d.dialHost
	if d.proxied != nil {
		connect = d.dialProxied
	}
	conn, err := connect(ctx, port)
	if err == nil {
		err = d.announce(conn)
	}
	if err != nil {
		return nil, err
	}
	d.opened(ctx)             // from here on there is something to lose
	if d.log.shows(verbose) { // the words cost something
		name, addr := d.host, d.host
		if d.proxied == nil {
			remote := sock.AddrPort(conn.RemoteAddr()).Addr()
			name, addr = d.target(remote), remote.String()
		}
		d.log.ncLine(verbose, d.log.as.Connected(name, port, d.serviceName(port), addr))
	}
	return conn, nil
}

// announce sends the header of --send-proxy on a new connection. If that fails,
// it closes conn.
func (d *dialer) announce(conn net.Conn) error {
	if d.sendProxy == 0 {
		return nil
	}
	if err := proxyproto.Send(conn, d.client, d.sendProxy); err != nil {
		_ = conn.Close()
		return fmt.Errorf("send the PROXY header to %s: %w", connName(conn), sys.Cause(err))
	}
	return nil
}

// dialHost connects to one port of the host without a proxy.
func (d *dialer) dialHost(ctx context.Context, port int) (net.Conn, error) {
	addrs, local, err := d.endpoints(ctx, port)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("connect to %s port %d from %s: Address family for hostname not supported", d.host, port, local.Addr())
	}
	return d.race(ctx, addrs, local, port)
}

// endpoints returns the addresses of the host in the order to try them, and the
// address to dial from, which is not valid if the system chooses it. addrs is
// empty if none has the family of a valid one.
func (d *dialer) endpoints(ctx context.Context, port int) (addrs []netip.Addr, local netip.AddrPort, err error) {
	if addrs, err = d.resolve(ctx, d.host, port); err != nil {
		return nil, local, err
	}
	if local, err = d.localAddr(ctx, addrs); err == nil && local.Addr().IsValid() {
		addrs = eyeballs.SameFamily(addrs, local.Addr())
	}
	return addrs, local, err
}

// race connects to the first of addrs that answers. With several addresses, -v
// logs each failed attempt at once, as in nc; otherwise the error holds all of
// them.
func (d *dialer) race(ctx context.Context, addrs []netip.Addr, local netip.AddrPort, port int) (net.Conn, error) {
	return eyeballs.Race(ctx, addrs, func(ctx context.Context, addr netip.Addr) (net.Conn, error) {
		conn, err := d.connect(ctx, local, netip.AddrPortFrom(addr, uint16(port)))
		if err != nil && len(addrs) > 1 && d.log.level > 0 && ctx.Err() == nil {
			d.log.fail(err)
			err = reportedError{err}
		}
		return conn, err
	})
}

// target is the host as the user typed it, with the address it stands for
// where that is something else: "localhost (::1)", as nc has it.
func (o *netOptions) target(addr netip.Addr) string { return display.Target(o.host, addr) }

// connect opens one TCP connection, which the caller closes. The text of its
// error is nc's complete line.
func (d *dialer) connect(ctx context.Context, local netip.AddrPort, remote netip.AddrPort) (net.Conn, error) {
	conn, err := d.dialAddr(ctx, local, remote)
	if err != nil {
		return nil, d.connectError(remote, err)
	}
	return conn, nil
}

// dialAddr opens one TCP connection. Its error is that of package net; connect
// words it.
func (d *dialer) dialAddr(ctx context.Context, local netip.AddrPort, remote netip.AddrPort) (net.Conn, error) {
	nd := net.Dialer{
		Timeout:         d.connectTimeout,
		KeepAliveConfig: d.keepalive,
		KeepAlive:       sock.KeepAlivePeriod(d.keepalive.Enable),
		Control:         d.socketOptions().Control,
	}
	return sock.DialFrom(ctx, nd, "tcp", local, remote)
}

// connectError words a failed connection as nc does. With a proxy it is the
// connection to the proxy.
func (d *dialer) connectError(remote netip.AddrPort, err error) error {
	hop := ""
	if d.proxy != nil {
		hop = "the proxy "
	}
	where := fmt.Sprintf("connect to %s%s port %d (%s)", hop, d.target(remote.Addr()), remote.Port(), d.network)
	if sys.TimedOut(err) {
		return fmt.Errorf("%s timed out: Operation now in progress", where)
	}
	return fmt.Errorf("%s failed: %s", where, sys.Strerror(err))
}

// dialUnix connects to the Unix stream socket, repeatedly under --wait-for and
// --retry, and holds one conversation over it.
func (d *dialer) dialUnix(ctx context.Context, talk handler) error {
	d.meter.SetActivity("connecting to %s", d.path)
	var conn net.Conn
	err := d.retry(ctx, func(ctx context.Context, limit time.Duration) (err error) {
		conn, err = d.connectUnix(ctx, limit)
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	d.opened(ctx)
	d.log.ncLine(verbose, d.log.as.ConnectedTo(d.path)...)
	return talk(ctx, conn)
}

// connectUnix connects to the Unix stream socket, within limit unless it is 0.
// The caller closes the connection.
func (d *dialer) connectUnix(ctx context.Context, limit time.Duration) (net.Conn, error) {
	nd := net.Dialer{Timeout: d.connectTimeout, Control: d.socketOptions().Control}
	if d.waits() {
		nd.Timeout = cmp.Or(nd.Timeout, scan.DefaultTimeout)
	}
	if limit > 0 && (nd.Timeout == 0 || limit < nd.Timeout) {
		nd.Timeout = limit
	}
	dial := sock.DialUnix
	if d.network == "vsock" {
		dial = sock.DialVM
	}
	conn, err := dial(ctx, nd, d.path)
	switch {
	case err == nil:
		return conn, d.announce(conn)
	case ctx.Err() != nil:
		return nil, err
	case errors.Is(err, sock.ErrListenQueueFull):
		return nil, fmt.Errorf("connect to %s timed out: %w", d.path, err)
	}
	return nil, fmt.Errorf("connect to %s failed: %s", d.path, sys.Strerror(err))
}

// connectUDP returns a socket for one port of the host: for the first of its
// addresses to which the system has a route. The caller closes it.
func (d *dialer) connectUDP(ctx context.Context, port int) (datagram.Conn, error) {
	addrs, local, err := d.endpoints(ctx, port)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Control: d.socketOptions().Control}
	err = fmt.Errorf("connect to %s port %d (udp) failed: Address family for hostname not supported", d.host, port)
	for _, addr := range addrs {
		remote := netip.AddrPortFrom(addr, uint16(port))
		conn, dialErr := sock.DialUDP(ctx, dialer, local, remote, d.socket.Broadcast)
		if dialErr == nil {
			return conn.(datagram.Conn), nil
		}
		err = d.connectError(remote, dialErr)
		if errors.Is(dialErr, syscall.EACCES) && !d.socket.Broadcast {
			err = fmt.Errorf("%w (to broadcast, say -b)", err)
		}
	}
	return nil, err
}

// connectUnixgram returns a socket with the name own for the path to dial. The
// caller closes it, and removes the file.
func (d *dialer) connectUnixgram(ctx context.Context, own string) (datagram.Conn, error) {
	if err := sock.ClearPath(ctx, own); err != nil {
		return nil, fmt.Errorf("bind to %s: %w", own, err)
	}
	dialer := net.Dialer{Control: d.socketOptions().Control, LocalAddr: &net.UnixAddr{Name: own, Net: "unixgram"}}
	conn, err := dialer.DialContext(ctx, "unixgram", d.path)
	if err != nil {
		_ = sock.ClearPath(ctx, own)
		return nil, fmt.Errorf("connect to %s failed: %s", d.path, sys.Strerror(err))
	}
	return conn.(datagram.Conn), nil
}
