package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"purr/internal/datagram"
	"purr/internal/sock"
	"purr/internal/sys"
)

// dialPackets sends stdin to one peer, a datagram for each read, and prints
// what comes back.
func (p *purr) dialPackets(ctx context.Context) error {
	if p.cfg.unix {
		return p.dialUnixgram(ctx)
	}
	ports := p.cfg.ports
	if p.cfg.shuffle {
		ports = shuffled(ports)
	}
	for i, port := range ports {
		if i > 0 && !sys.Sleep(ctx, p.cfg.interval) {
			return context.Cause(ctx)
		}
		if err := p.dialUDP(ctx, port); err != nil {
			return err
		}
	}
	return nil
}

func (p *purr) dialUDP(ctx context.Context, port int) error {
	addrs, err := p.cfg.resolve(ctx, p.cfg.host, port)
	if err != nil {
		return err
	}
	local, err := p.cfg.localAddr(ctx)
	if err != nil {
		return err
	}
	dialer := net.Dialer{Control: p.cfg.socketOptions().Control}
	if local.Addr().IsValid() {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(local)
		addrs = sameFamily(addrs, local.Addr())
	} else if local.Port() != 0 {
		dialer.LocalAddr = &net.UDPAddr{Port: int(local.Port())}
	}
	err = fmt.Errorf("connect to %s port %d (udp) failed: Address family for hostname not supported", p.cfg.host, port)
	for _, addr := range addrs { // connecting a UDP socket only asks for a route
		network := "udp4"
		if addr.Is6() {
			network = "udp6"
		}
		remote := netip.AddrPortFrom(addr, uint16(port))
		conn, dialErr := dialer.DialContext(ctx, network, remote.String())
		if dialErr != nil {
			err = p.dialer.connectError(remote, dialErr)
			continue
		}
		defer conn.Close()
		p.meetPeer("dial", conn.RemoteAddr(), conn.LocalAddr())
		p.log.notef(1, "sending to %s port %d [%s]: nothing is known of a UDP port until it answers", p.cfg.target(addr), port, p.cfg.serviceName(port))
		return talkDatagrams(ctx, p.talk, p.datagramEnd(conn.(datagram.Conn), sock.PeerName(conn.RemoteAddr())))
	}
	return err
}

// listenPackets hears datagrams: without -k those of the first sender, which
// stdin answers; with -k everybody's, and stdin answers the last one.
func (p *purr) listenPackets(ctx context.Context) error {
	conn, err := p.openPackets(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return talkDatagrams(ctx, p.talk, p.datagramEnd(conn, ""))
}

// datagramEnd returns what a conversation has to know of a socket. peer is the
// dialled one, empty for a listener.
func (p *purr) datagramEnd(conn datagram.Conn, peer string) datagramEnd {
	return datagramEnd{conn: conn, peer: peer, name: p.ownName(conn), accepted: p.greetSender}
}

// openPackets binds the listening socket. The caller closes it.
func (p *purr) openPackets(ctx context.Context) (datagram.Conn, error) {
	config := net.ListenConfig{Control: func(network, addr string, raw syscall.RawConn) error {
		if p.cfg.host == "" && !p.cfg.unix {
			datagram.AskForDestination(raw)
		}
		return p.cfg.socketOptions().Control(network, addr, raw)
	}}
	network, addr := p.cfg.network, p.cfg.path
	name := p.cfg.path
	if p.cfg.unix {
		if err := clearPath(ctx, network, addr); err != nil {
			return nil, fmt.Errorf("bind to %s: %w", name, err)
		}
	} else {
		var err error
		if network, addr, err = p.listener.listenAddr(ctx); err != nil {
			return nil, err
		}
		name = p.listener.listenName(p.cfg.ports[0])
	}
	conn, err := config.ListenPacket(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("bind to %s: %w", name, sys.Cause(err))
	}
	if p.cfg.unix {
		p.removeAtExit(p.cfg.path)
		p.log.sayf("Bound on %s", p.cfg.path)
		p.doing("bound on %s", p.cfg.path)
		p.log.listening(p.cfg.network, conn.LocalAddr())
	} else {
		p.listener.logListen(conn.LocalAddr())
	}
	if err := p.notifyReady(conn.LocalAddr()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn.(datagram.Conn), nil
}

// meetPeer counts the peer of datagrams, and says its event. role is "dial" or
// "accept".
func (p *purr) meetPeer(role string, remote, local net.Addr) {
	p.begin()
	if role == "dial" {
		p.doing("sending to %s", sock.PeerName(remote))
	}
	p.sayConnected(role, remote, local)
}

// greetSender prints nc's line about the first sender.
func (p *purr) greetSender(ctx context.Context, from netip.AddrPort, local net.Addr) {
	var remote net.Addr
	if from.IsValid() {
		remote = net.UDPAddrFromAddrPort(from)
	}
	if p.cfg.listen { // a dialer has met its peer already
		p.meetPeer("accept", remote, local)
	}
	if p.log.level == 0 || p.log.json { // spares a lookup
		return
	}
	if from.IsValid() {
		p.log.sayf("Connection received on %s %d", p.cfg.hostName(ctx, from.Addr()), from.Port())
		return
	}
	p.log.sayf("Connection received on %s", p.cfg.path)
}

// ownName names a socket that receives in messages: a listener by its own
// address, a dialer by its peer's.
func (p *purr) ownName(conn datagram.Conn) string {
	if remote := conn.RemoteAddr(); remote != nil {
		return sock.PeerName(remote)
	}
	if p.cfg.unix {
		return p.cfg.path
	}
	return p.listener.listenName(int(sock.AddrPort(conn.LocalAddr()).Port()))
}

// dialUnixgram talks to a Unix datagram socket. To get replies it needs a name
// of its own: -s PATH, or one that is made for this run.
func (p *purr) dialUnixgram(ctx context.Context) error {
	own := p.cfg.source
	if own == "" {
		own = temporarySocketName()
	}
	if err := clearPath(ctx, "unixgram", own); err != nil {
		return fmt.Errorf("bind to %s: %w", own, err)
	}
	dialer := net.Dialer{Control: p.cfg.socketOptions().Control, LocalAddr: &net.UnixAddr{Name: own, Net: "unixgram"}}
	conn, err := dialer.DialContext(ctx, "unixgram", p.cfg.path)
	if err != nil {
		_ = clearPath(ctx, "unixgram", own)
		return fmt.Errorf("connect to %s failed: %s", p.cfg.path, sys.Strerror(err))
	}
	defer conn.Close()
	p.removeAtExit(own)
	p.meetPeer("dial", conn.RemoteAddr(), conn.LocalAddr())
	return talkDatagrams(ctx, p.talk, p.datagramEnd(conn.(datagram.Conn), p.cfg.path))
}

// temporarySocketName is a name for a Unix datagram client to get its replies
// at: abstract where there is such a thing, else a file that is removed at
// exit.
func temporarySocketName() string {
	name := "purr-" + rand.Text()[:12]
	if runtime.GOOS == "linux" {
		return "@" + name
	}
	return filepath.Join(os.TempDir(), name)
}
