package scan

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// icmpCases are the results that A must report. Type -1: no ICMP.
var icmpCases = []struct {
	target string
	state  State
	kind   int
	code   int
	from   string
}{
	{"10.0.2.2:9999", Closed, 3, 3, "10.0.2.2"},
	{"10.0.9.1:53", Filtered, 3, 13, "10.0.1.254"},
	{"10.0.8.1:53", Filtered, 3, 1, "10.0.1.254"},
	{"10.0.2.77:53", Filtered, 3, 1, "10.0.1.254"},
	{"10.0.1.77:53", Filtered, 3, 1, "10.0.1.1"}, // our own kernel: no ARP answer
	{"10.0.7.1:53", NoAnswer, -1, 0, ""},
	{"10.0.6.1:53", Filtered, 11, 0, ""}, // from R or B, by the TTL
	{"127.0.0.1:9999", Closed, 3, 3, "127.0.0.1"},
	{"[fd00:2::2]:9999", Closed, 1, 4, "fd00:2::2"},
	{"[fd00:9::1]:53", Filtered, 1, 1, "fd00:1::ff"},
	{"[fd00:8::1]:53", Filtered, 1, 0, "fd00:1::ff"},
	{"[fd00:2::77]:53", Filtered, 1, 3, "fd00:1::ff"},
	{"[fd00:7::1]:53", NoAnswer, -1, 0, ""},
	{"[::1]:9999", Closed, 1, 4, "::1"},
}

// TestICMP scans through a router that refuses in all ways, as root and as the
// user nobody.
func TestICMP(t *testing.T) {
	t.Parallel()
	const variable = "PURR_TEST_NOBODY"
	if os.Getenv(variable) == "" {
		if !testkit.InNamespaces(t) {
			return
		}
		testkit.MustRunAll(t, testkit.Routers)
	}
	t.Run(fmt.Sprintf("uid=%d", os.Getuid()), func(t *testing.T) {
		for _, c := range icmpCases {
			t.Run(c.target, func(t *testing.T) {
				t.Parallel()
				checkICMP(t, c.target, c.state, c.kind, c.code, c.from)
			})
		}
	})
	if os.Getenv(variable) != "" {
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestICMP$", "-test.v", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "=== RUN") {
		testkit.Missing(t, "root, to become uid 65534: "+err.Error())
	}
	if err != nil {
		t.Errorf("as nobody: %v", err)
	}
	t.Logf("as nobody:\n%s", out)
	testkit.MustRun(t, "ip route del default via 10.0.1.254")
	r := askOne(t, netip.MustParseAddrPort("192.0.2.1:53"), UDPOptions{})
	if r.State != LocalError || !strings.Contains(fmt.Sprint(r.Err), "network is unreachable") {
		t.Errorf("without a route: %s %v", r.State, r.Err)
	}
}

func checkICMP(t *testing.T, target string, state State, kind, code int, from string) {
	var o UDPOptions
	if kind >= 0 { // some come after three seconds
		o.Wait = testkit.Patience
	}
	r := askOne(t, netip.MustParseAddrPort(target), o)
	if r.State != state {
		t.Fatalf("state %s (%v), want %s", r.State, r.Err, state)
	}
	if kind < 0 {
		if d := r.UDP; r.ICMP != nil || d.Sent != 3 || d.Waited < DefaultUDPWait {
			t.Errorf("icmp %v, sent %d, waited %v", r.ICMP, d.Sent, d.Waited)
		}
		return
	}
	if r.ICMP.Type != kind || r.ICMP.Code != code || from != "" && r.ICMP.From.String() != from {
		t.Errorf("%v, want %d/%d from %s", r.ICMP, kind, code, from)
	}
}

// TestICMPRateLimit asks closed ports of a host that limits its ICMP errors:
// some look silent, the limit is returned, and Thorough finds them out.
func TestICMPRateLimit(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, testkit.Routers)
	testkit.MustRun(t, "ip addr add 10.0.1.2/24 dev a0")
	var targets []Target
	for port := range uint16(10) {
		targets = append(targets, Target{"far", netip.AddrPortFrom(netip.MustParseAddr("10.0.2.2"), 20000+port)})
	}
	run := func(o UDPOptions) (closed int, limits []ICMPLimit) {
		next := 0
		limits = UDP(t.Context(), targets, o, func(r *Result) {
			if r.Target != targets[next] {
				t.Errorf("result %d is of %v", next, r.Addr)
			}
			next++
			if r.State == Closed {
				closed++
			}
		})
		if next != len(targets) {
			t.Errorf("%d results", next)
		}
		return closed, limits
	}
	start := time.Now()
	// The limit is for each address that errors are sent to.
	var thorough sync.WaitGroup
	thorough.Go(func() {
		closed, limits := run(UDPOptions{Thorough: true, Source: netip.MustParseAddrPort("10.0.1.2:0")})
		t.Logf("thorough: %d of %d closed in %v: %v", closed, len(targets), time.Since(start), limits)
		if closed < len(targets)-1 {
			t.Errorf("thorough found %d of %d", closed, len(targets))
		}
	})
	defer thorough.Wait()
	closed, limits := run(UDPOptions{})
	t.Logf("%d of %d closed in %v: %v", closed, len(targets), time.Since(start), limits)
	silent := len(targets) - closed
	if want := (ICMPLimit{"far", silent, time.Duration(silent) * icmpPace}); closed < 4 || silent == 0 || len(limits) != 1 || limits[0] != want {
		t.Errorf("%d closed, limits %v", closed, limits)
	}
}

// TestRangeInBlackhole gives up 60 silent UDP ports and 1,000 silent TCP ports
// in seconds.
func TestRangeInBlackhole(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, testkit.Routers)
	var targets []Target
	for port := range uint16(1000) {
		targets = append(targets, Target{"", netip.AddrPortFrom(netip.MustParseAddr("10.0.7.1"), 20000+port)})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	count := 0
	each := func(r *Result) {
		if r.State != NoAnswer || r.Target != targets[count] {
			t.Errorf("result %d: %v %s %v", count, r.Addr, r.State, r.Err)
		}
		count++
	}
	start := time.Now()
	UDP(ctx, targets[:60], UDPOptions{}, each)
	if took := testkit.Since(start); count != 60 || took > 10*time.Second {
		t.Errorf("%d results in %v", count, took)
	}
	start, count = time.Now(), 0
	if err := TCP(ctx, targets, TCPOptions{Timeout: 300 * time.Millisecond}, each); err != nil {
		t.Error(err)
	}
	t.Logf("%d filtered ports in %v", count, time.Since(start))
	scanFewDescriptors(ctx, t, targets)
	for target, want := range map[string]string{"10.0.9.1:80": "filtered icmp 3/13 administratively prohibited, from 10.0.1.254",
		"10.0.8.1:80":    "filtered icmp 3/1 host unreachable, from 10.0.1.254",
		"[fd00:9::1]:80": "filtered icmp6 1/1 administratively prohibited, from fd00:1::ff",
		"[fd00:8::1]:80": "filtered icmp6 1/0 no route, from fd00:1::ff",
		"10.0.2.2:81":    "closed <nil>",
		"[fd00:2::2]:81": "closed <nil>",
	} {
		TCP(ctx, []Target{{"", netip.MustParseAddrPort(target)}}, TCPOptions{}, func(r *Result) {
			if got := fmt.Sprint(r.State, " ", r.ICMP); got != want {
				t.Errorf("%s: %s (%v), want %s", target, got, r.Err, want)
			}
		})
	}
}

// scanFewDescriptors scans silent ports. Few descriptors only make it slower,
// and an engine that comes late waits for those that another one keeps to
// itself.
func scanFewDescriptors(ctx context.Context, t *testing.T, targets []Target) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 40
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	count := 0
	o := TCPOptions{Timeout: 200 * time.Millisecond}
	each := func(r *Result) {
		if count++; r.State != NoAnswer {
			t.Errorf("with few descriptors: %v %s %v", r.Addr, r.State, r.Err)
		}
	}
	if err := TCP(ctx, targets[:100], o, each); err != nil || count != 100 {
		t.Error(count, err)
	}
	count = 0
	scan := &tcpScan{o: o, targets: targets[:300], order: make([]int, 300), out: newOrdered(300, each)}
	for i := range scan.order {
		scan.order[i] = i
	}
	var next atomic.Int64
	var engines [2]*engine
	for i := range engines {
		var err error
		if engines[i], err = scan.newEngine(ctx, 200, &next); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 2)
	go func() { ended <- engines[0].run() }()
	taken := int64(0)
	testkit.Eventually(t, "the descriptors are taken", func() bool {
		last := taken
		taken = scan.inFlight.Load()
		return taken > 0 && taken == last
	})
	go func() { ended <- engines[1].run() }()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || count != 300 {
		t.Error(count, err)
	}
}
