//go:build linux

package main

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

const regexpParting = `sent \d+ bytes, received \d+ bytes in \S+, \S+ \S+/s$`

// Every connection of a push or pull has a last line under -v at both ends, and
// an event.
func TestPushParting(t *testing.T) {
	t.Parallel()
	t.Run("in order", func(t *testing.T) {
		t.Parallel()
		bothWays(t, func(t *testing.T, listening role) {
			x := newTransfer(t, listening, "large", "small")
			x.file("large", noise(1_500_000))
			x.file("small", "small\n")
			x.send, x.take = []string{"-v"}, []string{"-v"}
			x.start().ends(0)
			said(x.sender, `: both ends finished; `+regexpParting)
			said(x.receiver, `: both ends finished; `+regexpParting)
			said(x.sender, `; sent 150\d{4} bytes, received \d+ bytes in `)
			said(x.receiver, `; sent \d+ bytes, received 150\d{4} bytes in `)
			for _, p := range []*process{x.sender, x.receiver} {
				if n := strings.Count(p.err.String(), " bytes, received "); n != 2 {
					t.Errorf("%d partings of 2 connections%s", n, p.heard())
				}
			}
		})
	})
	t.Run("identical", func(t *testing.T) { // known before its first byte
		t.Parallel()
		bothWays(t, func(t *testing.T, listening role) {
			x := newTransfer(t, listening, "large")
			x.file("large", noise(1_500_000))
			write(t, filepath.Join(x.into, "large"), noise(1_500_000))
			x.send, x.take = []string{"-v"}, []string{"-v"}
			x.start().ends(0)
			said(x.sender, `: large: 1500000 bytes already there, identical`)
			if regexp.MustCompile(`(sent|received) \d{5,} bytes`).MatchString(x.sender.err.String()) {
				t.Errorf("a file was sent that is there%s", x.sender.heard())
			}
		})
	})
	t.Run("quiet", func(t *testing.T) {
		t.Parallel()
		x := newTransfer(t, roleReceiver, "large")
		x.file("large", noise(1_500_000))
		x.start().ends(0)
		if strings.Contains(x.sender.err.String(), "finished;") {
			t.Errorf("a parting without -v%s", x.sender.heard())
		}
	})
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		bothWays(t, func(t *testing.T, listening role) {
			x := midway(t, listening)
			x.send, x.take = append(x.send, "-v"), append(x.take, "-v")
			x.start()
			x.arrives(2 << 20)
			x.sender.kill()
			x.relay.end(false)
			x.receiver.ends(3)
			said(x.receiver, `: failed; `+regexpParting)
			if got := x.receiver.err.String(); strings.Contains(got, "finished;") {
				t.Errorf("a connection that was cut has finished%s", x.receiver.heard())
			}
		})
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		for _, listening := range []role{roleReceiver, roleSender} {
			x := midway(t, listening)
			x.send, x.take = []string{"-v"}, []string{"-v"}
			x.start()
			x.arrives(2 << 20)
			listener := x.receiver
			if listening == roleSender {
				listener = x.sender
			}
			listener.signal(syscall.SIGINT)
			listener.ends(130)
			said(listener, `: interrupted; `+regexpParting)
		}
	})
	t.Run("curl", func(t *testing.T) {
		t.Parallel()
		p, addr, into := startPull(t, "-v")
		from := t.TempDir()
		write(t, filepath.Join(from, "f"), "from curl\n")
		start(t, opts{dir: from}, needs(t, "curl", "curl"), "-sS", "-T", "f", "http://"+addr+"/").ends(0)
		p.ends(0)
		hasContent(t, filepath.Join(into, "f"), "from curl\n")
		said(p, `: (the peer finished|closed at this end); `+regexpParting)
	})
	t.Run("refused", func(t *testing.T) { // a file is, the exchange is not
		t.Parallel()
		bothWays(t, func(t *testing.T, listening role) {
			x := newTransfer(t, listening, "large", "small")
			for _, name := range x.paths {
				x.file(name, noise(1_500_000))
				write(t, filepath.Join(x.into, name), "another")
			}
			x.send, x.take = []string{"-v"}, []string{"-v"}
			x.start().ends(4)
			for _, p := range []*process{x.sender, x.receiver} {
				said(p, `: both ends finished; `+regexpParting)
				if strings.Contains(p.err.String(), ": failed; ") {
					t.Errorf("a connection has failed%s", p.heard())
				}
			}
		})
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

func TestPushPartingEvents(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening role) {
		x := newTransfer(t, listening, "large", "small")
		x.file("large", noise(1_500_000))
		x.file("small", "small\n")
		path := filepath.Join(socketDir(t), "s")
		listener := x.end(listening, "--json", "-l", "-U", path)
		listener.waitErr(regexp.MustCompile(`"event":"listen"`))
		x.end(listening.other(), "--json", "-U", path)
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
						t.Errorf("a file after the end of its exchange%s", p.heard())
					}
				}
			}
			if connects != 0 || moved < 1_500_000 || !finished {
				t.Errorf("%d connections without an end, %v bytes, finished %v%s", connects, moved, finished, p.heard())
			}
		}
	})
}
