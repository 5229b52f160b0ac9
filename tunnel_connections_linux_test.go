package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"purr/internal/testkit"
)

// A tunnel that has moved little holds no descriptors but those of its two
// sockets, and none when it has ended.
func TestTunnelHoldsTwoSockets(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "-l", "-k", "-L", freeTarget(t), "0")
	to := p.addr()
	descriptors := func() int {
		names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	if got := askTunnel(t, "tcp", to, "the first one"); got != "late answer to the first one" {
		t.Errorf("got %q", got)
	}
	before := 0
	testkit.Eventually(t, "the end of the first tunnel", func() bool {
		last := before
		before = descriptors()
		return before == last
	})
	clients := make([]net.Conn, 20)
	for i := range clients {
		clients[i] = dialTest(t, "tcp", to)
		testkit.WriteString(t, clients[i], "question")
	}
	testkit.Eventually(t, "the tunnels", func() bool { return descriptors() >= before+2*len(clients) })
	for i, c := range clients {
		if _, err := io.WriteString(c, fmt.Sprint(" ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := descriptors(); n != before+2*len(clients) {
		t.Errorf("%d tunnels have %d descriptors", len(clients), n-before)
	}
	for i, c := range clients {
		_ = c.(*net.TCPConn).CloseWrite()
		if got, want := testkit.ReadAll(t, c), fmt.Sprint("late answer to question ", i); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	testkit.Eventually(t, "the end of the tunnels", func() bool { return descriptors() <= before })
}

// A client that offers Multipath TCP gets a plain connection, and its answers.
func TestListenerHasPlainTCP(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "-l", "-k", "--echo", "0")
	dialer := net.Dialer{Timeout: testkit.Patience}
	dialer.SetMultipathTCP(true)
	c, err := dialer.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	testkit.WriteString(t, c, "hello")
	if got := testkit.ReadN(t, c, 5); got != "hello" {
		t.Errorf("got %q", got)
	}
	if several, err := c.(*net.TCPConn).MultipathTCP(); several || err != nil {
		t.Errorf("a multipath connection (%v)", err)
	}
}
