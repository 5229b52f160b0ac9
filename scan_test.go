package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"purr/internal/testkit"
)

// listenTCP returns the address of a listener on loopback that says greeting to whoever connects.
func listenTCP(t *testing.T, greeting string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if greeting != "" {
				c.Write([]byte(greeting))
			}
			go func() {
				c.Read(make([]byte, 1))
				c.Close()
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// TestScanOrder asks open and closed ports in random order and has the results in the order asked for.
func TestScanOrder(t *testing.T) {
	open := map[netip.AddrPort]bool{}
	var targets []probeTarget
	for range 20 {
		a := listenTCP(t, "")
		open[a] = true
		targets = append(targets, probeTarget{"localhost", a})
	}
	for port := range uint16(1000) {
		if a := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port+1); !open[a] {
			targets = append(targets, probeTarget{"localhost", a})
		}
	}
	slices.SortFunc(targets, func(a, b probeTarget) int { return a.addr.Compare(b.addr) })
	for _, o := range []scanOptions{{}, {shuffle: true}, {parallel: 1}, {shuffle: true, parallel: 3}} {
		i := 0
		err := scanTCP(t.Context(), targets, o, func(r scanResult) {
			if r.target != targets[i].addr || r.host != "localhost" {
				t.Fatalf("result %d is of %v", i, r.target)
			}
			if open[r.target] && (r.state != scanOpen || r.err != nil || r.rtt <= 0) {
				t.Errorf("%v: %s %v %v", r.target, r.state, r.rtt, r.err)
			}
			if r.state != scanOpen && r.state != scanClosed || r.state == scanClosed && r.err == nil {
				t.Errorf("%v: %s %v", r.target, r.state, r.err)
			}
			i++
		})
		if err != nil || i != len(targets) {
			t.Errorf("%d of %d results, %v", i, len(targets), err)
		}
	}
}

// TestScanBanner reads what an open port says, for a bounded time and length.
func TestScanBanner(t *testing.T) {
	targets := []probeTarget{{"", listenTCP(t, "220 cats\x1b[2J\r\n")}, {"", listenTCP(t, "")}, {"", listenTCP(t, strings.Repeat("x", 5000))}}
	var got []scanResult
	start := time.Now()
	if err := scanTCP(t.Context(), targets, scanOptions{banner: true, bannerWait: 3 * time.Second}, func(r scanResult) { got = append(got, r) }); err != nil {
		t.Fatal(err)
	}
	if testkit.Since(start) > 10*time.Second || len(got) != 3 {
		t.Fatal(time.Since(start), len(got))
	}
	if string(got[0].banner) != "220 cats\x1b[2J\r\n" || len(got[1].banner) != 0 || len(got[2].banner) != scanBannerMost {
		t.Errorf("banners %q %q %d", got[0].banner, got[1].banner, len(got[2].banner))
	}
	var out bytes.Buffer
	if err := writeScanJSON(&out, &got[0]); err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(out.Bytes(), &o); err != nil || o["state"] != "open" || o["banner"] != `220 cats\x1b[2J\r\n` || o["v"] != 1.0 || o["host"] != "127.0.0.1" {
		t.Errorf("%s %v", out.String(), err)
	}
}

// TestScanSelf connects a port to itself, which scanning ephemeral ports of this machine does by chance, and sees a closed
// port. It must not stay in TIME_WAIT either.
func TestScanSelf(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	scanTCP(t.Context(), []probeTarget{{"", a}}, scanOptions{source: a}, func(r scanResult) {
		if r.state != scanClosed || r.err != errScanSelf {
			t.Errorf("%s %v", r.state, r.err)
		}
	})
	if l, err = net.Listen("tcp", a.String()); err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestScanCancelled returns at once and leaves nothing behind.
func TestScanCancelled(t *testing.T) {
	quiet := listenTCP(t, "")
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := scanTCP(ctx, []probeTarget{{"", quiet}}, scanOptions{banner: true, bannerWait: time.Minute}, func(r scanResult) { t.Error("reported", r) })
	if err != context.DeadlineExceeded || time.Since(start) > 5*time.Second {
		t.Error(err, time.Since(start))
	}
}

func TestInOrder(t *testing.T) {
	var got []int
	o := inOrder[int]{each: func(i int) { got = append(got, i) }}
	for _, i := range []int{3, 1, 200, 0, 2} {
		o.put(i, i)
	}
	if !slices.Equal(got, []int{0, 1, 2, 3}) {
		t.Error(got)
	}
	for i := 4; i < 1000; i++ {
		if i != 200 {
			o.put(i, i)
		}
	}
	if len(got) != 1000 || !slices.IsSorted(got) {
		t.Error(len(got))
	}
}

// BenchmarkScanLoopback is a scan of all ports of loopback.
func BenchmarkScanLoopback(b *testing.B) {
	var targets []probeTarget
	for port := 1; port <= 65535; port++ {
		targets = append(targets, probeTarget{"127.0.0.1", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))})
	}
	for b.Loop() {
		if err := scanTCP(b.Context(), targets, scanOptions{}, func(scanResult) {}); err != nil {
			b.Fatal(err)
		}
	}
}
