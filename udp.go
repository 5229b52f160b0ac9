package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"purr/internal/datagram"
	"purr/internal/flags"
	"purr/internal/sock"
	"purr/internal/sys"
)

// A packets is the part of a run behind -u: it opens sockets of datagrams.
type packets struct {
	*netOptions
	listen       bool
	interval     time.Duration // between two ports
	dialer       *dialer
	listener     *listener
	talk         *talker
	log          *logger
	meter        *meter
	notifier     *notifier
	removeAtExit func(path string)
	confine      func() // called before a conversation
}

// dialPackets talks to each port in turn: it sends stdin, a datagram for each
// read, and prints the replies.
func (p *packets) dialPackets(ctx context.Context) error {
	if p.unix {
		return p.dialUnixgram(ctx)
	}
	ports := p.ports
	if p.shuffle {
		ports = flags.Shuffled(ports)
	}
	for i, port := range ports {
		if i > 0 && !sys.Sleep(ctx, p.interval) {
			return context.Cause(ctx)
		}
		if err := p.dialUDP(ctx, port); err != nil {
			return err
		}
	}
	return nil
}

// dialUDP exchanges datagrams with one port: with the first of its addresses to
// which the system has a route.
func (p *packets) dialUDP(ctx context.Context, port int) error {
	conn, err := p.dialer.connectUDP(ctx, port)
	if err != nil {
		return err
	}
	defer conn.Close()
	p.peerFound("dial", conn.RemoteAddr(), conn.LocalAddr())
	p.log.verbosef("sending to %s port %d [%s]: nothing is known of a UDP port until it answers", p.target(sock.AddrPort(conn.RemoteAddr()).Addr()), port, p.serviceName(port))
	p.confine()
	return talkDatagrams(ctx, p.talk, p.datagramEnd(conn, sock.PeerName(conn.RemoteAddr())))
}

// listenPackets receives datagrams: without -k those of the first sender, which
// stdin answers; with -k those of all, and stdin answers the last sender.
func (p *packets) listenPackets(ctx context.Context) error {
	conn, err := p.openPackets(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	end := p.datagramEnd(conn, "")
	if p.listener.access.Given() {
		end.permits = p.listener.permits
	}
	return talkDatagrams(ctx, p.talk, end)
}

// datagramEnd returns conn in the form that talkDatagrams takes. peer is the
// dialled peer as messages name it, empty for a listener.
func (p *packets) datagramEnd(conn datagram.Conn, peer string) datagramEnd {
	return datagramEnd{conn: conn, peer: peer, name: p.ownName(conn), accepted: p.logSender}
}

// openPackets binds the listening socket. The caller closes it.
func (p *packets) openPackets(ctx context.Context) (datagram.Conn, error) {
	config := net.ListenConfig{Control: func(network, addr string, raw syscall.RawConn) error {
		bound, err := netip.ParseAddrPort(addr) // without an address for both families
		if !p.unix && (err != nil || bound.Addr().IsUnspecified()) {
			datagram.AskForDestination(raw)
		}
		return p.socketOptions().Control(network, addr, raw)
	}}
	network, addr, name := p.network, p.path, p.path
	if !p.unix {
		var err error
		if network, addr, err = p.listener.listenAddr(ctx); err != nil {
			return nil, err
		}
		name = p.listener.listenName(p.ports[0])
	}
	conn, joinErr, err := p.inherited.ListenPacket(ctx, config, network, addr)
	if err != nil {
		return nil, localError{fmt.Errorf("bind to %s: %w", name, sys.Cause(err))}
	}
	if joinErr != nil {
		p.log.warnf("join the group %s: %v", p.host, sys.Cause(joinErr))
	}
	if p.unix {
		p.removeAtExit(p.path)
		p.log.ncLine(verbose, p.log.as.OnPath(p.path, "Bound")...)
		p.meter.SetActivity("bound on %s", p.path)
		p.log.logListening(p.network, conn.LocalAddr())
	} else {
		p.listener.logListen(conn.LocalAddr())
	}
	if err := p.notifier.notifyReady(conn.LocalAddr()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn.(datagram.Conn), nil
}

// peerFound counts the peer of datagrams and logs its event. role is "dial" or
// "accept".
func (p *packets) peerFound(role string, remote, local net.Addr) {
	if role == "dial" {
		p.meter.SetActivity("sending to %s", sock.PeerName(remote))
	}
	p.meter.peerFound(role, remote, local)
}

// logSender prints nc's line about the first sender, and counts that of a
// listener. from is invalid for a Unix socket.
func (p *packets) logSender(ctx context.Context, from netip.AddrPort, local net.Addr) {
	if p.listen { // a dialer has met its peer already
		p.peerFound("accept", sock.UDPAddr(from), local)
	}
	p.listener.logPeer(ctx, from)
}

// ownName names a socket that receives in messages: a listener by its own
// address, a dialer by its peer's.
func (p *packets) ownName(conn datagram.Conn) string {
	if remote := conn.RemoteAddr(); remote != nil {
		return sock.PeerName(remote)
	}
	if p.unix {
		return p.path
	}
	return p.listener.listenName(int(sock.AddrPort(conn.LocalAddr()).Port()))
}

// dialUnixgram talks to a Unix datagram socket. To get replies it needs a name
// of its own: -s PATH, or one that is made for this run.
func (p *packets) dialUnixgram(ctx context.Context) error {
	own := p.source
	if own == "" {
		own = sock.TemporaryName()
	}
	conn, err := p.dialer.connectUnixgram(ctx, own)
	if err != nil {
		return err
	}
	defer conn.Close()
	p.removeAtExit(own)
	p.log.ncLine(verbose, "Bound on "+own)
	p.peerFound("dial", conn.RemoteAddr(), conn.LocalAddr())
	p.confine()
	return talkDatagrams(ctx, p.talk, p.datagramEnd(conn, p.path))
}
