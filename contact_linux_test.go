//go:build linux

package main

import (
	"encoding/json"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"purr/internal/push"
	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

const regexpParting = `sent \d+ bytes, received \d+ bytes in \S+, \S+ \S+/s$`

// Every connection of a push or pull has a last line under -v at both ends, and
// an event.
func TestPushParting(t *testing.T) {
	t.Parallel()
	t.Run("in order", func(t *testing.T) {
		t.Parallel()
		bothWays(t, func(t *testing.T, listening push.Role) {
			x := newTransfer(t, listening, "large", "small")
			x.file("large", testkit.Noise(1_500_000))
			x.file("small", "small\n")
			x.send, x.take = []string{"-v"}, []string{"-v"}
			x.start().ends(0)
			said(x.sender, `: both ends finished; `+regexpParting)
			said(x.receiver, `: both ends finished; `+regexpParting)
			said(x.sender, `; sent 150\d{4} bytes, received \d+ bytes in `)
			said(x.receiver, `; sent \d+ bytes, received 150\d{4} bytes in `)
			for _, p := range []*process{x.sender, x.receiver} {
				if n := strings.Count(p.err.String(), " bytes, received "); n != 1 {
					t.Errorf("%d partings of 1 connection%s", n, p.heard())
				}
			}
		})
	})
	t.Run("identical", func(t *testing.T) { // known before its first byte
		t.Parallel()
		bothWays(t, func(t *testing.T, listening push.Role) {
			x := newTransfer(t, listening, "large", "other")
			for _, name := range x.paths {
				x.file(name, testkit.Noise(1_500_000))
				testkit.WriteFile(t, filepath.Join(x.into, name), testkit.Noise(1_500_000))
			}
			x.send, x.take = []string{"-v"}, []string{"-v"}
			x.start().ends(0)
			finished(x)
			said(x.sender, `: large: 1500000 bytes already there, identical`)
			if regexp.MustCompile(`(sent|received) \d{5,} bytes`).MatchString(x.sender.err.String()) {
				t.Errorf("a file was sent that is there%s", x.sender.heard())
			}
		})
	})
	t.Run("quiet", func(t *testing.T) {
		t.Parallel()
		x := newTransfer(t, push.Receiver, "large")
		x.file("large", testkit.Noise(1_500_000))
		x.start().ends(0)
		if strings.Contains(x.sender.err.String(), "finished;") {
			t.Errorf("a parting without -v%s", x.sender.heard())
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		for _, listening := range []push.Role{push.Receiver, push.Sender} {
			x := midway(t, listening)
			x.send, x.take = []string{"-v"}, []string{"-v"}
			x.start()
			x.arrives(2 << 20)
			listener := x.listener()
			listener.signal(syscall.SIGINT)
			listener.ends(130)
			said(listener, `: interrupted; `+regexpParting)
		}
	})
	t.Run("refused", func(t *testing.T) { // a file is, the transfer is not
		t.Parallel()
		bothWays(t, func(t *testing.T, listening push.Role) {
			x := newTransfer(t, listening, "large", "small")
			for _, name := range x.paths {
				x.file(name, testkit.Noise(1_500_000))
				testkit.WriteFile(t, filepath.Join(x.into, name), "another")
			}
			x.send, x.take = []string{"-v"}, []string{"-v"}
			x.start().ends(4)
			finished(x)
		})
	})
}

// finished checks that the transfer has ended in order at both ends, and that
// none of its connections has failed.
func finished(x *transfer) {
	x.t.Helper()
	for _, p := range []*process{x.sender, x.receiver} {
		said(p, `: both ends finished; `+regexpParting)
		if strings.Contains(p.err.String(), ": failed; ") {
			x.t.Errorf("a connection has failed%s", p.heard())
		}
	}
}

// The last lines of cut transfers.
func TestPushPartingCut(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(x *transfer) (left []*process){
		"sender killed": func(x *transfer) []*process {
			x.sender.kill()
			x.relay.end(false)
			return []*process{x.receiver}
		},
		"receiver killed": func(x *transfer) []*process {
			x.receiver.kill()
			x.relay.end(false)
			return []*process{x.sender}
		},
		"reset": func(x *transfer) []*process {
			x.relay.end(true)
			return []*process{x.sender, x.receiver}
		},
		"silent": func(x *transfer) []*process { // as it is from the stall on
			return []*process{x.sender, x.receiver}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x := midway(t, listening)
				x.send = []string{"-v"}
				if name == "silent" {
					x.send = []string{"-v", "--idle-timeout", "2"}
				}
				x.take = x.send
				x.start()
				x.arrives(2 << 20)
				for _, p := range cut(x) {
					p.ends(3)
					said(p, `: failed; `+regexpParting)
					if strings.Contains(p.err.String(), "finished;") {
						t.Errorf("a connection that was cut has finished%s", p.heard())
					}
				}
			})
		})
	}
}

// The last lines for clients that are no purr. One that holds another key has
// none, and does not end the listener.
func TestPushPartingStrangers(t *testing.T) {
	t.Parallel()
	t.Run("curl", func(t *testing.T) {
		t.Parallel()
		p, addr, into := startPull(t, "-v")
		from := t.TempDir()
		testkit.WriteFile(t, filepath.Join(from, "f"), "from curl\n")
		start(t, opts{dir: from}, testkit.Program(t, "curl", "curl"), "-sS", "-T", "f", "http://"+addr+"/").ends(0)
		p.ends(0)
		hasContent(t, filepath.Join(into, "f"), "from curl\n")
		said(p, `: (the peer finished|closed at this end); `+regexpParting)
	})
	t.Run("scan", func(t *testing.T) { // a client that only probes the port
		t.Parallel()
		p, addr, _ := startPull(t, "-v", "-k")
		_ = dialTest(t, "tcp", addr).Close()
		p.waitErr(regexp.MustCompile(`: the peer finished; sent 0 bytes, received 0 bytes in `))
		p.runs()
	})
	t.Run("another key", func(t *testing.T) {
		t.Parallel()
		l := startPurr(t, opts{env: keyed(tlsconn.NewKey())}, "--pull", "-v", "-l", "127.0.0.1", "0", t.TempDir())
		file := testkit.TempFile(t, "content")
		d := startPurr(t, opts{env: keyed(tlsconn.NewKey())}, "--push", "-v", "127.0.0.1", l.port(), file)
		d.ends(7)
		l.waitErr(regexp.MustCompile("the other end does not hold our key"))
		l.runs()
		said(d, `: failed; nothing moved in `)
	})
	t.Run("reset at once", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		go func() {
			if c, err := ln.AcceptTCP(); err == nil {
				_ = c.SetLinger(0)
				_ = c.Close()
			}
		}()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		d := startPurr(t, opts{}, "--push", "--json", "127.0.0.1", port, testkit.TempFile(t, "content"))
		got := d.status()
		said := d.err.String()
		met, left := strings.Count(said, `"event":"connect"`), strings.Count(said, `"event":"disconnect"`)
		// The reset may also come before the connection is known here, or behind the
		// beginning of a transfer.
		if want := map[int]int{1: 0, 3: 1, 6: 1}; met != left || want[got] != met || got == 0 || strings.Contains(said, "->") {
			t.Errorf("status %d, %d connections, %d partings%s", got, met, left, d.heard())
		}
	})
	t.Run("stranger", func(t *testing.T) {
		t.Parallel()
		p, addr, _ := startPull(t, "-v")
		c := dialTest(t, "tcp", addr)
		writeAll(t, c, "SSH-2.0-x\r\n")
		p.ends(6)
		said(p, `: failed; `+regexpParting)
	})
}

// Once a listener without -k has finished its transfer, it closes its other
// connections. They do not delay its end.
func TestPushPartingSilent(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "large")
		x.file("large", testkit.Noise(1_500_000))
		path := filepath.Join(testkit.SocketDir(t), "s")
		// A silent client may stay so for longer than any other wait
		// here.
		listener := x.end(listening, "--json", "--hello-timeout", "60", "-l", "-U", path)
		listener.waitErr(regexp.MustCompile(`"event":"listen"`))
		silent := dialTest(t, "unix", path)
		listener.waitErr(regexp.MustCompile(`"event":"connect"`))
		x.end(listening.Other(), "--json", "-U", path)
		x.ends(0)
		said := listener.err.String()
		if met, left := strings.Count(said, `"event":"connect"`), strings.Count(said, `"event":"disconnect"`); met < 2 || met != left {
			t.Errorf("%d connections, %d partings%s", met, left, listener.heard())
		}
		if !strings.Contains(said, `"how":"closed at this end"`) {
			t.Errorf("the silent one was not parted with%s", listener.heard())
		}
		if got, err := readAllOf(silent); got != "" {
			t.Errorf("the silent one got %q, %v", got, err)
		}
	})
}

func TestPushPartingEvents(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "large", "small")
		x.file("large", testkit.Noise(1_500_000))
		x.file("small", "small\n")
		path := filepath.Join(testkit.SocketDir(t), "s")
		listener := x.end(listening, "--json", "-l", "-U", path)
		listener.waitErr(regexp.MustCompile(`"event":"listen"`))
		x.end(listening.Other(), "--json", "-U", path)
		x.ends(0)
		for _, p := range []*process{x.sender, x.receiver} {
			connects, moved := 0, 0.0
			finished := false
			for _, line := range strings.Split(strings.TrimSpace(p.err.String()), "\n") {
				var e struct {
					Event, How     string
					Sent, Received float64
				}
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatal(err, line)
				}
				switch e.Event {
				case "connect":
					connects++
				case "disconnect":
					connects--
					moved += e.Sent + e.Received
					finished = finished || e.How == "both ends finished"
				case "file":
					if finished {
						t.Errorf("a file after the end of its transfer%s", p.heard())
					}
				}
			}
			if connects != 0 || moved < 1_500_000 || !finished {
				t.Errorf("%d connections without an end, %v bytes, finished %v%s", connects, moved, finished, p.heard())
			}
		}
	})
}
