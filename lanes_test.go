//go:build linux

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/rate"
	"purr/internal/testkit"
	"purr/internal/tlsconn"
)

// connections counts those that a listener has said it received.
func connections(p *process) int {
	return len(regexp.MustCompile(`(?m)^Connection received on `).FindAllString(p.err.String(), -1))
}

// Large files have connections of their own, also with a key, over a Unix
// socket and from a given address. Where there can be one only, they share it.
func TestPushLanes(t *testing.T) {
	t.Parallel()
	k := tlsconn.NewKey()
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
					want[name] = testkit.Noise(1_500_000)
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
		x.file("s.bin", testkit.Noise(1_500_000))
		x.send = []string{"--hello-timeout", "5"}
		x.take = x.send
		listener, _ := x.relayed(func(r *relay) { r.most.Store(1) })
		x.ends(0)
		hasContent(t, filepath.Join(x.into, "s.bin"), testkit.Noise(1_500_000))
		if n := connections(listener); n != 1 {
			t.Errorf("%d connections%s", n, listener.heard())
		}
	})
}

// On a lane a body leaves in full segments, and nothing of it is held back once
// it has ended; with --rate nothing is held back at all.
func TestLaneCorked(t *testing.T) {
	t.Parallel()
	for _, bps := range []int64{0, 1 << 30} {
		ours, theirs := testkit.TcpPair(t)
		p := &purr{cfg: &config{}, limit: rate.New(bps)}
		c := p.newContact(ours)
		defer c.Close()
		corked := func() bool {
			raw, err := ours.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			value := 0
			if controlErr := raw.Control(func(fd uintptr) {
				value, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK)
			}); controlErr != nil || err != nil {
				t.Fatal(controlErr, err)
			}
			return value == 1
		}
		file, err := os.Open(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		out, err := newOutgoing(file, info, false)
		if err != nil {
			t.Fatal(err)
		}
		during := false
		body := out.body(0, nil, c.limit, func(int) { during = corked() })
		body.lane = c
		defer body.Close()
		go io.Copy(io.Discard, theirs)
		if n, err := body.WriteTo(c); err != nil || n != info.Size() {
			t.Fatalf("%d of %d bytes: %v", n, info.Size(), err)
		}
		if during != (bps == 0) || corked() {
			t.Errorf("rate %d: corked meanwhile: %t, afterwards: %t", bps, during, corked())
		}
	}
}

// What lies between the two ends passes so many connections on, and no more: the
// files that have no lane go beside the exchange.
func TestPushFewConnections(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening role) {
		x := newTransfer(t, listening, "a", "b", "c", "d", "e")
		for _, name := range x.paths {
			x.file(name, testkit.Noise(3_000_000))
		}
		x.take = []string{"--hello-timeout", "5"}
		x.send = append([]string{"--rate", "2M"}, x.take...) // for longer than it takes to find out
		listener, dialer := x.relayed(func(r *relay) { r.most.Store(2) }, "-vv")
		x.ends(0)
		for _, name := range x.paths {
			hasContent(t, filepath.Join(x.into, name), testkit.Noise(3_000_000))
		}
		if n := connections(listener); n != 2 {
			t.Errorf("%d connections%s", n, listener.heard())
		}
		said(dialer, `: no further connection: `)
	})
}

// A push is one client, however many connections it has.
func TestLanesAreNoClients(t *testing.T) {
	t.Parallel()
	x := newTransfer(t, roleReceiver, "a", "b")
	x.file("a", testkit.Noise(1_500_000))
	x.file("b", testkit.Noise(1_500_000))
	x.take = []string{"-k"}
	x.start()
	x.sender.ends(0)
	x.receiver.asked(`listening on localhost \d+, clients: 0 now, 1 so far; sent \d+ bytes, received 300\d{4} bytes in .*`)
	if n := connections(x.receiver); n < 2 {
		t.Errorf("%d connections%s", n, x.receiver.heard())
	}
}

// A lane falls silent once it is one, and the exchange's own connection lives on.
func TestPushLaneSilent(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, listening role) {
		x := newTransfer(t, listening, "s.bin")
		x.file("s.bin", testkit.Noise(3_000_000))
		x.send = []string{"--idle-timeout", "5"} // two thirds of it are for the answer to a PING
		x.take = x.send
		_, dialer := x.relayed(func(r *relay) { r.mute.Store(true) })
		x.ends(3)
		if dialer.took < 4800*time.Millisecond || dialer.took > 15*time.Second {
			t.Errorf("gave up after %v%s", dialer.took, dialer.heard())
		}
		said(dialer, `: nothing heard for 5s`)
		testkit.Absent(t, filepath.Join(x.into, "s.bin"))
	})
}

// Whoever needs longer than the silence for an answer on a lane says so, and is
// waited for; whoever says nothing is not.
func TestLaneWorking(t *testing.T) {
	t.Parallel()
	const silence = 3 * time.Second // two thirds of it are for a busy machine
	p := &purr{cfg: &config{}}
	p.cfg.push.silence = silence
	own, _ := testkit.TcpPair(t)
	v := &visit{contact: p.newContact(own)}
	v.exchange.Store(&exchange{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		done := func() {}
		if r.URL.Path == "/says" {
			done = v.working(w, r)
		}
		select {
		case <-time.After(2 * silence):
		case <-r.Context().Done():
		}
		done()
		w.WriteHeader(http.StatusCreated)
	}))
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, visitKey{}, &visit{contact: p.newContact(c)})
	}
	s.Start()
	defer s.Close()
	for _, path := range []string{"/says", "/silent"} {
		var lane *contact
		transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil {
				lane = p.newContact(c)
			}
			return lane, err
		}}
		quiet := newQuietWatch(silence)
		trace := quiet.trace()
		trace.GotConn = func(got httptrace.GotConnInfo) { quiet.over.Store(got.Conn.(*contact)) }
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodPut, s.URL+path, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		quiet.end()
		if path == "/says" {
			if err != nil || resp.StatusCode != http.StatusCreated {
				t.Errorf("%s: %v", path, err)
			}
		} else if err == nil || lane.why() != "nothing heard for 3s" {
			t.Errorf("%s: %v, %s", path, err, lane.why())
		}
		transport.CloseIdleConnections()
	}
}
