//go:build !linux

package sock

import (
	"context"
	"net"
	"net/netip"
)

// dialUnbound connects to remote from an address of the kernel's choice.
func dialUnbound(ctx context.Context, dialer net.Dialer, network string, remote netip.AddrPort) (net.Conn, error) {
	return dialer.DialContext(ctx, network, remote.String())
}
