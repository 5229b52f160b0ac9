package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"purr/internal/payload"
	"purr/internal/scan"
)

// udpResult returns a result of 10.0.2.2:53.
func udpResult(state scan.State, u scan.Probe) *scan.Result {
	target := scan.Target{Host: "gw.example", Addr: netip.MustParseAddrPort("10.0.2.2:53")}
	if u.From == (netip.AddrPort{}) {
		u.From = target.Addr
	}
	return &scan.Result{Target: target, State: state, RTT: 460 * time.Microsecond, UDP: &u}
}

// with returns the result with an ICMP error and a local error.
func with(r *scan.Result, icmp *scan.ICMP, err error) *scan.Result {
	r.ICMP, r.Err = icmp, err
	return r
}

var prohibited = &scan.ICMP{Type: 3, Code: 13, From: netip.MustParseAddr("10.0.1.254")}

func TestUDPLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r    *scan.Result
		want string
	}{
		{udpResult(scan.Open, scan.Probe{Payload: "dns", Fact: "REFUSED"}), "open       0.46 ms  dns    REFUSED"},
		{udpResult(scan.Open, scan.Probe{Payload: "text", Fact: "1 bytes", Unexpected: true}), "open       0.46 ms  text   1 bytes, not as expected"},
		{udpResult(scan.Open, scan.Probe{Payload: "tftp", Fact: "data", From: netip.MustParseAddrPort("10.0.2.2:1000")}), "open       0.46 ms  tftp   data, from port 1000"},
		{udpResult(scan.Open, scan.Probe{Payload: "ssdp", From: netip.MustParseAddrPort("10.0.2.9:53")}), "open       0.46 ms  ssdp   from 10.0.2.9"},
		{udpResult(scan.Closed, scan.Probe{Payload: "dns"}), "closed     0.46 ms  closed (no detail)"},
		{with(udpResult(scan.Filtered, scan.Probe{}), prohibited, nil), "filtered   0.46 ms  icmp 3/13 administratively prohibited, from 10.0.1.254"},
		{udpResult(scan.NoAnswer, scan.Probe{Payload: "dns", Sent: 3, Waited: 4 * time.Second}), "no-answer  4.0 s    dns, 3 sent: open but silent, or dropped on the way"},
		{udpResult(scan.NoAnswer, scan.Probe{Payload: "radius", Sent: 3, Silent: "secretive", NeedsSecret: true}),
			"no-answer  0.0 s    radius, 3 sent: secretive: give it with --secret-file"},
		{with(udpResult(scan.LocalError, scan.Probe{}), nil, errors.New("no\x1b[2J")), `local-error -        no\x1b[2J`},
	} {
		var out strings.Builder
		if err := writeUDP(&out, c.r); err != nil || out.String() != "10.0.2.2:53/udp   "+c.want+"\n" {
			t.Errorf("%q (%v), want %q", out.String(), err, c.want)
		}
	}
}

func TestScanJSON(t *testing.T) {
	t.Parallel()
	tcp := func(state scan.State, reply string) *scan.Result {
		target := scan.Target{Addr: netip.MustParseAddrPort("127.0.0.1:80")}
		return &scan.Result{Target: target, State: state, RTT: time.Millisecond, Reply: []byte(reply)}
	}
	answer := udpResult(scan.Open, scan.Probe{Payload: "dns", Sent: 1, Fact: "REFUSED", Unexpected: true, KernelRTT: true})
	answer.Reply = []byte{1, 2}
	for _, c := range []struct {
		r      *scan.Result
		expect bool
		want   string
	}{
		{tcp(scan.Open, "220 cats\x1b[2J\r\n"), false, `{"v":1,"host":"127.0.0.1","port":80,"state":"open","rtt_us":1000,"banner":"220 cats\\x1b[2J\\r\\n"}`},
		{with(tcp(scan.Filtered, ""), prohibited, errors.New("no way")), false,
			`{"v":1,"host":"127.0.0.1","port":80,"state":"filtered","rtt_us":null,"icmp":{"type":3,"code":13,"from":"10.0.1.254"},"error":"no way"}`},
		{with(udpResult(scan.Closed, scan.Probe{Payload: "echo", Sent: 1, KernelRTT: true}), prohibited, nil), false,
			`{"v":1,"host":"gw.example","address":"10.0.2.2","port":53,"state":"closed","payload":"echo","sent":1,"rtt_us":460,` +
				`"clock":"kernel","icmp":{"type":3,"code":13,"from":"10.0.1.254"},"reply":null}`},
		{answer, true, `{"v":1,"host":"gw.example","address":"10.0.2.2","port":53,"state":"open","payload":"dns","sent":1,"rtt_us":460,"clock":"kernel",` +
			`"icmp":null,"reply":{"bytes":2,"from":"10.0.2.2:53","fact":"REFUSED","hex":"0102"},"expected":false}`},
		{udpResult(scan.NoAnswer, scan.Probe{Payload: "wireguard", Sent: 3, Silent: "by design"}), false,
			`{"v":1,"host":"gw.example","address":"10.0.2.2","port":53,"state":"no-answer","payload":"wireguard","sent":3,"rtt_us":null,"icmp":null,"reply":null,"note":"by design"}`},
	} {
		var out strings.Builder
		write := func() error { return scan.WriteTCPJSON(&out, c.r) }
		if c.r.UDP != nil {
			write = func() error { return scan.WriteUDPJSON(&out, c.r, silentReason(c.r.UDP), c.expect) }
		}
		if err := write(); err != nil || out.String() != c.want+"\n" {
			t.Errorf("%v\n got %swant %s", err, out.String(), c.want)
		}
	}
}

func TestPingLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		e    scan.PingEvent
		want string
	}{
		{scan.PingEvent{Kind: scan.PingAnswer, Seq: 3, RTT: 420 * time.Microsecond, Fact: "same bytes"}, "seq=3 0.42 ms same bytes"},
		{scan.PingEvent{Kind: scan.PingAnswer, Seq: 3, RTT: 3070 * time.Millisecond, Reordered: true}, "seq=3 3.07 s reordered"},
		{scan.PingEvent{Kind: scan.PingLate, Seq: 1}, "seq=1 0.00 ms late"},
		{scan.PingEvent{Kind: scan.PingRejected, Seq: 1, State: scan.Closed}, "seq=1 0.00 ms closed (no detail)"},
		{scan.PingEvent{Kind: scan.PingRejected, Seq: 1, State: scan.Filtered, ICMP: prohibited}, "seq=1 0.00 ms filtered icmp 3/13 administratively prohibited, from 10.0.1.254"},
	} {
		var out strings.Builder
		if err := writePing(&out, &c.e); err != nil || out.String() != c.want+"\n" {
			t.Errorf("%q (%v), want %q", out.String(), err, c.want)
		}
	}
	for _, c := range []struct {
		s      scan.PingStats
		want   string
		status exitStatus
	}{
		{scan.PingStats{Sent: 4, Rejected: 3, Verdict: scan.Filtered}, "4 sent, 0 answered, 100 % lost, 0 duplicate, 0 late, 0 reordered, 3 rejected", 4},
		{scan.PingStats{Sent: 4, Verdict: scan.Closed}, "4 sent, 0 answered, 100 % lost, 0 duplicate, 0 late, 0 reordered", 1},
		{scan.PingStats{Sent: 4, Late: 1}, "4 sent, 0 answered, 100 % lost, 0 duplicate, 1 late, 0 reordered", 3},
		{scan.PingStats{Sent: 8, Answered: 7, Min: time.Millisecond, Max: 2 * time.Millisecond, Jitter: time.Millisecond, UserClock: true},
			"8 sent, 7 answered, 12.5 % lost, 0 duplicate, 0 late, 0 reordered; rtt min/avg/p50/p95/max/sdev 1.00/0.00/0.00/0.00/2.00/0.00 ms; jitter 1.00 ms (RFC 3550 6.4.1); clock=user", 0},
	} {
		var out strings.Builder
		if err := writePingStats(&out, &c.s); err != nil || out.String() != c.want+"\n" || pingStatus(&c.s) != c.status {
			t.Errorf("status %d, %q (%v), want %d, %q", pingStatus(&c.s), out.String(), err, c.status, c.want)
		}
	}
}

// TestVerdict has the status of several ports over UDP: the highest; with --any
// 0 if one is open.
func TestVerdict(t *testing.T) {
	t.Parallel()
	open, wrong := udpResult(scan.Open, scan.Probe{}), udpResult(scan.Open, scan.Probe{Unexpected: true})
	closed, filtered, silent := udpResult(scan.Closed, scan.Probe{}), udpResult(scan.Filtered, scan.Probe{}), udpResult(scan.NoAnswer, scan.Probe{})
	for _, c := range []struct {
		results []*scan.Result
		any     bool
		want    int
	}{
		{[]*scan.Result{nil}, false, 1},
		{[]*scan.Result{open, open}, false, 0}, {[]*scan.Result{open, closed}, false, 1}, {[]*scan.Result{open, closed}, true, 0},
		{[]*scan.Result{closed, silent, open}, false, 3}, {[]*scan.Result{filtered, silent}, true, 4}, {[]*scan.Result{wrong, open}, false, 5},
		{[]*scan.Result{wrong, open}, true, 0}, {[]*scan.Result{wrong}, true, 5},
	} {
		s := &portScan{checker: &checker{dialer: &dialer{netOptions: &netOptions{udp: true}}, opts: checkConfig{any: c.any}}, each: func(*query) {}}
		for _, r := range c.results {
			q := &query{err: errors.New("not resolved")}
			if r != nil {
				q.results, q.err = []*scan.Result{r}, nil
			}
			s.queries = append(s.queries, q)
			s.finish(q)
		}
		got, err := 0, s.verdict()
		if failed := (statusError{}); errors.As(err, &failed) {
			got = int(failed.status)
		} else if err != nil {
			got = -1
		}
		if got != c.want {
			t.Errorf("%v any=%v: %d (%v), want %d", c.results, c.any, got, err, c.want)
		}
	}
}

// TestPayloadList has a line for every payload.
func TestPayloadList(t *testing.T) {
	t.Parallel()
	list := payloadList()
	for _, p := range payload.All() {
		if !strings.Contains("\n"+list, fmt.Sprintf("\n%-10s ", p.Name)) {
			t.Errorf("no %s in\n%s", p.Name, list)
		}
	}
	if n := strings.Count(list, "\n"); n != len(payload.All()) {
		t.Errorf("%d lines", n)
	}
}
