package scan

import (
	"errors"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// udpResult returns a result of 10.0.2.2:53.
func udpResult(state State, u Probe) *Result {
	target := Target{Host: "gw.example", Addr: netip.MustParseAddrPort("10.0.2.2:53")}
	if u.From == (netip.AddrPort{}) {
		u.From = target.Addr
	}
	return &Result{Target: target, State: state, RTT: 460 * time.Microsecond, UDP: &u}
}

// with returns the result with an ICMP error and a local error.
func with(r *Result, icmp *ICMP, err error) *Result {
	r.ICMP, r.Err = icmp, err
	return r
}

var prohibited = &ICMP{Type: 3, Code: 13, From: netip.MustParseAddr("10.0.1.254")}

func TestUDPLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r    *Result
		want string
	}{
		{udpResult(Open, Probe{Payload: "dns", Fact: "REFUSED"}), "open       0.46 ms  dns    REFUSED"},
		{udpResult(Open, Probe{Payload: "text", Fact: "1 bytes", Unexpected: true}), "open       0.46 ms  text   1 bytes, not as expected"},
		{udpResult(Open, Probe{Payload: "tftp", Fact: "data", From: netip.MustParseAddrPort("10.0.2.2:1000")}), "open       0.46 ms  tftp   data, from port 1000"},
		{udpResult(Open, Probe{Payload: "ssdp", From: netip.MustParseAddrPort("10.0.2.9:53")}), "open       0.46 ms  ssdp   from 10.0.2.9"},
		{udpResult(Closed, Probe{Payload: "dns"}), "closed     0.46 ms  closed (no detail)"},
		{with(udpResult(Filtered, Probe{}), prohibited, nil), "filtered   0.46 ms  icmp 3/13 administratively prohibited, from 10.0.1.254"},
		{udpResult(NoAnswer, Probe{Payload: "dns", Sent: 3, Waited: 4 * time.Second}), "no-answer  4.0 s    dns, 3 sent: open but silent, or dropped on the way"},
		{udpResult(NoAnswer, Probe{Payload: "radius", Sent: 3, Silent: "secretive"}), "no-answer  0.0 s    radius, 3 sent: secretive"},
		{with(udpResult(LocalError, Probe{}), nil, errors.New("no\x1b[2J")), `local-error -        no\x1b[2J`},
	} {
		var out strings.Builder
		if err := WriteUDPText(&out, c.r, c.r.UDP.Silent); err != nil || out.String() != "10.0.2.2:53/udp   "+c.want+"\n" {
			t.Errorf("%q (%v), want %q", out.String(), err, c.want)
		}
	}
}

func TestScanJSON(t *testing.T) {
	t.Parallel()
	tcp := func(state State, reply string) *Result {
		target := Target{Addr: netip.MustParseAddrPort("127.0.0.1:80")}
		return &Result{Target: target, State: state, RTT: time.Millisecond, Reply: []byte(reply)}
	}
	answer := udpResult(Open, Probe{Payload: "dns", Sent: 1, Fact: "REFUSED", Unexpected: true, KernelRTT: true})
	answer.Reply = []byte{1, 2}
	for _, c := range []struct {
		r      *Result
		expect bool
		want   string
	}{
		{tcp(Open, "220 cats\x1b[2J\r\n"), false, `{"v":1,"host":"127.0.0.1","port":80,"protocol":"tcp","state":"open","rtt_us":1000,"banner":"220 cats\\x1b[2J\\r\\n"}`},
		{with(tcp(Filtered, ""), prohibited, errors.New("no way")), false,
			`{"v":1,"host":"127.0.0.1","port":80,"protocol":"tcp","state":"filtered","rtt_us":null,"icmp":{"type":3,"code":13,"from":"10.0.1.254"},"error":"no way"}`},
		{with(udpResult(Closed, Probe{Payload: "echo", Sent: 1, KernelRTT: true}), prohibited, nil), false,
			`{"v":1,"host":"gw.example","address":"10.0.2.2","port":53,"protocol":"udp","state":"closed","payload":"echo","sent":1,"rtt_us":460,` +
				`"clock":"kernel","icmp":{"type":3,"code":13,"from":"10.0.1.254"},"reply":null}`},
		{answer, true, `{"v":1,"host":"gw.example","address":"10.0.2.2","port":53,"protocol":"udp","state":"open","payload":"dns","sent":1,"rtt_us":460,"clock":"kernel",` +
			`"icmp":null,"reply":{"bytes":2,"from":"10.0.2.2:53","fact":"REFUSED","hex":"0102"},"expected":false}`},
		{udpResult(NoAnswer, Probe{Payload: "wireguard", Sent: 3, Silent: "by design"}), false,
			`{"v":1,"host":"gw.example","address":"10.0.2.2","port":53,"protocol":"udp","state":"no-answer","payload":"wireguard","sent":3,"rtt_us":null,"icmp":null,"reply":null,"note":"by design"}`},
	} {
		var out strings.Builder
		write := func() error { return WriteTCPJSON(&out, c.r) }
		if c.r.UDP != nil {
			write = func() error { return WriteUDPJSON(&out, c.r, c.r.UDP.Silent, c.expect) }
		}
		if err := write(); err != nil || out.String() != c.want+"\n" {
			t.Errorf("%v\n got %swant %s", err, out.String(), c.want)
		}
	}
}

func TestPingJSON(t *testing.T) {
	t.Parallel()
	const head = `{"v":1,"host":"gw.example","address":"10.0.2.2","port":53,"protocol":"udp","event":`
	var out strings.Builder
	p := PingWriter{W: &out, Target: udpResult(Open, Probe{}).Target, JSON: true}
	for _, c := range []struct {
		e    PingEvent
		want string
	}{
		{PingEvent{Kind: PingAnswer, Seq: 3, RTT: 420 * time.Microsecond, KernelRTT: true, Fact: "same \"bytes\""},
			`"answer","seq":3,"rtt_us":420,"clock":"kernel","fact":"same \"bytes\""}`},
		{PingEvent{Kind: PingAnswer, Seq: 3, RTT: 3070 * time.Millisecond, Reordered: true}, `"answer","seq":3,"rtt_us":3070000,"clock":"user","reordered":true}`},
		{PingEvent{Kind: PingLate, Seq: 1, RTT: time.Second}, `"late","seq":1,"rtt_us":1000000,"clock":"user"}`},
		{PingEvent{Kind: PingRejected, Seq: 1, State: Closed, RTT: time.Millisecond}, `"rejected","seq":1,"rtt_us":1000,"clock":"user","state":"closed"}`},
		{PingEvent{Kind: PingRejected, Seq: 1, State: Filtered, ICMP: prohibited},
			`"rejected","seq":1,"rtt_us":0,"clock":"user","state":"filtered","icmp":{"type":3,"code":13,"from":"10.0.1.254"}}`},
	} {
		out.Reset()
		if err := p.Event(&c.e); err != nil || out.String() != head+c.want+"\n" {
			t.Errorf("%v\n got %swant %s%s", err, out.String(), head, c.want)
		}
	}

	answered := &PingStats{Payload: "echo", Sent: 4, Duplicate: 1, Late: 1, Reordered: 1, UserClock: true, counted: true, countHighest: 3, countSeq: 4}
	answered.add(time.Millisecond)
	answered.add(3 * time.Millisecond)
	for _, c := range []struct {
		s    *PingStats
		want string
	}{
		{answered, `"summary","payload":"echo","sent":4,"answered":2,"lost":2,"duplicate":1,"late":1,"reordered":1,"rejected":0,` +
			`"rtt_us":{"min":1000,"mean":2000,"p50":1000,"p95":3000,"max":3000,"sdev":1000,"jitter":125},"clock":"user",` +
			`"directions":{"first":4,"lost_there":1,"lost_back":0}}`},
		{&PingStats{Payload: "dns", Sent: 1, Rejected: 1, Verdict: Closed}, `"summary","payload":"dns","sent":1,"answered":0,"lost":1,"duplicate":0,` +
			`"late":0,"reordered":0,"rejected":1,"rtt_us":null}`},
		{&PingStats{Payload: "dns", Err: errors.New("no route")}, `"summary","payload":"dns","sent":0,"answered":0,"lost":0,"duplicate":0,` +
			`"late":0,"reordered":0,"rejected":0,"rtt_us":null,"error":"no route"}`},
	} {
		out.Reset()
		if err := p.Stats(c.s); err != nil || out.String() != head+c.want+"\n" {
			t.Errorf("%v\n got %swant %s%s", err, out.String(), head, c.want)
		}
	}
}

// The manual describes every member.
func TestManualHasJSON(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../purr.1")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(manual), "\n.Ss JSON\n")
	text, _, found := strings.Cut(text, "\n.Sh ")
	if !found {
		t.Fatal("the manual has no subsection JSON")
	}
	described := make(map[string]bool)
	for line := range strings.Lines(text) {
		if words := strings.Fields(strings.TrimPrefix(line, ".It ")); len(words) > 1 && strings.HasSuffix(words[0], "Cm") {
			for _, word := range words[1:] {
				described[word] = true
			}
		}
	}
	var check func(t reflect.Type)
	check = func(object reflect.Type) {
		for object.Kind() == reflect.Pointer {
			object = object.Elem()
		}
		if object.Kind() != reflect.Struct || object.PkgPath() != reflect.TypeFor[portJSON]().PkgPath() {
			return
		}
		for i := range object.NumField() {
			field := object.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !field.Anonymous && !described[name] {
				t.Errorf("%v: the manual does not describe %q", object, name)
			}
			check(field.Type)
		}
	}
	for _, object := range []any{tcpJSON{}, udpJSON{}, pingJSON{}, pingSumsJSON{}} {
		check(reflect.TypeOf(object))
	}
}

func TestPingLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		e    PingEvent
		want string
	}{
		{PingEvent{Kind: PingAnswer, Seq: 3, RTT: 420 * time.Microsecond, Fact: "same bytes"}, "seq=3 0.42 ms same bytes"},
		{PingEvent{Kind: PingAnswer, Seq: 3, RTT: 3070 * time.Millisecond, Reordered: true}, "seq=3 3.07 s reordered"},
		{PingEvent{Kind: PingLate, Seq: 1}, "seq=1 0.00 ms late"},
		{PingEvent{Kind: PingRejected, Seq: 1, State: Closed}, "seq=1 0.00 ms closed (no detail)"},
		{PingEvent{Kind: PingRejected, Seq: 1, State: Filtered, ICMP: prohibited}, "seq=1 0.00 ms filtered icmp 3/13 administratively prohibited, from 10.0.1.254"},
	} {
		var out strings.Builder
		if err := WritePingText(&out, &c.e); err != nil || out.String() != c.want+"\n" {
			t.Errorf("%q (%v), want %q", out.String(), err, c.want)
		}
	}
	for _, c := range []struct {
		s    PingStats
		want string
	}{
		{PingStats{Sent: 4, Rejected: 3, Verdict: Filtered}, "4 sent, 0 answered, 100 % lost, 0 duplicate, 0 late, 0 reordered, 3 rejected"},
		{PingStats{Sent: 4, Verdict: Closed}, "4 sent, 0 answered, 100 % lost, 0 duplicate, 0 late, 0 reordered"},
		{PingStats{Sent: 4, Late: 1}, "4 sent, 0 answered, 100 % lost, 0 duplicate, 1 late, 0 reordered"},
		{PingStats{Sent: 8, Answered: 7, Min: time.Millisecond, Max: 2 * time.Millisecond, Jitter: time.Millisecond, UserClock: true},
			"8 sent, 7 answered, 12.5 % lost, 0 duplicate, 0 late, 0 reordered; rtt min/avg/p50/p95/max/sdev 1.00/0.00/0.00/0.00/2.00/0.00 ms; jitter 1.00 ms (RFC 3550 6.4.1); clock=user"},
	} {
		var out strings.Builder
		if err := WritePingStatsText(&out, &c.s); err != nil || out.String() != c.want+"\n" {
			t.Errorf("%q (%v), want %q", out.String(), err, c.want)
		}
	}
}

// The failures are those of nc over TCP, and name the ICMP error.
func TestFailure(t *testing.T) {
	t.Parallel()
	tcp := func(host string, state State, icmp *ICMP, err error) *Result {
		return with(&Result{Target: Target{Host: host, Addr: netip.MustParseAddrPort("10.0.2.2:80")}, State: state}, icmp, err)
	}
	refused := &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}
	for want, r := range map[string]*Result{
		"connect to gw.example (10.0.2.2) port 80 (tcp) timed out: Operation now in progress":                                   tcp("gw.example", NoAnswer, nil, errors.New("late")),
		"connect to 10.0.2.2 port 80 (tcp) failed: Connection refused":                                                          tcp("10.0.2.2", Closed, nil, refused),
		"connect to 10.0.2.2 port 80 (tcp) failed: Connection refused (icmp 3/13 administratively prohibited, from 10.0.1.254)": tcp("10.0.2.2", Filtered, prohibited, refused),
		"gw.example (10.0.2.2) port 53 (udp): local-error: out of luck":                                                         with(udpResult(LocalError, Probe{}), nil, errors.New("out of luck")),
		"gw.example (10.0.2.2) port 53 (udp): filtered: icmp 3/13 administratively prohibited, from 10.0.1.254":                 with(udpResult(Filtered, Probe{}), prohibited, nil),
		"gw.example (10.0.2.2) port 53 (udp): open, but the answer is not as --expect":                                          udpResult(Open, Probe{Unexpected: true}),
		"gw.example (10.0.2.2) port 53 (udp): no-answer":                                                                        udpResult(NoAnswer, Probe{}),
	} {
		if got := r.Failure().Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A Writer without options writes the lines of UDP and nothing over TCP; a host
// without an address has only an object.
func TestWriter(t *testing.T) {
	t.Parallel()
	open := &Result{Target: Target{Host: "gw.example", Addr: netip.MustParseAddrPort("10.0.2.2:25")}, State: Open, Reply: []byte("220 hi\x1b\r\n")}
	lost := &Result{Target: Target{Host: "missing", Addr: netip.AddrPortFrom(netip.Addr{}, 53)}, State: LocalError, Err: errors.New("no such host"), UDP: &Probe{}}
	silent := udpResult(NoAnswer, Probe{Payload: "radius", Sent: 3, Silent: "secretive"})
	note := func(u *Probe) string { return u.Silent + ", so give a secret" }
	for _, c := range []struct {
		w    Writer
		r    *Result
		want string
	}{
		{Writer{}, open, ""},
		{Writer{Banner: true}, open, `gw.example 25: 220 hi\x1b\r\n` + "\n"},
		{Writer{Banner: true}, &Result{Target: open.Target, State: Closed, Err: syscall.ECONNREFUSED}, ""},
		{Writer{}, lost, ""},
		{Writer{}, silent, "10.0.2.2:53/udp   no-answer  0.0 s    radius, 3 sent: open but silent, or dropped on the way\n"},
		{Writer{Note: note}, silent, "10.0.2.2:53/udp   no-answer  0.0 s    radius, 3 sent: secretive, so give a secret\n"},
		{Writer{JSON: true}, open, `{"v":1,"host":"gw.example","address":"10.0.2.2","port":25,"protocol":"tcp","state":"open","rtt_us":0,"banner":"220 hi\\x1b\\r\\n"}` + "\n"},
		{Writer{JSON: true, Note: note}, silent, `{"v":1,"host":"gw.example","address":"10.0.2.2","port":53,"protocol":"udp","state":"no-answer","payload":"radius","sent":3,"rtt_us":null,` +
			`"icmp":null,"reply":null,"note":"secretive, so give a secret"}` + "\n"},
	} {
		var out strings.Builder
		c.w.W = &out
		if err := c.w.Write(c.r); err != nil || out.String() != c.want {
			t.Errorf("%q (%v), want %q", out.String(), err, c.want)
		}
	}
}
