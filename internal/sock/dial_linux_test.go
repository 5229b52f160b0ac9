package sock

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// fullListener returns the address of a listener whose backlog is full: a
// handshake with it does not end.
func fullListener(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	for range 10 {
		c, err := net.DialTimeout("tcp", addr.String(), 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	testkit.NotHere(t, "a kernel that drops a SYN when the backlog is full")
	return addr
}

// The limit of the dialer, and its context, end a handshake that takes longer,
// and are no limit of a connection that has been made.
func TestDialLimit(t *testing.T) {
	t.Parallel()
	full := fullListener(t)
	begun := time.Now()
	c, err := DialFrom(t.Context(), net.Dialer{Timeout: 100 * time.Millisecond}, "tcp", netip.AddrPort{}, full)
	var timeout net.Error
	if c != nil || !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(begun) < 100*time.Millisecond {
		t.Errorf("%v, %v after %v", c, err, time.Since(begun))
	}
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, stop)
	c, err = DialFrom(ctx, net.Dialer{Timeout: testkit.Patience}, "tcp", netip.AddrPort{}, full)
	if c != nil || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("%v, %v", c, err)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const limit = 100 * time.Millisecond
	c, err = DialFrom(t.Context(), net.Dialer{Timeout: limit}, "tcp", netip.AddrPort{}, AddrPort(ln.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	time.AfterFunc(2*limit, func() { testkit.WriteString(t, c, "x") })
	if got := testkit.ReadN(t, other, 1); got != "x" {
		t.Errorf("got %q", got)
	}
}

// A handshake on this machine is over, or refused, before package net connects.
func TestConnectNow(t *testing.T) {
	t.Parallel()
	ln4, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln4.Close()
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := AddrPort(closed.Addr())
	closed.Close()
	type test struct {
		name      string
		to        netip.AddrPort
		connected bool
		err       error
	}
	tests := []test{{"IPv4", AddrPort(ln4.Addr()), true, nil}, {"refused", refusing, false, syscall.ECONNREFUSED}, {"a handshake that takes long", fullListener(t), false, nil}}
	if ln6, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		defer ln6.Close()
		tests = append(tests, test{"IPv6", AddrPort(ln6.Addr()), true, nil},
			test{"a zone", netip.AddrPortFrom(netip.MustParseAddr("fe80::1%lo"), 9), false, nil})
	}
	for _, test := range tests {
		testkit.Eventually(t, test.name, func() bool { // a busy system may put its answer off
			var connected bool
			var early error
			dialer := net.Dialer{Timeout: 200 * time.Millisecond, Control: func(_, _ string, raw syscall.RawConn) error {
				connected, early = connectNow(raw, test.to)
				return early
			}}
			c, err := dialer.DialContext(t.Context(), "tcp", test.to.String())
			switch {
			case c != nil:
				c.Close()
				if AddrPort(c.RemoteAddr()) != test.to || !AddrPort(c.LocalAddr()).IsValid() {
					t.Errorf("%s: from %v to %v", test.name, c.LocalAddr(), c.RemoteAddr())
				}
			case test.connected:
				t.Errorf("%s: package net: %v", test.name, err)
			}
			return connected == test.connected && errors.Is(early, test.err)
		})
	}
	c, err := DialFrom(t.Context(), net.Dialer{}, "tcp", netip.AddrPort{}, refusing)
	if op, ok := errors.AsType[*net.OpError](err); c != nil || !ok || op.Op != "dial" || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, %v", c, err)
	}
}
