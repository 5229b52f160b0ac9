package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"purr/internal/sys"
)

func TestServiceName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		network string
		port    int
		numeric bool
		want    string
	}{
		{"tcp", 80, false, "tcp/http"}, {"tcp", 22, false, "tcp/ssh"}, {"tcp", 443, false, "tcp/https"}, {"udp", 53, false, "udp/domain"},
		{"tcp", 80, true, "tcp/*"}, {"tcp", 1, true, "tcp/*"}, {"tcp", 65535, false, "tcp/*"}, {"udp", 65535, false, "udp/*"},
	} {
		c := &config{netOptions: netOptions{network: test.network, numeric: test.numeric}}
		if got := c.serviceName(test.port); got != test.want {
			t.Errorf("%s %d: %s, want %s", test.network, test.port, got, test.want)
		}
	}
}

func TestCause(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, "connection reset by peer"},
		{&os.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}, "no such file or directory"},
		{&os.PathError{Op: "open", Path: "/x", Err: errors.New("odd")}, "odd"},
		{&net.OpError{Op: "dial", Err: errors.New("odd")}, "odd"},
		{fmt.Errorf("wrapped: %w", syscall.EPIPE), "broken pipe"},
		{errors.New("plain"), "plain"},
	} {
		if got := sys.Cause(test.err).Error(); got != test.want {
			t.Errorf("%v: %q, want %q", test.err, got, test.want)
		}
	}
	if got := sys.Strerror(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}); got != "Connection refused" {
		t.Errorf("strerror: %q", got)
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("listen on ::1 80: %w", syscall.EADDRINUSE), "listen on ::1 80: Address already in use"},
		{fmt.Errorf("to broken pipe: %w (of 5)", os.NewSyscallError("write", syscall.EPIPE)), "to broken pipe: write: Broken pipe (of 5)"},
		{statusError{error: fmt.Errorf("x: %w", syscall.ENOENT)}, "x: No such file or directory"},
		{errors.New("connection refused"), "connection refused"},
	} {
		if got := sys.Capitalised(test.err); got != test.want {
			t.Errorf("%v: %q, want %q", test.err, got, test.want)
		}
	}
}
