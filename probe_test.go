package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"purr/internal/payload"
	"purr/internal/testkit"
)

// listenUDP returns the address of a server on loopback that calls reply for each datagram and sends what it returns,
// from its own port or from others that it opens itself.
func listenUDP(t testing.TB, reply func(c *net.UDPConn, from netip.AddrPort, b []byte)) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 65536)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			reply(c, from, bytes.Clone(b[:n]))
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// probing returns options from the texts of --payload and --expect.
func probing(t testing.TB, payload, expect string) *probeOptions {
	t.Helper()
	o := &probeOptions{}
	if payload != "" {
		if err := o.payload.Set(payload); err != nil {
			t.Fatal(err)
		}
	}
	if expect != "" {
		if err := o.expect.Set(expect); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// a2sInfo is the request of payload a2s.
const a2sInfo = "\xff\xff\xff\xffTSource Engine Query\x00"

func echoBack(c *net.UDPConn, from netip.AddrPort, b []byte) { c.WriteToUDPAddrPort(b, from) }

// TestProbeReplies asks servers of all kinds of behaviour.
func TestProbeReplies(t *testing.T) {
	say := func(s string) func(*net.UDPConn, netip.AddrPort, []byte) {
		return func(c *net.UDPConn, from netip.AddrPort, b []byte) { c.WriteToUDPAddrPort([]byte(s), from) }
	}
	tries := 0
	for _, test := range []struct {
		name            string
		payload, expect string
		server          func(c *net.UDPConn, from netip.AddrPort, b []byte)
		state           probeState
		status          int
		line            string // what follows state and time
	}{
		{"echo unasked", "", "", echoBack, probeOpen, 0, "echo   same bytes"},
		{"nobody knows what", "", "", say("welcome"), probeOpen, 0, `echo   7 bytes, not echo: "welcome"`},
		{"custom text", "text:hello", "", say("bye\x1b[2J"), probeOpen, 0, `text   7 bytes "bye\x1b[2J"`},
		{"custom hex", "hex:00:01 02", "prefix-hex:000102", echoBack, probeOpen, 0, `hex    3 bytes "\x00\x01\x02"`},
		{"empty", "none", "any", echoBack, probeOpen, 0, `none   0 bytes ""`},
		{"wrong prefix", "text:x", "prefix-hex:ff", echoBack, probeOpen, 5, `text   1 bytes "x", not as expected`},
		{"regex", "text:x", "regex:^[xyz]$", echoBack, probeOpen, 0, `text   1 bytes "x"`},
		{"expected name", "", "dns", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			b[2] |= 0x80
			c.WriteToUDPAddrPort(b, from)
		}, probeOpen, 0, "dns    NOERROR"},
		{"not what was expected", "", "dns", say("SSH-2.0-x\r\n"), probeOpen, 5, `dns    11 bytes, not dns: "SSH-2.0-x\r\n", not as expected`},
		{"another protocol", "dns", "", say("SSH-2.0-x\r\n"), probeOpen, 0, `dns    11 bytes, not dns: "SSH-2.0-x\r\n"`},
		{"another first, then ours", "dns", "", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			c.WriteToUDPAddrPort([]byte("noise"), from)
			b[2] |= 0x80
			c.WriteToUDPAddrPort(b, from)
		}, probeOpen, 0, "dns    NOERROR"},
		{"second try answered", "dns", "", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			if tries++; tries == 2 {
				b[2] |= 0x80
				c.WriteToUDPAddrPort(b, from)
			}
		}, probeOpen, 0, "dns    NOERROR"},
		{"tftp from another port, stopped", "tftp", "", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			other, _ := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			defer other.Close()
			other.WriteToUDPAddrPort([]byte("\x00\x03\x00\x01hello"), from)
			other.SetReadDeadline(time.Now().Add(5 * time.Second))
			stop := make([]byte, 100)
			if n, _, err := other.ReadFromUDPAddrPort(stop); err != nil || n < 4 || stop[1] != 5 {
				t.Errorf("data was not stopped: %q %v", stop[:n], err)
			}
		}, probeOpen, 0, "tftp   data, 5 bytes, from port "},
		{"a2s with a challenge", "a2s", "", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			if len(b) == len(a2sInfo) {
				c.WriteToUDPAddrPort([]byte("\xff\xff\xff\xffA1234"), from)
			} else if string(b[len(a2sInfo):]) == "1234" {
				c.WriteToUDPAddrPort([]byte("\xff\xff\xff\xffI\x11Cats\x00de_dust\x00dir\x00game\x00\x0a\x00\x03\x10\x00"), from)
			}
		}, probeOpen, 0, `a2s    "Cats", map de_dust, 3/16 players`},
		{"a2s challenge only", "a2s", "", say("\xff\xff\xff\xffA1234"), probeOpen, 0, "a2s    challenge"},
		{"a largest datagram", "text:x", "", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			c.WriteToUDPAddrPort(make([]byte, 65507), from)
		}, probeOpen, 0, "text   65507 bytes "},
		{"silent", "dns", "", func(*net.UDPConn, netip.AddrPort, []byte) {}, probeSilent, 3, "dns, 3 sent: open but silent, or dropped on the way"},
		{"never answers", "wireguard", "", func(*net.UDPConn, netip.AddrPort, []byte) {}, probeSilent, 3,
			"wireguard, 3 sent: WireGuard is silent to strangers by design (whitepaper 5.3), it cannot be probed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := probing(t, test.payload, test.expect)
			// A second try is for what is lost, not for what is late.
			o.sends, o.wait = []time.Duration{0, 3 * time.Second, 6 * time.Second}, testkit.Patience
			if test.state == probeSilent {
				o.sends, o.wait = []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond}, 3*time.Second
			}
			r := probeUDP(t.Context(), "", listenUDP(t, test.server), o)
			var out strings.Builder
			writeProbe(&out, &r)
			if r.state != test.state || r.status() != test.status || !strings.Contains(out.String(), " "+test.line) {
				t.Errorf("%s, status %d: %q, want %s", r.state, r.status(), out.String(), test.line)
			}
			var b bytes.Buffer
			if err := writeProbeJSON(&b, &r, &o.expect); err != nil || !json.Valid(b.Bytes()) {
				t.Error(b.String(), err)
			}
		})
	}
}

// TestProbeStranger ignores a datagram from another address than the one asked.
func TestProbeStranger(t *testing.T) {
	target := listenUDP(t, func(c *net.UDPConn, from netip.AddrPort, b []byte) {
		other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
		if err != nil {
			return // not every system has 127.0.0.2
		}
		defer other.Close()
		other.WriteToUDPAddrPort(b, from)
	})
	o := &probeOptions{wait: 300 * time.Millisecond}
	if r := probeUDP(t.Context(), "", target, o); r.state != probeSilent {
		t.Errorf("%s from %v", r.state, r.from)
	}
}

func TestProbeClosed(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	target := c.LocalAddr().(*net.UDPAddr).AddrPort()
	c.Close()
	start := time.Now()
	r := probeUDP(t.Context(), "localhost", target, &probeOptions{})
	if r.state != probeClosed || r.status() != 1 || r.sent != 1 || testkit.Since(start) > 2*time.Second {
		t.Errorf("%+v after %v", r, time.Since(start))
	}
	var b bytes.Buffer
	writeProbeJSON(&b, &r, &payload.Expect{})
	want := fmt.Sprintf(`{"v":1,"host":"localhost","address":"127.0.0.1","port":%d,"state":"closed","payload":"echo","sent":1,"rtt_us":%d,`+
		`"clock":"kernel","icmp":{"type":3,"code":3,"from":"127.0.0.1"},"reply":null}`+"\n", target.Port(), r.rtt.Microseconds())
	if r.icmp != nil && r.kernel && b.String() != want {
		t.Errorf("\n got %s\nwant %s", b.String(), want)
	}
}

func TestProbeCancelled(t *testing.T) {
	target := listenUDP(t, func(*net.UDPConn, netip.AddrPort, []byte) {})
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	r := probeUDP(ctx, "", target, &probeOptions{})
	if r.state != probeFailed || r.err == nil || testkit.Since(start) > 2*time.Second {
		t.Errorf("%s %v after %v", r.state, r.err, time.Since(start))
	}
}

func TestProbeSecrets(t *testing.T) {
	// In auto the RADIUS secret must not leave as an SNMP community.
	seen := make(chan []byte, 16)
	target := listenUDP(t, func(c *net.UDPConn, from netip.AddrPort, b []byte) { seen <- b })
	r := &probeRun{o: &probeOptions{secret: []byte("hush")}, to: payload.Target{Addr: target}}
	var err error
	if r.sock, err = openProbeSocket(target, netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	defer r.sock.close()
	for _, p := range payload.All() {
		if p.Build != nil && p.Name != "radius" {
			if err := r.ask(p); err != nil {
				t.Fatal(p.Name, err)
			}
			if b := <-seen; bytes.Contains(b, []byte("hush")) {
				t.Errorf("%s tells the secret: %q", p.Name, b)
			}
		}
	}
}

func TestProbeStatus(t *testing.T) {
	open, closed, filtered := probeResult{state: probeOpen}, probeResult{state: probeClosed}, probeResult{state: probeFiltered}
	silent, wrong := probeResult{state: probeSilent}, probeResult{state: probeOpen, wrong: true}
	for _, test := range []struct {
		results []probeResult
		any     bool
		want    int
	}{
		{nil, false, 1}, {[]probeResult{open, open}, false, 0}, {[]probeResult{open, closed}, false, 1}, {[]probeResult{open, closed}, true, 0},
		{[]probeResult{closed, silent, open}, false, 3}, {[]probeResult{filtered, silent}, true, 4}, {[]probeResult{wrong, open}, false, 5},
		{[]probeResult{wrong, open}, true, 0}, {[]probeResult{wrong}, true, 5},
	} {
		if got := probeStatus(test.results, test.any); got != test.want {
			t.Errorf("%v any=%v: %d, want %d", test.results, test.any, got, test.want)
		}
	}
}

// TestPing pings a far end that loses every fifth request, every seventh answer, repeats one and swaps two.
func TestPing(t *testing.T) {
	for _, counts := range []bool{false, true} {
		t.Run(fmt.Sprintf("counts=%v", counts), func(t *testing.T) {
			var counters payload.PingCounter
			n := 0
			var keep []byte
			target := listenUDP(t, func(c *net.UDPConn, from netip.AddrPort, b []byte) {
				if n++; n%5 == 0 {
					return // lost on the way there
				}
				if counts && !counters.Stamp(from, b) {
					t.Errorf("not a ping: %q", b)
				}
				switch {
				case n%7 == 0: // lost on the way back
				case n == 8:
					keep = b
				case n == 9:
					c.WriteToUDPAddrPort(b, from)
					c.WriteToUDPAddrPort(b, from)
					c.WriteToUDPAddrPort(keep, from)
				default:
					c.WriteToUDPAddrPort(b, from)
				}
			})
			o := &pingOptions{probeOptions: *probing(t, "echo", ""), count: 21, interval: 5 * time.Millisecond}
			o.wait = 3 * time.Second
			stamped := 0
			s := pingUDP(t.Context(), "", target, o, func(e *pingEvent) {
				if e.kernel {
					stamped++
				}
				var out strings.Builder
				writePing(&out, e)
				t.Log(out.String())
			})
			var out strings.Builder
			writePingStats(&out, &s)
			t.Log(out.String())
			if runtime.GOOS == "linux" && stamped == 0 {
				t.Error("no round trip time is the kernel's")
			}
			// 4 of 21 lost on the way there (5, 10, 15, 20), 3 on the way back (7, 14, 21).
			if s.sent != 21 || s.answered != 14 || s.duplicate != 1 || s.reordered != 1 || s.late != 0 || s.status() != 0 {
				t.Errorf("%+v", s)
			}
			of, there, back, known := s.directions()
			if known != counts || counts && (of != 19 || there != 3 || back != 2) {
				t.Errorf("of %d: %d there, %d back, known %v", of, there, back, known)
			}
			if known != strings.Contains(out.String(), "on the way back") {
				t.Error(out.String())
			}
		})
	}
}

func TestPingLateAndClosed(t *testing.T) {
	o := &pingOptions{probeOptions: *probing(t, "echo", ""), count: 3, interval: 200 * time.Millisecond}
	o.wait = 200 * time.Millisecond
	testkit.Fairly(t, 50*time.Millisecond, func(t testing.TB) {
		target := listenUDP(t, func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			time.AfterFunc(300*time.Millisecond, func() { c.WriteToUDPAddrPort(b, from) })
		})
		s := pingUDP(t.Context(), "", target, o, func(*pingEvent) {})
		if s.sent != 3 || s.answered != 0 || s.late == 0 || s.status() != 3 || s.lost() != 1 {
			t.Errorf("%+v", s)
		}
	})
	s := pingUDP(t.Context(), "", netip.MustParseAddrPort("127.0.0.1:1"), o, func(e *pingEvent) {
		if e.kind != pingRejected || e.state != probeClosed {
			t.Errorf("%+v", e)
		}
	})
	if s.sent != 3 || s.rejected != 3 || s.status() != 1 {
		t.Errorf("%+v", s)
	}
}
