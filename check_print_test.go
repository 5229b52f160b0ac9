package main

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"purr/internal/scan"
	"purr/internal/sweep"
)

// udpResult returns a result of 10.0.2.2:53.
func udpResult(state scan.State, u scan.Probe) *scan.Result {
	target := scan.Target{Host: "gw.example", Addr: netip.MustParseAddrPort("10.0.2.2:53")}
	if u.From == (netip.AddrPort{}) {
		u.From = target.Addr
	}
	return &scan.Result{Target: target, State: state, RTT: 460 * time.Microsecond, UDP: &u}
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
		checker := &checker{dialer: &dialer{netOptions: &netOptions{udp: true}}, opts: checkConfig{any: c.any}}
		var v verdict
		for _, r := range c.results {
			q := &sweep.Query{Err: errors.New("not resolved")}
			if r != nil {
				q.Results, q.Err = []*scan.Result{r}, nil
			}
			v.add(q)
		}
		got, err := 0, checker.verdict(v)
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

// TestSilentReason suggests the option that makes a silent service answer.
func TestSilentReason(t *testing.T) {
	t.Parallel()
	for want, u := range map[string]scan.Probe{
		"": {}, "by design": {Silent: "by design"}, "secretive: give it with --secret-file": {Silent: "secretive", NeedsSecret: true},
	} {
		if got := silentReason(&u); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestPingStatus(t *testing.T) {
	t.Parallel()
	for want, s := range map[exitStatus]scan.PingStats{
		statusRefused: {Sent: 4, Rejected: 3, Verdict: scan.Filtered}, statusFailed: {Sent: 4, Verdict: scan.Closed},
		statusUnknown: {Sent: 4, Late: 1}, statusOK: {Sent: 8, Answered: 7},
	} {
		if got := pingStatus(&s); got != want {
			t.Errorf("%+v: status %d, want %d", s, got, want)
		}
	}
}
