package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// awaitPort waits until a program listens on a TCP port or is bound to a UDP
// port.
func awaitPort(t testing.TB, proto, port string) {
	t.Helper()
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, proto+" port "+port+" is open", func() bool { return isBound(t, proto, n) })
}

func isBound(t testing.TB, proto string, port int) bool {
	t.Helper()
	return len(boundTo(t, proto, port)) > 0
}

// boundTo returns the TCP listeners or the UDP sockets of a port.
func boundTo(t testing.TB, proto string, port int) (all []testkit.Socket) {
	t.Helper()
	var states []int
	if proto == "tcp" {
		states = append(states, unix.BPF_TCP_LISTEN)
	}
	for _, s := range testkit.Sockets(t, proto, states...) {
		if int(s.Local.Port()) == port {
			all = append(all, s)
		}
	}
	return all
}

// awaitUnix waits until a program listens on a Unix socket, or is bound to a
// datagram one.
func awaitUnix(t testing.TB, path string) {
	t.Helper()
	testkit.Eventually(t, path+" is bound", func() bool { return testkit.UnixSockets(t)[path] != "" })
}

// deafPort is a port of 127.0.0.1 where a connection is neither made nor
// refused: the queue of its listener is full, and the system drops each SYN.
func deafPort(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(name.(*unix.SockaddrInet4).Port)
	dialTest(t, "tcp", "127.0.0.1:"+port) // one fits into a queue of 0
	return port
}

// socketsOf returns how many TCP sockets a process holds, in any state or in
// one of those of tcp_states.h.
func socketsOf(t testing.TB, p *process, states ...int) (held int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	links := make(map[string]bool)
	for _, e := range entries {
		link, _ := os.Readlink(dir + "/" + e.Name())
		links[link] = true
	}
	for _, s := range testkit.Sockets(t, "tcp", states...) {
		if links[fmt.Sprintf("socket:[%d]", s.Inode)] {
			held++
		}
	}
	return held
}

// connecting reports whether a process waits for a TCP connection to be made.
func connecting(t testing.TB, p *process) bool {
	t.Helper()
	return socketsOf(t, p, unix.BPF_TCP_SYN_SENT) > 0
}

// rootOnly skips the test where it cannot have its own view of the files.
func rootOnly(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		testkit.NotHere(t, "root, for a mount namespace of its own")
	}
	testkit.Program(t, "unshare", "util-linux")
	if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
		testkit.NotHere(t, fmt.Sprintf("the right to make a mount namespace (unshare -m: %v)", err))
	}
}
