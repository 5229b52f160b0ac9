package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"purr/internal/push"
	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// The connections that several large files share.

// mostStreams is how many connections one transfer has at most.
const mostStreams = 3

// connections counts the lines about accepted connections.
func connections(p *process) int {
	return len(regexp.MustCompile(`(?m)^Connection received on `).FindAllString(p.err.String(), -1))
}

// several makes n large files for the sender, and returns their content by
// name.
func (x *transfer) several(n, size int) map[string]string {
	x.t.Helper()
	want := make(map[string]string)
	for i := range n {
		name := string(rune('a' + i))
		want[name] = testkit.Noise(size + i)
		x.file(name, want[name])
		x.paths = append(x.paths, name)
	}
	return want
}

// arrived checks the content of several files at the receiver.
func (x *transfer) arrived(want map[string]string) {
	x.t.Helper()
	for name, content := range want {
		hasContent(x.t, filepath.Join(x.into, name), content)
	}
}

// Large files share several connections, also with a key, over a Unix socket
// and from a given address; one connection carries them all where there can be
// one only.
func TestPushStreams(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
	for name, c := range map[string]struct {
		listen, dial []string
		unix, key    bool
		least, most  int // connections
	}{
		"plain":       {least: 2, most: mostStreams},
		"unix":        {unix: true, least: 2, most: mostStreams},
		"key":         {key: true, least: 2, most: mostStreams},
		"from":        {dial: []string{"-s", "127.0.0.3"}, least: 2, most: mostStreams},
		"--max-conns": {listen: []string{"-k", "--max-conns", "9"}, least: 1, most: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x := newTransfer(t, listening, "small")
				x.file("small", "small\n")
				want := x.several(4, 1_500_000)
				if c.key {
					x.env = keyed(k)
				}
				x.unix = c.unix
				x.send, x.take = c.dial, c.listen
				if listening == push.Sender {
					x.send, x.take = c.listen, c.dial
				}
				x.start()
				listener, dialer := x.receiver, x.sender
				if listening == push.Sender {
					listener, dialer = dialer, listener
				}
				dialer.ends(0)
				if len(c.listen) > 0 { // it listens with -k
					listener.kill()
				}
				listener.status()
				want["small"] = "small\n"
				x.arrived(want)
				if n := connections(listener); n < c.least || n > c.most {
					t.Errorf("%d connections, want %d to %d%s", n, c.least, c.most, listener.heard())
				}
			})
		})
	}
}

// One large file needs no further connection, and neither do small ones.
func TestPushOneStream(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening, "large", "d")
		x.file("large", testkit.Noise(3_000_000))
		for i := range 50 {
			x.file(filepath.Join("d", string(rune('A'+i))), testkit.Noise(i*1000))
		}
		x.start().ends(0)
		if n := connections(x.listener()); n != 1 {
			t.Errorf("%d connections%s", n, x.listener().heard())
		}
	})
}

// A middlebox lets a number of connections through, and keeps the others
// without a word: the files go over those that there are.
func TestPushFewConnections(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 2} {
		bothWays(t, func(t *testing.T, listening push.Role) {
			x := newTransfer(t, listening)
			want := x.several(5, 1_200_000)
			x.take = []string{"--hello-timeout", "2"}
			x.send = append([]string{"--rate", "2M"}, x.take...) // for longer than the timeout
			listener, dialer := x.relayed(func(r *relay) { r.most.Store(int32(most)) }, "-vv")
			x.ends(0)
			x.arrived(want)
			if n := connections(listener); n != most {
				t.Errorf("%d connections%s", n, listener.heard())
			}
			said(dialer, `: no further connection: `)
		})
	}
}

// A push is one client, however many connections it has.
func TestStreamsAreNoClients(t *testing.T) {
	t.Parallel()
	x := newTransfer(t, push.Receiver)
	x.several(2, 1_500_000)
	x.take = []string{"-k"}
	x.start()
	x.sender.ends(0)
	x.receiver.asked(`listening on localhost \d+, clients: 0 now, 1 so far; sent \d+ bytes, received 300\d{4} bytes in .*`)
	if n := connections(x.receiver); n < 2 {
		t.Errorf("%d connections%s", n, x.receiver.heard())
	}
}

// A further connection falls silent once it is one, and the first one lives on:
// the transfer ends, and the file is nowhere.
func TestPushStreamSilent(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening push.Role) {
		x := newTransfer(t, listening)
		x.several(4, 1_500_000)
		x.take = []string{"--idle-timeout", "2"}
		x.send = append([]string{"--rate", "2M"}, x.take...) // the further connection comes before the last file
		_, dialer := x.relayed(func(r *relay) { r.mute.Store(true) })
		x.ends(3)
		if dialer.took < 1800*time.Millisecond {
			t.Errorf("gave up after %v%s", dialer.took, dialer.heard())
		}
		// Either end may be the first to know, and closes the connections.
		if heard := x.sender.err.String() + x.receiver.err.String(); !strings.Contains(heard, "lost contact for 2s") && !strings.Contains(heard, "nothing heard for 2s") {
			t.Errorf("neither end names the silence%s%s", x.sender.heard(), x.receiver.heard())
		}
		names, _ := filepath.Glob(filepath.Join(x.into, "[abcd]"))
		if len(names) > 3 {
			t.Errorf("%q are there, though one of them was never sent", strings.Join(names, " "))
		}
	})
}
