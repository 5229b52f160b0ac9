package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/sock"
	"purr/internal/testkit"
)

// -w 0 sends everything and waits for no answer, with a status that knows
// whether it was taken: over TCP, UDP and Unix sockets.
func TestWaitZero(t *testing.T) {
	t.Parallel()
	c := listenUDPTest(t)
	p := startPurr(t, opts{stdin: strings.NewReader("metric")}, "-u", "-w0", "127.0.0.1", portOf(t, c.LocalAddr()))
	p.ends(0)
	p.quiet()
	if got, _ := receiveFrom(t, c); got != "metric" {
		t.Errorf("got %q", got)
	}
	content := testkit.Noise(3 << 20)
	for _, args := range [][]string{{"127.0.0.1", "0"}, {"-U", testkit.SocketDir(t) + "/s"}} {
		server := startPurr(t, opts{}, append([]string{"-v", "-l", "--no-shutdown", "-w", "20"}, args...)...)
		to := args
		if len(args) == 2 && args[0] != "-U" {
			to = []string{"127.0.0.1", server.port()}
		} else {
			server.waitErr(boundOn)
		}
		client := startPurr(t, opts{stdin: strings.NewReader(content)}, append([]string{"-w", "0"}, to...)...)
		client.ends(0)
		client.quiet()
		server.status()
		server.printed(content)
	}
	closed := startPurr(t, opts{stdin: strings.NewReader("x")}, "-w0", "127.0.0.1", freePort(t, "tcp"))
	closed.ends(1)
	closed.complains("Connection refused")
}

// Broadcast and groups: a broadcast is refused without -b, a question that came
// by one is answered from an address of the host, and a listener on a group
// hears the group and nothing else.
func TestBroadcastAndGroups(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, `
		sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
		ip link add d0 type veth peer name d1
		ip link set d1 up
		ip addr add 10.9.0.1/24 broadcast 10.9.0.255 dev d0
		ip link set d0 up multicast on
		ip addr add fd09::1/64 dev d0 nodad
		ip route add default dev d0`)
	ask := func(t *testing.T, network, from, to string, answered bool) {
		t.Helper()
		local, err := net.ResolveUDPAddr(network, from)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.ListenUDP(network, local) // with SO_BROADCAST
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		addr, err := net.ResolveUDPAddr(network, to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteToUDP([]byte("to "+to), addr); err != nil {
			t.Fatal(err)
		}
		if !answered {
			silent(t, c, 200*time.Millisecond)
			return
		}
		_ = c.SetDeadline(time.Now().Add(testkit.Patience))
		if got, by := receiveFrom(t, c); got != "to "+to || !by.IP.Equal(local.IP) {
			t.Errorf("asked %s, got %q from %s", to, got, by)
		}
	}
	for _, args := range []string{"", "-4"} {
		t.Run("answers "+args, func(t *testing.T) {
			server := startPurr(t, opts{stdout: devNull(t)}, append([]string{"-u", "-l", "-k", "--echo"}, append(strings.Fields(args), "0")...)...)
			hosts := []string{"10.9.0.255", "255.255.255.255", "10.9.0.1"}
			if args == "-4" { // an IPv6 socket gets IPv4's groups only as a member
				hosts = append(hosts, "224.0.0.1")
			}
			for _, host := range hosts {
				ask(t, "udp4", "10.9.0.1:0", net.JoinHostPort(host, server.port()), true)
			}
			if args == "" {
				ask(t, "udp6", "[fd09::1]:0", net.JoinHostPort("fd09::1", server.port()), true)
			}
			server.runs()
			if said := server.err.String(); strings.Contains(said, "send to") {
				t.Errorf("said %q", said)
			}
		})
	}
	t.Run("the last sender is answered", func(t *testing.T) {
		server := startPurr(t, opts{openStdin: true}, "-u", "-l", "-k", "0")
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 9, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		to, _ := net.ResolveUDPAddr("udp4", "10.9.0.255:"+server.port())
		if _, err := c.WriteToUDP([]byte("question"), to); err != nil {
			t.Fatal(err)
		}
		server.waitOut("question")
		writeAll(t, server.stdin, "answer")
		_ = c.SetDeadline(time.Now().Add(testkit.Patience))
		if got, _ := receiveFrom(t, c); got != "answer" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("-b", func(t *testing.T) {
		server := startPurr(t, opts{}, "-u", "-l", "-k", "0")
		for _, host := range []string{"10.9.0.255", "255.255.255.255"} {
			p := startPurr(t, opts{stdin: strings.NewReader("refused")}, "-u", "-w", "1", host, server.port())
			p.ends(1)
			p.complains(host, "Permission denied (to broadcast, say -b)")
			p = startPurr(t, opts{}, "-z", "-u", "-w", "1", host, server.port())
			p.ends(1)
			if said := p.out.String(); !strings.Contains(said, "ermission denied") {
				t.Errorf("printed %q", said)
			}
			p = startPurr(t, opts{stdin: strings.NewReader("allowed " + host)}, "-u", "-b", "-w", "1", host, server.port())
			p.ends(0)
			server.waitOut("allowed " + host)
		}
		if strings.Contains(server.out.String(), "refused") {
			t.Errorf("printed %q", server.out)
		}
	})
	for _, group := range []struct{ network, host, ours string }{{"udp4", "239.9.9.9", "10.9.0.1"}, {"udp6", "ff15::99", "fd09::1"}} {
		t.Run("group "+group.host, func(t *testing.T) {
			server := startPurr(t, opts{stdout: devNull(t)}, "-u", "-l", "-k", "--echo", group.host, "0")
			host, port := server.bound()
			if host != group.host {
				t.Errorf("bound to %s", host)
			}
			second := startPurr(t, opts{}, "-v", "-n", "-u", "-l", "-k", group.host, port)
			second.bound()
			own := net.JoinHostPort(group.ours, "0")
			ask(t, group.network, own, net.JoinHostPort(group.host, port), true)
			second.waitOut("to ")
			ask(t, group.network, own, net.JoinHostPort(group.ours, port), false)
			if group.network == "udp4" {
				ask(t, group.network, own, net.JoinHostPort("239.9.9.10", port), false)
			}
			server.runs()
			if said := server.err.String(); strings.Contains(said, "purr:") {
				t.Errorf("said %q", said)
			}
		})
	}
}

// fullListenQueue listens on a Unix socket with a queue that is full. The
// caller accepts one connection after the other by accept, which returns what
// it said.
func fullListenQueue(t *testing.T) (path string, accept func() string) {
	t.Helper()
	path = filepath.Join(testkit.SocketDir(t), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	for full := false; !full; {
		c, err := net.Dial("unix", path)
		switch {
		case err == nil:
			t.Cleanup(func() { _ = c.Close() })
			_ = c.(*net.UnixConn).CloseWrite()
		case errors.Is(err, syscall.EAGAIN):
			full = true
		default:
			t.Fatal(err)
		}
	}
	return path, func() string {
		t.Helper()
		_ = ln.(*net.UnixListener).SetDeadline(time.Now().Add(testkit.Patience))
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return testkit.ReadAll(t, c)
	}
}

// A full listen queue of a Unix socket is waited for, at most -w; for -z it is
// no answer, and not a closed socket.
func TestUnixListenQueue(t *testing.T) {
	t.Parallel()
	path, accept := fullListenQueue(t)
	for _, test := range []struct {
		args   string
		status int
		says   string
	}{
		{"-w 0.3 -U", 1, "connect to " + path + " timed out: the queue of its server is full"},
		{"--wait-for 0.5 -w 0.2 -U", 1, "the queue of its server is full"},
		{"-z -w 0.3 -U", 3, ""},
		{"-z --wait-for 0.4 -U", 3, "the queue of its server is full"},
		{"-vz -w 0.3 -U", 3, "timed out: the queue of its server is full"},
	} {
		p := startPurr(t, opts{}, append(strings.Fields(test.args), path)...)
		p.ends(test.status)
		if said := p.said(); !strings.Contains(said, test.says) || test.says == "" && said != "" {
			t.Errorf("%s: said %q", test.args, said)
		}
	}
	client := startPurr(t, opts{stdin: strings.NewReader("at last")}, "-N", "-U", path)
	checker := startPurr(t, opts{}, "-z", "-w", "20", "-U", path)
	client.runs()
	for got := ""; got != "at last"; got = accept() {
	}
	client.ends(0)
	ended := make(chan struct{})
	go func() { defer close(ended); checker.ends(0) }()
	for waiting := true; waiting; {
		select {
		case <-ended:
			waiting = false
		default:
			c, err := net.Dial("unix", path) // keeps accept from waiting for ever
			if err == nil {
				_ = c.Close()
			}
			accept()
		}
	}
}

// A path is taken up to the size of the system's address.
func TestLongUnixPaths(t *testing.T) {
	t.Parallel()
	dir := testkit.SocketDir(t)
	for size := 103; size <= sock.MaxPath; size++ {
		path := filepath.Join(dir, strings.Repeat("x", size-len(dir)-1))
		for _, args := range [][]string{{"-U"}, {"-u", "-U"}} {
			if len(args) == 2 {
				path = path[:size-1] + "u"
			}
			server := startPurr(t, opts{}, append(append([]string{"-v", "-l"}, args...), path)...)
			server.waitErr(boundOn)
			client := startPurr(t, opts{stdin: strings.NewReader("hello")}, append(append([]string{"-N", "-w", "0.2"}, args...), path)...)
			server.waitOut("hello")
			client.ends(0)
			server.kill()
			again := startPurr(t, opts{}, append(append([]string{"-v", "-l"}, args...), path)...) // replaces the dead one
			again.waitErr(boundOn)
			second := startPurr(t, opts{}, append(append([]string{"-l"}, args...), path)...)
			second.ends(1)
			second.complains(path, "address already in use")
			again.runs()
			again.kill()
		}
	}
}
