package main

import (
	"strings"
	"testing"

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
