package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"purr/internal/sock"
	"purr/internal/sys"
)

// attemptDelay is how long one address may keep the next one waiting: the
// Connection Attempt Delay of RFC 8305, section 5.
const attemptDelay = 250 * time.Millisecond

// dialAll holds one conversation with each port in turn, as nc does when it is
// given several. It fails if none could be connected to, or if a conversation
// failed.
func (p *purr) dialAll(ctx context.Context) error {
	if p.cfg.unix {
		return p.dialUnix(ctx)
	}
	ports := p.cfg.ports
	if p.cfg.shuffle {
		ports = shuffled(ports)
	}
	var failed error
	connected := false
	for i, port := range ports {
		if i > 0 && !sys.Sleep(ctx, p.cfg.interval) {
			return context.Cause(ctx)
		}
		conn, err := p.dialPatiently(ctx, port)
		if err != nil {
			failed = err
			if len(ports) > 1 {
				p.log.fail(err)
				failed = saidError{err}
			}
			continue
		}
		connected = true
		err = p.converse(ctx, conn)
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

// dial connects to one port of the host over TCP.
func (p *purr) dial(ctx context.Context, port int) (net.Conn, error) {
	p.doing("connecting to %s port %d", p.cfg.host, port)
	addrs, err := p.resolve(ctx, p.cfg.host, port)
	if err != nil {
		return nil, err
	}
	local, err := p.localAddr(ctx)
	if err != nil {
		return nil, err
	}
	if local.Addr().IsValid() {
		addrs = sameFamily(addrs, local.Addr())
		if len(addrs) == 0 {
			return nil, fmt.Errorf("connect to %s port %d from %s: Address family for hostname not supported", p.cfg.host, port, local.Addr())
		}
	}
	conn, err := p.race(ctx, addrs, func(ctx context.Context, addr netip.Addr) (net.Conn, error) {
		return p.connect(ctx, local, netip.AddrPortFrom(addr, uint16(port)))
	})
	if err != nil {
		return nil, err
	}
	p.catchSignals(ctx) // from here on there is something to lose
	p.log.sayf("Connection to %s %d port [%s] succeeded!", p.target(sock.AddrPort(conn.RemoteAddr()).Addr()), port, p.cfg.serviceName(port))
	return conn, nil
}

// target is the host as the user typed it, with the address it stands for
// where that is something else: "localhost (::1)", as nc has it.
func (p *purr) target(addr netip.Addr) string { return targetName(p.cfg.host, addr) }

func targetName(host string, addr netip.Addr) string {
	if literal, err := netip.ParseAddr(host); err == nil && literal.Unmap() == addr {
		return host
	}
	return host + " (" + addr.String() + ")"
}

// connect opens one TCP connection. Its error is nc's line, complete.
func (p *purr) connect(ctx context.Context, local netip.AddrPort, remote netip.AddrPort) (net.Conn, error) {
	network := "tcp4"
	if remote.Addr().Is6() {
		network = "tcp6"
	}
	dialer := net.Dialer{
		Timeout:         p.cfg.connectTimeout,
		KeepAliveConfig: p.cfg.keepalive,
		KeepAlive:       keepaliveSwitch(p.cfg.keepalive.Enable),
		Control:         p.cfg.socketOptions().Control,
	}
	if local.Addr().IsValid() || local.Port() != 0 {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(local)
		if !local.Addr().IsValid() {
			dialer.LocalAddr = &net.TCPAddr{Port: int(local.Port())}
		}
	}
	conn, err := dialer.DialContext(ctx, network, remote.String())
	if err != nil {
		return nil, p.connectError(remote, err)
	}
	return conn, nil
}

// socketOptions are the options of every socket that is not -z's alone.
func (o *netOptions) socketOptions() *sock.Options {
	options := o.socket
	options.ReuseAddr = o.sourcePort > 0 // as nc: a port in TIME_WAIT can be dialled from again
	return &options
}

// keepaliveSwitch is what net.Dialer and net.ListenConfig want beside their
// KeepAliveConfig: a negative period switches keepalive off.
func keepaliveSwitch(on bool) time.Duration {
	if on {
		return 0
	}
	return -1
}

// connectError words a failed connection as nc does.
func (p *purr) connectError(remote netip.AddrPort, err error) error {
	where := fmt.Sprintf("connect to %s port %d (%s)", p.target(remote.Addr()), remote.Port(), p.cfg.network)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || isDialTimeout(err) {
		return fmt.Errorf("%s timed out: Operation now in progress", where)
	}
	return fmt.Errorf("%s failed: %s", where, sys.Strerror(err))
}

// isDialTimeout tells our own time limit, which net reports by an unexported
// type, from the kernel's ETIMEDOUT, which carries an errno.
func isDialTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() && !sys.IsErrno(err)
}

// race connects to addrs as RFC 8305, section 5, says: one attempt after the
// other, the next one starting when the last has failed or has taken
// attemptDelay. The first connection wins and the others are given up; the
// caller closes it. Under -v each failure is said at once, as nc does;
// otherwise the error holds them all.
func (p *purr) race(ctx context.Context, addrs []netip.Addr, dial func(context.Context, netip.Addr) (net.Conn, error)) (net.Conn, error) {
	type attempt struct {
		conn net.Conn
		err  error
	}
	if len(addrs) == 1 {
		return dial(ctx, addrs[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt, len(addrs))
	next := time.NewTimer(0)
	defer next.Stop()

	var failures []error
	started := 0
	for len(failures) < len(addrs) {
		select {
		case <-next.C:
			addr := addrs[started]
			started++
			go func() {
				conn, err := dial(ctx, addr)
				results <- attempt{conn, err}
			}()
			if started < len(addrs) {
				next.Reset(attemptDelay)
			}
		case r := <-results:
			if r.err == nil {
				cancel()
				go func(pending int) { // what was under way may still have connected
					for range pending {
						if late := <-results; late.conn != nil {
							late.conn.Close()
						}
					}
				}(started - len(failures) - 1)
				return r.conn, nil
			}
			if p.log.level > 0 {
				p.log.fail(r.err)
				r.err = saidError{r.err}
			}
			failures = append(failures, r.err)
			if started < len(addrs) {
				next.Reset(0)
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if len(failures) == 1 {
		return nil, failures[0]
	}
	return nil, errors.Join(failures...)
}

// resolve returns the addresses of host in the order to try them: as the
// resolver sorted them (RFC 6724), the families alternating (RFC 8305, section
// 4). port is for the error only, which is worded as nc's.
func (p *purr) resolve(ctx context.Context, host string, port int) ([]netip.Addr, error) {
	wrong := func(why string) error {
		return fmt.Errorf("getaddrinfo for host \"%s\" port %d: %s", host, port, why)
	}
	if literal, err := netip.ParseAddr(host); err == nil {
		if literal = literal.Unmap(); !p.cfg.wants(literal) {
			return nil, wrong("Address family for hostname not supported")
		}
		return []netip.Addr{literal}, nil
	}
	if p.cfg.numeric {
		return nil, wrong("Name or service not known")
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		var dns *net.DNSError
		var none *net.AddrError
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.As(err, &dns) && dns.IsNotFound, errors.As(err, &none):
			return nil, wrong("Name or service not known")
		case errors.As(err, &dns) && (dns.IsTemporary || dns.IsTimeout):
			return nil, wrong("Temporary failure in name resolution")
		}
		return nil, wrong(sys.Cause(err).Error())
	}
	var addrs []netip.Addr
	for _, addr := range found {
		if addr = addr.Unmap(); p.cfg.wants(addr) {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, wrong("Address family for hostname not supported")
	}
	return interleave(addrs), nil
}

// wants reports whether -4 and -6 allow the address.
func (c *config) wants(addr netip.Addr) bool {
	is4 := addr.Unmap().Is4()
	return is4 && !c.ipv6 || !is4 && !c.ipv4
}

// interleave keeps the order within each family and the first address first,
// and alternates the families from there.
func interleave(addrs []netip.Addr) []netip.Addr {
	same := sameFamily(addrs, addrs[0])
	var other, out []netip.Addr
	for _, addr := range addrs {
		if addr.Is4() != addrs[0].Is4() {
			other = append(other, addr)
		}
	}
	for i := range max(len(same), len(other)) {
		if i < len(same) {
			out = append(out, same[i])
		}
		if i < len(other) {
			out = append(out, other[i])
		}
	}
	return out
}

func sameFamily(addrs []netip.Addr, as netip.Addr) (out []netip.Addr) {
	for _, addr := range addrs {
		if addr.Is4() == as.Is4() {
			out = append(out, addr)
		}
	}
	return out
}

// localAddr is where -s and -p bind a dialer; an invalid address or a zero
// port leaves the choice to the kernel.
func (p *purr) localAddr(ctx context.Context) (netip.AddrPort, error) {
	var addr netip.Addr
	if p.cfg.source != "" {
		addrs, err := p.resolve(ctx, p.cfg.source, p.cfg.sourcePort)
		if err != nil {
			return netip.AddrPort{}, err
		}
		addr = addrs[0]
	}
	return netip.AddrPortFrom(addr, uint16(p.cfg.sourcePort)), nil
}

// dialUnix talks over a Unix stream socket.
func (p *purr) dialUnix(ctx context.Context) error {
	p.doing("connecting to %s", p.cfg.path)
	var conn net.Conn
	err := p.patiently(ctx, func(ctx context.Context, limit time.Duration) (err error) {
		conn, err = p.connectUnix(ctx, limit)
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	p.catchSignals(ctx)
	return p.converse(ctx, conn)
}

// shuffled returns the ports in random order; the argument stays as it is.
func shuffled(ports []int) []int {
	out := slices.Clone(ports)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// joinPort writes an address as Go's net package takes it.
func joinPort(host string, port int) string {
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
}
