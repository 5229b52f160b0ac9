package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"purr/internal/flags"
	"purr/internal/sock"
	"purr/internal/sys"
)

// A listener binds the socket of the command line and serves its clients.
type listener struct {
	*netOptions
	listenOptions
	clientLimit  int // of clients at once
	log          *logger
	meter        *meter
	encryption   *encryption
	bound        func(net.Addr) error // called once the socket is bound, before a client is accepted
	removeAtExit func(path string)
	crew         *sock.Crew // of its clients
	commands     bool       // whether clients run a command
	denied       netip.Addr // the last one that the access lists have denied
}

// clientLimit returns how many clients may be served at once: --max-conns, and
// never more than there are descriptors for, so that a handler does not find
// none left in the middle of its work.
func clientLimit(cfg *config) int {
	most := 1 << 20
	reserve := 16 // stdio, the poller, the listener, an interrupt, what was inherited
	if cfg.encrypts() {
		reserve += handshakes()
	}
	if cfg.acceptProxy {
		reserve += handshakes()
	}
	perClient := 7
	switch {
	case cfg.exec != nil && cfg.udp: // senders can be forged, and each process has a thread here
		perClient, most = 7, 1<<12
	case cfg.exec != nil:
		perClient = 9 // the socket, two pipes, two interrupts, the process
	case cfg.echo:
		perClient = 1
	case cfg.push.moves():
		perClient = 4 // the socket, a file, the directories above it
	case cfg.udp: // -L: at most half of a socket's local ports
		perClient, most = 2, 1<<14
	case cfg.sendFile != "":
		perClient = 8 // the socket, the file, the pipes of two interrupts and of splice
	}
	limit := most
	if n := sys.DescriptorLimit(); n > 0 {
		limit = max(1, (n-reserve)/perClient)
	}
	if cfg.maxConns > 0 {
		limit = min(limit, cfg.maxConns)
	}
	return min(limit, most)
}

type deadliner interface{ SetDeadline(time.Time) error }

// listen opens the listening socket and serves one client, or with -k all of
// them.
func (l *listener) listen(ctx context.Context, talk handler) error {
	ln, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer ln.Close()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	clients, err := l.clients(ctx, ln)
	if err != nil {
		return err
	}
	if l.keep {
		return l.crew.Serve(ctx, clients, l.clientLimit, func(conn net.Conn) { l.serveOne(ctx, conn, talk) })
	}
	conn, err := clients.Accept()
	if err != nil {
		return err
	}
	// Later clients are refused at once, instead of waiting in the backlog for an
	// accept that never comes.
	_ = clients.Close()
	defer conn.Close()
	l.greet(ctx, conn)
	defer l.meter.ConnClosed()
	return talk(ctx, conn)
}

// clients returns a listener that accepts only clients which the access lists
// permit, which have sent a PROXY header under --accept-proxy, and whose
// handshake, with a key or TLS, has succeeded. The time limit of
// --accept-timeout is lifted after the first one. The caller closes ln.
func (l *listener) clients(ctx context.Context, ln net.Listener) (net.Listener, error) {
	if l.acceptTimeout > 0 {
		_ = ln.(deadliner).SetDeadline(time.Now().Add(l.acceptTimeout))
	}
	all, err := l.encryption.clients(ctx, l.announced(ctx, sock.Acceptor{Listener: ln, Next: func() (net.Conn, error) { return l.acceptPermitted(ctx, ln) }}))
	if l.acceptTimeout <= 0 || err != nil {
		return all, err
	}
	return sock.Acceptor{Listener: all, Next: func() (net.Conn, error) {
		conn, err := all.Accept()
		if err == nil {
			_ = ln.(deadliner).SetDeadline(time.Time{})
		}
		return conn, err
	}}, nil
}

// greet logs a new client and counts it; ConnClosed ends the count. If clients
// are encrypted, nc's line was printed before the handshake.
func (l *listener) greet(ctx context.Context, conn net.Conn) {
	if !l.encryption.encrypts() {
		l.logAccept(ctx, conn)
	}
	l.meter.connOpened("accept", conn)
}

// serveOne holds the conversation with one of several clients, and closes conn.
// Its error is printed and ends no other conversation.
func (l *listener) serveOne(ctx context.Context, conn net.Conn, talk handler) {
	defer conn.Close()
	l.greet(ctx, conn)
	defer l.meter.ConnClosed()
	if err := talk(ctx, conn); err != nil && ctx.Err() == nil {
		l.log.fail(err)
	}
}

// open binds the socket and listens, logs that, and calls l.bound. The caller
// closes the listener.
func (l *listener) open(ctx context.Context) (net.Listener, error) {
	config := net.ListenConfig{
		Control:         l.socketOptions().Control,
		KeepAliveConfig: l.keepalive,
		KeepAlive:       sock.KeepAlivePeriod(l.keepalive.Enable),
	}
	config.SetMultipathTCP(false) // each plain client would pay for it
	if l.unix {
		return l.openUnix(ctx, config)
	}
	network, addr, err := l.listenAddr(ctx)
	if err != nil {
		return nil, err
	}
	ln, err := l.inherited.Listen(ctx, config, network, addr)
	if err != nil {
		return nil, localError{fmt.Errorf("listen on %s: %w", l.listenName(l.ports[0]), sys.Cause(err))}
	}
	l.logListen(ln.Addr())
	if err := l.bound(ln.Addr()); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}

// listenAddr resolves the names of the access lists, and then returns the
// network and the address to bind, for Go's net package. An empty host is every
// address of both families.
func (l *listener) listenAddr(ctx context.Context) (network, addr string, err error) {
	if err := l.resolveAccess(ctx); err != nil {
		return "", "", err
	}
	network, port := l.network, l.ports[0]
	switch {
	case l.ipv4:
		network += "4"
	case l.ipv6:
		network += "6"
	}
	if l.host == "" {
		return network, flags.JoinPort("", port), nil
	}
	addrs, err := l.resolve(ctx, l.host, port)
	if err != nil {
		return "", "", err
	}
	if addrs[0].Unmap().Is4() && !l.ipv4 { // Go's "tcp" would bind 0.0.0.0 for IPv6, too
		network += "4"
	}
	return network, netip.AddrPortFrom(addrs[0], uint16(port)).String(), nil
}

// listenName is the address to listen on as messages give it: nc's way, where
// every address is 0.0.0.0, or :: under -6.
func (l *listener) listenName(port int) string {
	host := l.host
	switch {
	case host == "" && l.ipv6:
		host = "::"
	case host == "":
		host = "0.0.0.0"
	}
	return fmt.Sprintf("%s %d", host, port)
}

// logListen prints nc's line under -v, one for each family if both are bound. A
// port that the kernel chose appears at any verbosity, in the first line: no
// client could connect otherwise. It also warns of a command that any client
// can run.
func (l *listener) logListen(addr net.Addr) {
	at := verbose
	if l.ports[0] == 0 {
		at = always
	}
	bound := sock.AddrPort(addr)
	if literal, err := netip.ParseAddr(l.host); err == nil { // the kernel forgets the zone of some
		bound = netip.AddrPortFrom(literal.Unmap(), bound.Port())
	}
	both := l.host == "" && !l.ipv6 && bound.Addr().Is6()
	first := bound
	if both {
		first = netip.AddrPortFrom(netip.IPv4Unspecified(), bound.Port())
	}
	name := first.Addr().String()
	if l.log.level > 0 && l.host != "" {
		name = l.resolver().HostName(context.Background(), bound.Addr())
	}
	verb := "Listening"
	if l.udp {
		verb = "Bound"
	}
	l.meter.SetActivity("%s on %s %d", strings.ToLower(verb), name, bound.Port())
	l.log.logListening(l.network, addr)
	l.warnOfCommand(bound.Addr())
	l.log.ncLine(at, l.log.as.Listening(verb, name, first))
	if both {
		l.log.ncLine(verbose, l.log.as.Listening(verb, "::", bound))
	}
}

// logAccept prints nc's line about a new client.
func (l *listener) logAccept(ctx context.Context, conn net.Conn) {
	l.logPeer(ctx, sock.AddrPort(sock.RemoteAddr(conn)))
}

// logPeer prints nc's line about the peer of a connection or the first sender
// of datagrams, which is not valid for a Unix socket.
func (l *listener) logPeer(ctx context.Context, from netip.AddrPort) {
	if l.log.level > 0 && !l.log.json { // else a lookup is spared
		l.log.ncLine(verbose, l.log.as.Accepted(from, l.path, func() string { return l.resolver().HostName(ctx, from.Addr()) }))
	}
}

// accept waits for one client, which the caller closes. While there are no free
// descriptors it goes on waiting, after one warning.
func (l *listener) accept(ctx context.Context, ln net.Listener) (net.Conn, error) {
	conn, err := sock.Accept(ctx, ln, func(err error) {
		l.log.warnf("accept on %s: %v: the next clients wait until some have gone", l.boundName(ln), sys.Cause(err))
	})
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("accept on %s: nobody connected within %v", l.boundName(ln), l.acceptTimeout)
	case err != nil:
		return nil, fmt.Errorf("accept on %s: %w", l.boundName(ln), sys.Cause(err))
	}
	return conn, nil
}

// boundName names the address or path that ln is bound to.
func (l *listener) boundName(ln net.Listener) string {
	if l.unix {
		return l.path
	}
	return l.listenName(int(sock.AddrPort(ln.Addr()).Port()))
}

// openUnix listens on a Unix stream socket. A socket file without a listener is
// replaced; a live one, and any other file, is not touched.
func (l *listener) openUnix(ctx context.Context, config net.ListenConfig) (net.Listener, error) {
	ln, err := l.inherited.Listen(ctx, config, l.network, l.path)
	if err != nil {
		return nil, localError{fmt.Errorf("listen on %s: %w", l.path, sys.Cause(err))}
	}
	l.removeAtExit(l.path)
	l.log.ncLine(verbose, l.log.as.OnPath(l.path, "Bound", "Listening")...)
	l.meter.SetActivity("listening on %s", l.path)
	l.log.logListening(l.network, ln.Addr())
	if err := l.bound(ln.Addr()); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}
