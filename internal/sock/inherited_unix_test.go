//go:build unix

package sock

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// Nothing is inherited, and the variables stay, unless they are for this
// process.
func TestInheritNothing(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, test := range []struct{ pid, fds string }{{"", ""}, {"1", "1"}, {own, ""}, {own, "0"}, {own, "-1"}, {own, "x"}, {own + "0", "2"}} {
		t.Setenv("LISTEN_PID", test.pid)
		t.Setenv("LISTEN_FDS", test.fds)
		if i, err := FindInherited(); i != nil || err != nil {
			t.Errorf("%v: %v, %v", test, i, err)
		}
		if os.Getenv("LISTEN_PID") != test.pid || os.Getenv("LISTEN_FDS") != test.fds {
			t.Errorf("%v: the variables were changed", test)
		}
	}
	t.Setenv("LISTEN_PID", own)
	t.Setenv("LISTEN_FDS", "2")
	t.Setenv("LISTEN_FDNAMES", "a:b")
	if _, err := FindInherited(); err == nil || !strings.Contains(err.Error(), "2 sockets") {
		t.Errorf("two sockets: %v", err)
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if _, set := os.LookupEnv(name); set {
			t.Errorf("%s is still set", name)
		}
	}
}

// A filer is a socket whose descriptor can be had.
type filer interface{ File() (*os.File, error) }

// Sockets of every kind are recognised, and serve with the options of a config.
// It is not parallel: another test could get the number of a descriptor that
// was closed.
func TestInherit(t *testing.T) {
	dir := testkit.SocketDir(t)
	options := func(calls *int) net.ListenConfig {
		return net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, Control: func(string, string, syscall.RawConn) error { *calls++; return nil }}
	}
	for _, test := range []struct{ network, addr, want string }{
		{"tcp4", "127.0.0.1:0", "tcp4"},
		{"tcp", "[::1]:0", "tcp6"},
		{"unix", filepath.Join(dir, "stream"), "unix"},
		{"udp4", "127.0.0.1:0", "udp4"},
		{"udp", "[::1]:0", "udp6"},
		{"unixgram", filepath.Join(dir, "datagrams"), "unixgram"},
	} {
		var bound net.Addr
		var socket any
		if strings.HasPrefix(test.want, "tcp") || test.want == "unix" {
			ln, err := net.Listen(test.network, test.addr)
			if err != nil {
				t.Log(err)
				continue
			}
			defer ln.Close()
			bound, socket = ln.Addr(), ln
		} else {
			conn, err := net.ListenPacket(test.network, test.addr)
			if err != nil {
				t.Log(err)
				continue
			}
			defer conn.Close()
			bound, socket = conn.LocalAddr(), conn
		}
		f, err := socket.(filer).File()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := syscall.Dup(int(f.Fd()))
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		i, err := inherit(fd)
		if err != nil {
			t.Errorf("%s: %v", test.network, err)
			continue
		}
		if i.Network != test.want || i.Addr != AddrPort(bound) || !i.Addr.IsValid() && i.Path != test.addr {
			t.Errorf("%s: %+v", test.network, i)
		}
		calls := 0
		if i.Datagram() {
			conn, _, err := i.ListenPacket(t.Context(), options(&calls), "", "")
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := net.Dial(strings.TrimRight(test.want, "46"), bound.String())
			if err != nil {
				t.Fatal(err)
			}
			testkit.WriteString(t, theirs, "hi")
			b := make([]byte, 10)
			_ = conn.SetReadDeadline(time.Now().Add(testkit.Patience))
			if n, _, err := conn.ReadFrom(b); err != nil || string(b[:n]) != "hi" {
				t.Errorf("%s: %q, %v", test.network, b[:n], err)
			}
			_ = conn.Close()
			_ = theirs.Close()
		} else {
			ln, err := i.Listen(t.Context(), options(&calls), "", "")
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := net.Dial(bound.Network(), bound.String())
			if err != nil {
				t.Fatal(err)
			}
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if tcp, ok := c.(*net.TCPConn); ok && keepsAlive(t, tcp) {
				t.Errorf("%s: keepalive is on", test.network)
			}
			_ = c.Close()
			_ = ln.Close()
			_ = theirs.Close()
			if test.want == "unix" {
				if _, err := os.Lstat(test.addr); err != nil {
					t.Errorf("the file of the socket: %v", err)
				}
			}
		}
		if calls != 1 {
			t.Errorf("%s: the options were set %d times", test.network, calls)
		}
		if _, err := syscall.Getsockname(fd); !errors.Is(err, syscall.EBADF) {
			t.Errorf("%s: its descriptor is still open", test.network)
		}
	}
}

// keepsAlive reports whether keepalive is on.
func keepsAlive(t *testing.T, c *net.TCPConn) (on bool) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
			on = n != 0 || err != nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return on
}

// What does not listen is an error.
func TestInheritOthers(t *testing.T) {
	t.Parallel()
	ours, _ := testkit.TcpPair(t)
	f, err := ours.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := inherit(int(f.Fd())); err == nil || !strings.Contains(err.Error(), "Accept=no") {
		t.Errorf("a connection: %v", err)
	}
	r, _ := testkit.StdioPipe(t)
	if _, err := inherit(int(r.Fd())); !errors.Is(err, syscall.ENOTSOCK) {
		t.Errorf("a pipe: %v", err)
	}
}
