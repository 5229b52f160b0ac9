package sock

import (
	"cmp"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keepAliveOnce lets a TCP listener set the keepalive of config on its own
// socket, from which those of its clients inherit it, in place of four system
// calls for each of them. It leaves a config with Multipath TCP as it is: not
// every kernel lets such a listener pass keepalive on.
func keepAliveOnce(config *net.ListenConfig) {
	k := config.KeepAliveConfig
	if !k.Enable || config.MultipathTCP() {
		return
	}
	config.KeepAlive, config.KeepAliveConfig = -1, net.KeepAliveConfig{}
	config.Control = then(config.Control, func(raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { setKeepAlive(int(fd), k) })
	})
}

// setKeepAlive switches keepalive on. As in package net, a value of 0 is 15 s,
// or 9 probes, a negative one the system's, and errors are ignored.
func setKeepAlive(fd int, k net.KeepAliveConfig) {
	seconds := func(d time.Duration) int { return int((cmp.Or(d, 15*time.Second) + time.Second - 1) / time.Second) }
	for _, option := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(k.Idle)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(k.Interval)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, cmp.Or(k.Count, 9)},
	} {
		if option.value > 0 {
			_ = unix.SetsockoptInt(fd, option.level, option.name, option.value)
		}
	}
}
