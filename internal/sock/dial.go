package sock

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"purr/internal/sys"
)

// ErrListenQueueFull is the error of a Unix socket whose server did not accept
// the connections in front of this one in time.
var ErrListenQueueFull = errors.New("the queue of its server is full")

// DialFrom connects to remote over network, "tcp" or "udp", in the family of
// remote, with the other options of dialer. It binds to local: an invalid
// address or port 0 leaves the choice to the kernel. The caller closes the
// connection. Connecting a UDP socket sends nothing, and only asks for a route.
func DialFrom(ctx context.Context, dialer net.Dialer, network string, local, remote netip.AddrPort) (net.Conn, error) {
	var ip net.IP // nil: any
	if local.Addr().IsValid() {
		ip = local.Addr().AsSlice()
	}
	bind := local.Addr().IsValid() || local.Port() != 0
	switch {
	case bind && network == "udp":
		dialer.LocalAddr = &net.UDPAddr{IP: ip, Port: int(local.Port()), Zone: local.Addr().Zone()}
	case bind:
		dialer.LocalAddr = &net.TCPAddr{IP: ip, Port: int(local.Port()), Zone: local.Addr().Zone()}
	}
	family := "4"
	if remote.Addr().Is6() {
		family = "6"
	}
	if network == "tcp" && !bind {
		return dialUnbound(ctx, dialer, network+family, remote)
	}
	return dialer.DialContext(ctx, network+family, remote.String())
}

// DialUnix connects to a Unix stream socket. The caller closes the connection.
// While the listen queue is full, DialUnix tries again, as a blocking
// connect(2) waits; a non-blocking one returns EAGAIN on Linux. (The BSDs
// return ECONNREFUSED, as for a socket without a server: that is final.) If the
// queue is still full after the dialer's Timeout, the error is
// ErrListenQueueFull; a Timeout of 0 is no limit. If ctx ends first, the error
// is its cause. All others are the dialer's.
func DialUnix(ctx context.Context, dialer net.Dialer, path string) (net.Conn, error) {
	begun, limit := time.Now(), dialer.Timeout
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		conn, err := dialer.DialContext(ctx, "unix", path)
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil, context.Cause(ctx)
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
		if limit > 0 {
			left := limit - time.Since(begun)
			if left <= 0 {
				return nil, ErrListenQueueFull
			}
			pause, dialer.Timeout = min(pause, left), left
		}
		if !sys.Sleep(ctx, pause) {
			return nil, context.Cause(ctx)
		}
	}
}
