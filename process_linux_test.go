package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// The states of sockets in /proc: programs other than purr print nothing when
// they are ready.

// The states in /proc/net/tcp, <net/tcp_states.h>.
const (
	tcpSynSent = 0x02
	tcpListen  = 0x0a
)

type socketLine struct {
	localPort, remotePort int
	state                 int
	inode                 string
}

// socketTable reads /proc/net/tcp and the like, both families.
func socketTable(t testing.TB, proto string) (all []socketLine) {
	t.Helper()
	for _, name := range []string{proto, proto + "6"} {
		text, err := os.ReadFile("/proc/self/net/" + name)
		if err != nil {
			continue // no IPv6
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[0] == "sl" {
				continue
			}
			port := func(s string) int {
				n, _ := strconv.ParseInt(s[strings.LastIndexByte(s, ':')+1:], 16, 32)
				return int(n)
			}
			state, _ := strconv.ParseInt(f[3], 16, 32)
			all = append(all, socketLine{port(f[1]), port(f[2]), int(state), f[9]})
		}
	}
	return all
}

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
	for _, s := range socketTable(t, proto) {
		if s.localPort == port && (proto == "udp" || s.state == tcpListen) {
			return true
		}
	}
	return false
}

// awaitUnix waits until a program listens on a Unix socket, or is bound to a
// datagram one.
func awaitUnix(t testing.TB, path string) {
	t.Helper()
	testkit.Eventually(t, path+" is bound", func() bool {
		text, err := os.ReadFile("/proc/self/net/unix")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			// Num RefCount Protocol Flags Type St Inode Path; Flags has
			// __SO_ACCEPTCON for a listener, Type 2 is SOCK_DGRAM.
			f := strings.Fields(line)
			if len(f) == 8 && f[7] == path && (f[3] == "00010000" || f[4] == "0002") {
				return true
			}
		}
		return false
	})
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

// socketsOf returns the lines of the sockets that a process holds.
func socketsOf(t testing.TB, p *process, proto string) (held []socketLine) {
	t.Helper()
	inodes := make(map[string]bool)
	dir := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if link, err := os.Readlink(dir + "/" + e.Name()); err == nil && strings.HasPrefix(link, "socket:[") {
			inodes[strings.TrimSuffix(link[len("socket:["):], "]")] = true
		}
	}
	for _, s := range socketTable(t, proto) {
		if inodes[s.inode] {
			held = append(held, s)
		}
	}
	return held
}

// connecting reports whether a process waits for a TCP connection to be made.
func connecting(t testing.TB, p *process) bool {
	t.Helper()
	for _, s := range socketsOf(t, p, "tcp") {
		if s.state == tcpSynSent {
			return true
		}
	}
	return false
}

// rootOnly skips the test where it cannot have its own view of the files.
func rootOnly(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, for a mount namespace of its own")
	}
	testkit.Program(t, "unshare", "util-linux")
	if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
		t.Skipf("needs the right to make a mount namespace (unshare -m: %v)", err)
	}
}
