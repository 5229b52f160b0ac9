//go:build linux

package main

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

// routers lays out A (this namespace) - R - B. R prohibits 10.0.9/24, knows no way to 10.0.8/24, swallows 10.0.7/24, and
// nobody is at 10.0.2.77. 10.0.6/24 goes round between R and B until its TTL is over.
// R limits no ICMP by its type (a rate of 0 would also use up what Linux allows for refusing routes: 1 a second).
// Nobody looks for duplicate addresses: a router asks for no neighbour until its own link-local address is settled, but
// counts as if it had, and on a busy machine it told us after three seconds that B was not there.
const routers = `
	sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
	ip netns add R
	ip netns add B
	ip netns exec R sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
	ip netns exec B sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
	ip link add a0 type veth peer name r0 netns R
	ip -n R link add r1 type veth peer name b0 netns B
	ip -n R link set lo up
	ip -n B link set lo up
	ip addr add 10.0.1.1/24 dev a0
	ip link set a0 up
	ip -n R addr add 10.0.1.254/24 dev r0
	ip -n R addr add 10.0.2.254/24 dev r1
	ip -n R link set r0 up
	ip -n R link set r1 up
	ip -n B addr add 10.0.2.2/24 dev b0
	ip -n B link set b0 up
	ip route add default via 10.0.1.254
	ip -n B route add default via 10.0.2.254
	ip netns exec R sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratelimit=0
	ip netns exec B sysctl -qw net.ipv4.ip_forward=1
	ip -n R route add prohibit 10.0.9.0/24
	ip -n R route add unreachable 10.0.8.0/24
	ip -n R route add blackhole 10.0.7.0/24
	ip -n R route add 10.0.6.0/24 via 10.0.2.2
	ip addr add fd00:1::1/64 dev a0 nodad
	ip -n R addr add fd00:1::ff/64 dev r0 nodad
	ip -n R addr add fd00:2::ff/64 dev r1 nodad
	ip -n B addr add fd00:2::2/64 dev b0 nodad
	ip route add default via fd00:1::ff
	ip -n B route add default via fd00:2::ff
	ip -n R route add prohibit fd00:9::/64
	ip -n R route add unreachable fd00:8::/64
	ip -n R route add blackhole fd00:7::/64`

// icmpCases are what A must find out. Type -1: no ICMP.
var icmpCases = []struct {
	target string
	state  probeState
	kind   int
	code   int
	from   string
}{
	{"10.0.2.2:9999", probeClosed, 3, 3, "10.0.2.2"},
	{"10.0.9.1:53", probeFiltered, 3, 13, "10.0.1.254"},
	{"10.0.8.1:53", probeFiltered, 3, 1, "10.0.1.254"},
	{"10.0.2.77:53", probeFiltered, 3, 1, "10.0.1.254"},
	{"10.0.1.77:53", probeFiltered, 3, 1, "10.0.1.1"}, // our own kernel: nobody answers ARP
	{"10.0.7.1:53", probeSilent, -1, 0, ""},
	{"10.0.6.1:53", probeFiltered, 11, 0, ""}, // from R or B, by the TTL
	{"127.0.0.1:9999", probeClosed, 3, 3, "127.0.0.1"},
	{"[fd00:2::2]:9999", probeClosed, 1, 4, "fd00:2::2"},
	{"[fd00:9::1]:53", probeFiltered, 1, 1, "fd00:1::ff"},
	{"[fd00:8::1]:53", probeFiltered, 1, 0, "fd00:1::ff"},
	{"[fd00:2::77]:53", probeFiltered, 1, 3, "fd00:1::ff"},
	{"[fd00:7::1]:53", probeSilent, -1, 0, ""},
	{"[::1]:9999", probeClosed, 1, 4, "::1"},
}

// TestICMP asks through a router that refuses in all ways, as root and as nobody.
func TestICMP(t *testing.T) {
	t.Parallel()
	const variable = "PURR_TEST_NOBODY"
	if os.Getenv(variable) == "" {
		if !testkit.InNamespaces(t) {
			return
		}
		testkit.MustRunAll(t, routers)
	}
	t.Run(fmt.Sprintf("uid=%d", os.Getuid()), func(t *testing.T) {
		for _, c := range icmpCases {
			{
				t.Run(c.target, func(t *testing.T) {
					t.Parallel()
					checkICMP(t, c.target, c.state, c.kind, c.code, c.from)
				})
			}
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
	r := probeUDP(t.Context(), "", netip.MustParseAddrPort("192.0.2.1:53"), &probeOptions{})
	if r.state != probeFailed || r.status() != 1 || !strings.Contains(fmt.Sprint(r.err), "network is unreachable") {
		t.Errorf("without a route: %s %v", r.state, r.err)
	}
}

func checkICMP(t *testing.T, target string, state probeState, kind, code int, from string) {
	o := &probeOptions{}
	if kind >= 0 { // some come after three seconds
		o.wait = testkit.Patience
	}
	r := probeUDP(t.Context(), "", netip.MustParseAddrPort(target), o)
	var line strings.Builder
	writeProbe(&line, &r)
	t.Log(strings.TrimSpace(line.String()))
	if r.state != state {
		t.Fatalf("state %s (%v), want %s", r.state, r.err, state)
	}
	if kind < 0 {
		if r.icmp != nil || r.sent != 3 || r.waited < probeWait {
			t.Errorf("icmp %v, sent %d, waited %v", r.icmp, r.sent, r.waited)
		}
		return
	}
	if r.icmp.Type != kind || r.icmp.Code != code || from != "" && r.icmp.From.String() != from {
		t.Errorf("%v, want %d/%d from %s", r.icmp, kind, code, from)
	}
}

// TestICMPRateLimit probes 30 closed ports of a host that limits its ICMP: some look silent, the note says so, and
// --thorough finds them out.
func TestICMPRateLimit(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, routers)
	var targets []probeTarget
	for port := range uint16(14) {
		targets = append(targets, probeTarget{"far", netip.AddrPortFrom(netip.MustParseAddr("10.0.2.2"), 20000+port)})
	}
	run := func(thorough bool) (closed int, notes []string) {
		next := 0
		notes = probeRange(t.Context(), targets, &probeRangeOptions{thorough: thorough}, func(r probeResult) {
			if r.target != targets[next].addr {
				t.Errorf("result %d is of %v", next, r.target)
			}
			next++
			if r.state == probeClosed {
				closed++
			}
		})
		if next != len(targets) {
			t.Errorf("%d results", next)
		}
		return closed, notes
	}
	start := time.Now()
	closed, notes := run(false)
	t.Logf("%d of %d closed in %v: %q", closed, len(targets), time.Since(start), notes)
	if closed < 4 || closed == len(targets) || len(notes) != 1 || !strings.Contains(notes[0], "--thorough takes about") {
		t.Errorf("%d closed, notes %q", closed, notes)
	}
	time.Sleep(6 * time.Second) // let the burst of the limit fill up again
	start = time.Now()
	closed, notes = run(true)
	t.Logf("thorough: %d of %d closed in %v: %q", closed, len(targets), time.Since(start), notes)
	if closed < len(targets)-1 {
		t.Errorf("thorough found %d of %d", closed, len(targets))
	}
}

// TestRangeInBlackhole gives up 200 silent ports in seconds.
func TestRangeInBlackhole(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	testkit.MustRunAll(t, routers)
	var targets []probeTarget
	for port := range uint16(100) {
		targets = append(targets, probeTarget{"", netip.AddrPortFrom(netip.MustParseAddr("10.0.7.1"), 20000+port)})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	start := time.Now()
	var results []probeResult
	probeRange(ctx, targets, &probeRangeOptions{}, func(r probeResult) { results = append(results, r) })
	if took := testkit.Since(start); len(results) != 100 || took > 10*time.Second || probeStatus(results, false) != 3 {
		t.Errorf("%d results in %v, status %d", len(results), took, probeStatus(results, false))
	}
	// A thousand filtered TCP ports take seconds as well.
	var tcp []probeTarget
	for port := range uint16(1000) {
		tcp = append(tcp, probeTarget{"", netip.AddrPortFrom(netip.MustParseAddr("10.0.7.1"), 20000+port)})
	}
	start = time.Now()
	count := 0
	var mu sync.Mutex
	if err := scanTCP(ctx, tcp, scanOptions{timeout: time.Second}, func(r scanResult) {
		mu.Lock()
		defer mu.Unlock()
		if r.state != scanTimeout || r.target != tcp[count].addr {
			t.Errorf("result %d: %v %s %v", count, r.target, r.state, r.err)
		}
		count++
	}); err != nil {
		t.Error(err)
	}
	t.Logf("%d filtered ports in %v", count, time.Since(start))
	scanFewDescriptors(ctx, t, tcp)
	for target, want := range map[string]string{"10.0.9.1:80": "filtered icmp 3/13 administratively prohibited, from 10.0.1.254",
		"10.0.8.1:80":    "filtered icmp 3/1 host unreachable, from 10.0.1.254",
		"[fd00:9::1]:80": "filtered icmp6 1/1 administratively prohibited, from fd00:1::ff",
		"[fd00:8::1]:80": "filtered icmp6 1/0 no route, from fd00:1::ff",
		"10.0.2.2:81":    "closed <nil>",
		"[fd00:2::2]:81": "closed <nil>",
	} {
		scanTCP(ctx, []probeTarget{{"", netip.MustParseAddrPort(target)}}, scanOptions{}, func(r scanResult) {
			if got := fmt.Sprint(r.state, " ", r.icmp); got != want {
				t.Errorf("%s: %s (%v), want %s", target, got, r.err, want)
			}
		})
	}
}

// scanFewDescriptors scans silent ports. Few descriptors only make it slower, and
// an engine that comes late waits for those that another one keeps to itself.
func scanFewDescriptors(ctx context.Context, t *testing.T, targets []probeTarget) {
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
	o := scanOptions{timeout: 200 * time.Millisecond}
	each := func(r scanResult) {
		if count++; r.state != scanTimeout {
			t.Errorf("with few descriptors: %v %s %v", r.target, r.state, r.err)
		}
	}
	if err := scanTCP(ctx, targets[:100], o, each); err != nil || count != 100 {
		t.Error(count, err)
	}
	count = 0
	scan := &scanRun{o: o, targets: targets[:300], order: make([]int, 300), out: inOrder[scanResult]{each: each}}
	for i := range scan.order {
		scan.order[i] = i
	}
	var next atomic.Int64
	var engines [2]*scanEngine
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
