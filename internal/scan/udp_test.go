package scan

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"purr/internal/payload"
	"purr/internal/testkit"
)

// listenUDP returns the address of a server on loopback that calls reply for
// each datagram and sends what it returns, from its own port or from others
// that it opens itself.
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

// choose returns options from the texts of --payload and --expect.
func choose(t testing.TB, payload, expect string) UDPOptions {
	t.Helper()
	var o UDPOptions
	if payload != "" {
		if err := o.Payload.Set(payload); err != nil {
			t.Fatal(err)
		}
	}
	if expect != "" {
		if err := o.Expect.Set(expect); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// askOne returns the result of one port.
func askOne(t testing.TB, target netip.AddrPort, o UDPOptions) (r *Result) {
	t.Helper()
	UDP(t.Context(), []Target{{"", target}}, o, func(got *Result) { r = got })
	if r == nil {
		t.Fatalf("%v: no result", target)
	}
	return r
}

// brief returns the details of a result in one line.
func brief(r *Result) string {
	d := r.UDP
	if r.State != Open {
		return fmt.Sprintf("%s %s %d %s", r.State, d.Payload, d.Sent, d.Silent)
	}
	s := fmt.Sprintf("%s %s %s", r.State, d.Payload, d.Fact)
	if d.From.Port() != r.Addr.Port() {
		s += ", other port"
	}
	if d.Unexpected {
		s += ", unexpected"
	}
	return s
}

// a2sInfo is the request of payload a2s.
const a2sInfo = "\xff\xff\xff\xffTSource Engine Query\x00"

func echoBack(c *net.UDPConn, from netip.AddrPort, b []byte) { c.WriteToUDPAddrPort(b, from) }

// TestUDPReplies asks servers with all kinds of behaviour.
func TestUDPReplies(t *testing.T) {
	t.Parallel()
	say := func(s string) func(*net.UDPConn, netip.AddrPort, []byte) {
		return func(c *net.UDPConn, from netip.AddrPort, b []byte) { c.WriteToUDPAddrPort([]byte(s), from) }
	}
	var asked atomic.Int32
	for _, test := range []struct {
		name            string
		payload, expect string
		server          func(c *net.UDPConn, from netip.AddrPort, b []byte)
		want            string // of brief
	}{
		{"echo unasked", "", "", echoBack, "open echo same bytes"},
		{"nobody knows what", "", "", say("welcome"), `open echo 7 bytes, not echo: "welcome"`},
		{"custom text", "text:hello", "", say("bye\x1b[2J"), `open text 7 bytes "bye\x1b[2J"`},
		{"custom hex", "hex:00:01 02", "prefix-hex:000102", echoBack, `open hex 3 bytes "\x00\x01\x02"`},
		{"empty", "none", "any", echoBack, `open none 0 bytes ""`},
		{"wrong prefix", "text:x", "prefix-hex:ff", echoBack, `open text 1 bytes "x", unexpected`},
		{"regex", "text:x", "regex:^[xyz]$", echoBack, `open text 1 bytes "x"`},
		{"expected name", "", "dns", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			b[2] |= 0x80
			c.WriteToUDPAddrPort(b, from)
		}, "open dns NOERROR"},
		{"not what was expected", "", "dns", say("SSH-2.0-x\r\n"), `open dns 11 bytes, not dns: "SSH-2.0-x\r\n", unexpected`},
		{"another protocol", "dns", "", say("SSH-2.0-x\r\n"), `open dns 11 bytes, not dns: "SSH-2.0-x\r\n"`},
		{"another first, then ours", "dns", "", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			c.WriteToUDPAddrPort([]byte("noise"), from)
			b[2] |= 0x80
			c.WriteToUDPAddrPort(b, from)
		}, "open dns NOERROR"},
		{"second request answered", "dns", "", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			if asked.Add(1) == 2 {
				b[2] |= 0x80
				c.WriteToUDPAddrPort(b, from)
			}
		}, "open dns NOERROR"},
		{"tftp from another port, stopped", "tftp", "", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			other, _ := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			defer other.Close()
			other.WriteToUDPAddrPort([]byte("\x00\x03\x00\x01hello"), from)
			other.SetReadDeadline(time.Now().Add(5 * time.Second))
			stop := make([]byte, 100)
			if n, _, err := other.ReadFromUDPAddrPort(stop); err != nil || n < 4 || stop[1] != 5 {
				t.Errorf("data was not stopped: %q %v", stop[:n], err)
			}
		}, "open tftp data, 5 bytes, other port"},
		{"a2s with a challenge", "a2s", "", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			if len(b) == len(a2sInfo) {
				c.WriteToUDPAddrPort([]byte("\xff\xff\xff\xffA1234"), from)
			} else if string(b[len(a2sInfo):]) == "1234" {
				c.WriteToUDPAddrPort([]byte("\xff\xff\xff\xffI\x11Cats\x00de_dust\x00dir\x00game\x00\x0a\x00\x03\x10\x00"), from)
			}
		}, `open a2s "Cats", map de_dust, 3/16 players`},
		{"a2s challenge only", "a2s", "", say("\xff\xff\xff\xffA1234"), "open a2s challenge"},
		{"a largest datagram", "text:x", "", func(c *net.UDPConn, from netip.AddrPort, b []byte) {
			c.WriteToUDPAddrPort(make([]byte, 65507), from)
		}, "open text 65507 bytes \"" + strings.Repeat(`\x00`, 40) + "...\""},
		{"silent", "dns", "", func(*net.UDPConn, netip.AddrPort, []byte) {}, "no-answer dns 3 "},
		{"never answers", "wireguard", "", func(*net.UDPConn, netip.AddrPort, []byte) {},
			"no-answer wireguard 3 WireGuard is silent to strangers by design (whitepaper 5.3), it cannot be probed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := choose(t, test.payload, test.expect)
			// A second request is for a lost one, not for a late answer.
			o.Sends, o.Wait = []time.Duration{0, 10 * time.Second}, testkit.Patience
			switch {
			case strings.HasPrefix(test.want, "no-answer"):
				o.Sends, o.Wait = []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond}, 2*time.Second
			case test.name == "second request answered":
				o.Sends = []time.Duration{0, 100 * time.Millisecond}
			}
			if got := brief(askOne(t, listenUDP(t, test.server), o)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestUDPStranger ignores a datagram from another address than the target's.
func TestUDPStranger(t *testing.T) {
	target := listenUDP(t, func(c *net.UDPConn, from netip.AddrPort, b []byte) {
		other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
		if err != nil {
			return // not every system has 127.0.0.2
		}
		defer other.Close()
		other.WriteToUDPAddrPort(b, from)
	})
	if r := askOne(t, target, UDPOptions{Wait: 300 * time.Millisecond}); r.State != NoAnswer {
		t.Errorf("%s from %v", r.State, r.UDP.From)
	}
}

func TestUDPClosed(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	target := c.LocalAddr().(*net.UDPAddr).AddrPort()
	c.Close()
	start := time.Now()
	r := askOne(t, target, UDPOptions{})
	if r.State != Closed || r.UDP.Payload != "echo" || r.UDP.Sent != 1 || testkit.Since(start) > 2*time.Second {
		t.Errorf("%+v %+v after %v", r, r.UDP, time.Since(start))
	}
	if runtime.GOOS != "linux" {
		return
	}
	if want := (ICMP{Type: 3, Code: 3, From: target.Addr()}); *r.ICMP != want || !r.UDP.KernelRTT || r.RTT <= 0 {
		t.Errorf("%v after %v", r.ICMP, r.RTT)
	}
}

// TestUDPCancelled ends a scan. It must report nothing and leave no goroutine.
func TestUDPCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	target := listenUDP(t, func(*net.UDPConn, netip.AddrPort, []byte) { cancel(os.ErrProcessDone) })
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	start := time.Now()
	UDP(ctx, []Target{{"", target}, {"", target}}, UDPOptions{Wait: time.Minute}, func(r *Result) { t.Error("reported", r) })
	if testkit.Since(start) > 5*time.Second {
		t.Errorf("after %v", time.Since(start))
	}
}

// TestUDPHeldUp is the timer rule: an answer that came before a probe looked
// has come in time, though the probe's time was over.
func TestUDPHeldUp(t *testing.T) {
	answered := make(chan struct{}, 1)
	target := listenUDP(t, func(c *net.UDPConn, from netip.AddrPort, b []byte) {
		c.WriteToUDPAddrPort(b, from)
		answered <- struct{}{}
	})
	r, err := newRequester(t.Context(), Target{"", target}, netip.AddrPort{}, &payload.Choice{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.sock.close()
	if _, err := r.send(payload.ByName("echo")); err != nil {
		t.Fatal(err)
	}
	<-answered // over loopback it is in the socket by now
	e, err := r.sock.receive(t.Context(), time.Now().Add(-time.Second))
	if err != nil || len(e.data) != payload.PingSize {
		t.Errorf("%q %v", e.data, err)
	}
	if _, err := r.sock.receive(t.Context(), time.Now().Add(-time.Second)); !timedOut(err) {
		t.Error(err)
	}
}

// TestUDPSecret sends every payload with a secret in the mode auto: the secret
// of RADIUS must not leave as an SNMP community.
func TestUDPSecret(t *testing.T) {
	seen := make(chan []byte, 16)
	target := listenUDP(t, func(c *net.UDPConn, from netip.AddrPort, b []byte) { seen <- b })
	r, err := newRequester(t.Context(), Target{"", target}, netip.AddrPort{}, &payload.Choice{}, []byte("hush"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.sock.close()
	for _, p := range payload.All() {
		if p.Build != nil && p.Name != "radius" {
			if _, err := r.send(p); err != nil {
				t.Fatal(p.Name, err)
			}
			if b := <-seen; bytes.Contains(b, []byte("hush")) {
				t.Errorf("%s contains the secret: %q", p.Name, b)
			}
		}
	}
	p := &probe{res: Result{State: NoAnswer, UDP: &Probe{}}}
	p.payloads, _ = payload.ForPort(1812, false)
	if p.complete(); !p.res.UDP.NeedsSecret || p.res.UDP.Silent == "" {
		t.Errorf("radius without a secret: %+v", p.res.UDP)
	}
}
