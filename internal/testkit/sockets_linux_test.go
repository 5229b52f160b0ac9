package testkit

import (
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSockets(t *testing.T) {
	t.Parallel()
	has := func(network string, addr net.Addr, states ...int) bool {
		_, port, _ := net.SplitHostPort(addr.String())
		return slices.ContainsFunc(Sockets(t, network, states...), func(s Socket) bool {
			return strconv.Itoa(int(s.Local.Port())) == port && s.Local.Addr().Unmap().IsLoopback() && s.Inode != 0
		})
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			continue // no IPv6
		}
		if !has("tcp", ln.Addr(), unix.BPF_TCP_LISTEN) || !has("tcp", ln.Addr()) || has("tcp", ln.Addr(), unix.BPF_TCP_SYN_SENT) {
			t.Errorf("%v: does not listen, or waits for a connection", ln.Addr())
		}
		_ = ln.Close()
		if has("tcp", ln.Addr(), unix.BPF_TCP_LISTEN) {
			t.Errorf("%v: listens still", ln.Addr())
		}
		udp, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		if !has("udp", udp.LocalAddr(), unix.BPF_TCP_CLOSE) || has("udp", udp.LocalAddr(), unix.BPF_TCP_ESTABLISHED) {
			t.Errorf("%v: is not bound, or is connected", udp.LocalAddr())
		}
		_ = udp.Close()
	}
	ours, theirs := TcpPair(t)
	if !has("tcp", ours.LocalAddr(), unix.BPF_TCP_ESTABLISHED) || has("tcp", ours.LocalAddr(), unix.BPF_TCP_LISTEN) {
		t.Errorf("%v: is not connected, or listens", ours.LocalAddr())
	}
	// The first to close is in TIME-WAIT.
	_, _ = ours.Close(), theirs.Close()
	Eventually(t, "the connection is over", func() bool {
		return !has("tcp", ours.LocalAddr()) && !has("tcp", theirs.LocalAddr())
	})

	path := filepath.Join(SocketDir(t), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if UnixSockets(t)[path] == "" {
		t.Errorf("%s: does not listen", path)
	}
	_ = ln.Close()
	if UnixSockets(t)[path] != "" {
		t.Errorf("%s: listens still", path)
	}
}
