package scan

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"purr/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.AtOnce(16)
	go testkit.WatchHoldups()
	os.Exit(m.Run())
}

// listenTCP returns the address of a listener on loopback that sends greeting
// over every connection.
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

// TestTCPOrder scans open and closed ports, also in random order. The results
// must come in the order of the targets.
func TestTCPOrder(t *testing.T) {
	open := map[netip.AddrPort]bool{}
	var targets []Target
	for range 20 {
		a := listenTCP(t, "")
		open[a] = true
		targets = append(targets, Target{"localhost", a})
	}
	for port := range uint16(1000) {
		if a := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port+1); !open[a] {
			targets = append(targets, Target{"localhost", a})
		}
	}
	slices.SortFunc(targets, func(a, b Target) int { return a.Addr.Compare(b.Addr) })
	for _, o := range []TCPOptions{{}, {Shuffle: true}, {Parallel: 1}, {Shuffle: true, Parallel: 3}} {
		i := 0
		err := TCP(t.Context(), targets, o, func(r *Result) {
			if r.Target != targets[i] {
				t.Fatalf("result %d is of %v", i, r.Target)
			}
			if open[r.Addr] && (r.State != Open || r.Err != nil || r.RTT <= 0) {
				t.Errorf("%v: %s %v %v", r.Addr, r.State, r.RTT, r.Err)
			}
			if r.State != Open && r.State != Closed || r.State == Closed && r.Err == nil {
				t.Errorf("%v: %s %v", r.Addr, r.State, r.Err)
			}
			i++
		})
		if err != nil || i != len(targets) {
			t.Errorf("%d of %d results, %v", i, len(targets), err)
		}
	}
}

// TestTCPBanner reads the first bytes of open ports, for a bounded time and
// length.
func TestTCPBanner(t *testing.T) {
	banner := func(a netip.AddrPort, wait time.Duration) string {
		var got string
		o := TCPOptions{Banner: true, BannerWait: wait}
		err := TCP(t.Context(), []Target{{"", a}}, o, func(r *Result) {
			if got = string(r.Reply); r.State != Open {
				t.Errorf("%s %v", r.State, r.Err)
			}
		})
		if err != nil {
			t.Error(err)
		}
		return got
	}
	if got := banner(listenTCP(t, "220 cats\x1b[2J\r\n"), testkit.Patience); got != "220 cats\x1b[2J\r\n" {
		t.Errorf("banner %q", got)
	}
	if got := banner(listenTCP(t, strings.Repeat("x", 5000)), testkit.Patience); len(got) != MaxBanner {
		t.Errorf("banner of %d bytes", len(got))
	}
	start := time.Now()
	if got := banner(listenTCP(t, ""), 100*time.Millisecond); got != "" || testkit.Since(start) > 5*time.Second {
		t.Errorf("banner %q after %v", got, time.Since(start))
	}
}

// TestTCPSelf connects a port to itself, which happens by chance to a scan of
// this machine's ephemeral ports. The port is closed, and not in TIME_WAIT.
func TestTCPSelf(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	TCP(t.Context(), []Target{{"", a}}, TCPOptions{Source: a}, func(r *Result) {
		if r.State != Closed || r.Err != errSelfConnect {
			t.Errorf("%s %v", r.State, r.Err)
		}
	})
	if l, err = net.Listen("tcp", a.String()); err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestTCPForeignSource binds to an address of no interface. It must fail at
// once: no finished connection can give it back.
func TestTCPForeignSource(t *testing.T) {
	start := time.Now()
	target := Target{"", listenTCP(t, "")}
	err := TCP(t.Context(), []Target{target}, TCPOptions{Source: netip.MustParseAddrPort("203.0.113.9:0")}, func(r *Result) {
		if r.State != LocalError || r.Err == nil {
			t.Errorf("%s %v", r.State, r.Err)
		}
	})
	if took := testkit.Since(start); err != nil || took > 2*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

// TestTCPCancelled ends a scan that waits for a banner. It must return the
// cause at once, report nothing and leave no goroutine.
func TestTCPCancelled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancelCause(t.Context())
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			accepted <- c
		}
		cancel(os.ErrProcessDone)
	}()
	start := time.Now()
	target := Target{"", l.Addr().(*net.TCPAddr).AddrPort()}
	err = TCP(ctx, []Target{target}, TCPOptions{Banner: true, BannerWait: time.Minute}, func(r *Result) { t.Error("reported", r) })
	if err != os.ErrProcessDone || testkit.Since(start) > 5*time.Second {
		t.Error(err, time.Since(start))
	}
	(<-accepted).Close()
}

func TestOrdered(t *testing.T) {
	var got []time.Duration
	o := newOrdered(1000, func(r *Result) { got = append(got, r.RTT) })
	put := func(i int) { o.put(i, &Result{RTT: time.Duration(i)}) }
	for _, i := range []int{3, 1, 200, 0, 2} {
		put(i)
	}
	if !slices.Equal(got, []time.Duration{0, 1, 2, 3}) {
		t.Error(got)
	}
	for i := 4; i < 1000; i++ {
		if i != 200 {
			put(i)
		}
	}
	if len(got) != 1000 || !slices.IsSorted(got) {
		t.Error(len(got))
	}
}

// BenchmarkTCPLoopback scans all ports of loopback.
func BenchmarkTCPLoopback(b *testing.B) {
	var targets []Target
	for port := 1; port <= 65535; port++ {
		targets = append(targets, Target{"127.0.0.1", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))})
	}
	for b.Loop() {
		if err := TCP(b.Context(), targets, TCPOptions{}, func(*Result) {}); err != nil {
			b.Fatal(err)
		}
	}
}
