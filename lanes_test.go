//go:build linux

package main

import (
	"path/filepath"
	"regexp"
	"testing"
)

// connections counts those that a listener has said it received.
func connections(p *process) int {
	return len(regexp.MustCompile(`(?m)^Connection received on `).FindAllString(p.err.String(), -1))
}

// Large files have connections of their own, also with a key, over a Unix
// socket and from a given address. Where there can be one only, they share it.
func TestPushLanes(t *testing.T) {
	t.Parallel()
	k := newKey()
	for name, c := range map[string]struct {
		listen, dial []string
		unix, key    bool
		least, most  int // connections
	}{
		"plain":       {least: 2, most: 1 + mostLanes},
		"unix":        {unix: true, least: 2, most: 1 + mostLanes},
		"key":         {key: true, least: 2, most: 1 + mostLanes},
		"from":        {dial: []string{"-s", "127.0.0.3"}, least: 2, most: 1 + mostLanes},
		"--max-conns": {listen: []string{"-k", "--max-conns", "9"}, least: 1, most: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening role) {
				x := newTransfer(t, listening, "a", "b", "c", "d", "small")
				want := map[string]string{"small": "small\n"}
				for _, name := range x.paths[:4] {
					want[name] = noise(1_500_000)
				}
				for name, content := range want {
					x.file(name, content)
				}
				if c.key {
					x.env = keyed(k)
				}
				x.unix = c.unix
				x.send, x.take = c.dial, c.listen
				if listening == roleSender {
					x.send, x.take = c.listen, c.dial
				}
				x.start()
				listener, dialer := x.receiver, x.sender
				if listening == roleSender {
					listener, dialer = dialer, listener
				}
				dialer.ends(0)
				if len(c.listen) > 0 { // it listens with -k
					listener.kill()
				}
				listener.status()
				for name, content := range want {
					hasContent(t, filepath.Join(x.into, name), content)
				}
				if n := connections(listener); n < c.least || n > c.most {
					t.Errorf("%d connections, want %d to %d%s", n, c.least, c.most, listener.heard())
				}
			})
		})
	}
}

// Something between the two ends passes one connection on, and keeps the others
// without a word.
func TestPushOneConnection(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening role) {
		x := newTransfer(t, listening, "s.bin")
		x.file("s.bin", noise(1_500_000))
		x.send = []string{"--hello-timeout", "1"}
		x.take = x.send
		address := x.listen()
		r := newRelay(t, address[0]+":"+address[1], harm{}, harm{})
		r.only.Store(true)
		x.end(listening.other(), r.addr()...)
		x.ends(0)
		hasContent(t, filepath.Join(x.into, "s.bin"), noise(1_500_000))
		listener := x.receiver
		if listening == roleSender {
			listener = x.sender
		}
		if n := connections(listener); n != 1 {
			t.Errorf("%d connections%s", n, listener.heard())
		}
	})
}
