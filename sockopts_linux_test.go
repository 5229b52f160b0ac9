package main

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The socket options of the command line reach the socket.
func TestSocketOptions(t *testing.T) {
	get := func(t *testing.T, c net.Conn, level, name int) int {
		t.Helper()
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		value := -1
		if err := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	for _, test := range []struct {
		args        string
		level, name int
		want        int
	}{
		{"", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"--keepalive 30s,10s,3", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"--keepalive 30s,10s,3", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 30},
		{"--keepalive 30s,10s,3", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 10},
		{"--keepalive 30s,10s,3", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		{"--keepalive 0", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0},
		{"", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"-T lowdelay", unix.IPPROTO_IP, unix.IP_TOS, 0x10},
		{"-T 0x28", unix.IPPROTO_IP, unix.IP_TOS, 0x28},
		{"-M 7", unix.IPPROTO_IP, unix.IP_TTL, 7},
		{"-m 5", unix.IPPROTO_IP, unix.IP_MINTTL, 5},
		{"-I 64k", unix.SOL_SOCKET, unix.SO_RCVBUF, 2 * 64 << 10}, // the kernel doubles it
		{"-O 64k", unix.SOL_SOCKET, unix.SO_SNDBUF, 2 * 64 << 10},
		{"-b", unix.SOL_SOCKET, unix.SO_BROADCAST, 1},
	} {
		t.Run(test.args+" dial", func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			port := ln.Addr().(*net.TCPAddr).Port
			p, ctx := testRun(t, nil, nil, append(words(test.args), "127.0.0.1", portOf(t, ln.Addr()))...)
			c, err := p.dialer.dial(ctx, port)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := get(t, c, test.level, test.name); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
		if test.args == "-b" { // SO_BROADCAST does not pass from a listener to its connections
			continue
		}
		t.Run(test.args+" listen", func(t *testing.T) {
			p, ctx := testRun(t, nil, nil, append(words(test.args), "-l", "127.0.0.1", "0")...)
			ln, err := p.listener.open(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			theirs, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			c, err := p.listener.accept(ctx, ln)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := get(t, c, test.level, test.name); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}
