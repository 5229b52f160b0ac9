package sock

import (
	"errors"
	"net"
	"syscall"
)

// Options are the options of a socket that is about to be bound or connected. A
// zero value leaves the system's default.
type Options struct {
	Broadcast           bool // SO_BROADCAST, for UDP: false clears it
	ReuseAddr           bool // SO_REUSEADDR
	ReceiveBuf, SendBuf int  // SO_RCVBUF and SO_SNDBUF, in bytes
	TTL                 int  // IP_TTL and IPV6_UNICAST_HOPS; for UDP also those of multicast
	MinTTL              int  // IP_MINTTL and IPV6_MINHOPCOUNT
	TOS                 *int // IP_TOS and IPV6_TCLASS
}

// RefuseBroadcasts clears SO_BROADCAST, which package net sets: from then on
// sending to a broadcast address fails.
func RefuseBroadcasts(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return new(Options).Control("udp", "", raw)
}

// then returns a Control of package net that calls control, unless that is nil,
// and f if there was no error.
func then(control func(network, address string, raw syscall.RawConn) error, f func(syscall.RawConn) error) func(network, address string, raw syscall.RawConn) error {
	return func(network, address string, raw syscall.RawConn) error {
		if control != nil {
			if err := control(network, address, raw); err != nil {
				return err
			}
		}
		return f(raw)
	}
}

// number returns the value of a boolean socket option: 1 if it is on, else 0.
func number(on bool) int {
	if on {
		return 1
	}
	return 0
}

// ErrNotHere is Control's error for an option that the system does not have: a
// filter that is silently ignored would be worse.
var ErrNotHere = errors.New("the option does not work on this system")
