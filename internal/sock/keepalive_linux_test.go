package sock

import (
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// The clients of a listener have the keepalive of its config, which package net
// would set in the same way, whether they inherit it or not.
func TestClientsInheritKeepAlive(t *testing.T) {
	t.Parallel()
	ours := func(config net.ListenConfig) (net.Listener, error) {
		return (*Inherited)(nil).Listen(t.Context(), config, "tcp", "127.0.0.1:0")
	}
	plain := func(config net.ListenConfig) (net.Listener, error) {
		return config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	}
	for _, k := range []net.KeepAliveConfig{{}, {Enable: true}, {Enable: true, Idle: 30 * time.Second, Interval: 1500 * time.Millisecond, Count: 3}, {Enable: true, Idle: -1, Interval: 7 * time.Second, Count: -1}} {
		for _, multipath := range []bool{false, true} {
			var got [2][]int
			controlled := 0
			for i, listen := range []func(net.ListenConfig) (net.Listener, error){ours, plain} {
				config := net.ListenConfig{KeepAliveConfig: k, KeepAlive: KeepAlivePeriod(k.Enable), Control: func(string, string, syscall.RawConn) error { controlled++; return nil }}
				config.SetMultipathTCP(multipath)
				ln, err := listen(config)
				if err != nil {
					t.Fatal(err)
				}
				got[i] = keepAliveOf(t, ln)
			}
			if !slices.Equal(got[0], got[1]) || got[0][0] != number(k.Enable) {
				t.Errorf("%v, multipath %v: the clients have %v, want %v", k, multipath, got[0], got[1])
			}
			if controlled < 2 {
				t.Errorf("%v: the Control was called %d times", k, controlled)
			}
		}
	}
}

// keepAliveOf returns whether a client of ln has keepalive, and its idle time,
// interval and count. It closes ln.
func keepAliveOf(t *testing.T, ln net.Listener) (values []int) {
	t.Helper()
	defer ln.Close()
	dialled, err := net.DialTimeout("tcp", ln.Addr().String(), testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, _ := RawStream(c)
	_ = raw.Control(func(fd uintptr) {
		for _, option := range [][2]int{{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT}} {
			value, err := unix.GetsockoptInt(int(fd), option[0], option[1])
			if err != nil {
				t.Error(fmt.Errorf("option %v: %w", option, err))
			}
			values = append(values, value)
		}
	})
	return values
}
