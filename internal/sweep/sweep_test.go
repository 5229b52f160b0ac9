package sweep

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"purr/internal/scan"
)

// Several addresses of a host are asked until one is open, and the queries come
// in the order of hosts and ports. A host without addresses has its error.
func TestRunOrder(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	open := ln.Addr().(*net.TCPAddr).Port
	closed := closedPort(t)
	unknown := errors.New("unknown")
	local := netip.MustParseAddr("127.0.0.1")
	o := Options{TCP: scan.TCPOptions{Timeout: 20 * time.Second, Shuffle: true}, Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "none" {
			return nil, unknown
		}
		return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1"), local, local}, nil
	}}
	var got []*Query
	if _, err := Run(t.Context(), slices.Values([]string{"a", "none", "b"}), []int{open, closed}, o, func(q *Query) { got = append(got, q) }); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		host    string
		port    int
		results int
		state   scan.State
		err     error
	}{
		{"a", open, 1, scan.Open, nil}, {"a", closed, 3, scan.Closed, nil},
		{"none", open, 0, "", unknown}, {"none", closed, 0, "", unknown},
		{"b", open, 1, scan.Open, nil}, {"b", closed, 3, scan.Closed, nil},
	} {
		if i >= len(got) {
			t.Fatalf("%d queries", len(got))
		}
		q, state := got[i], scan.State("")
		if best := q.Best(); best != nil {
			state = best.State
		}
		if q.Host != want.host || q.Port != want.port || len(q.Results) != want.results || state != want.state || !errors.Is(q.Err, want.err) {
			t.Errorf("query %d: %+v (%s), want %+v", i, q, state, want)
		}
	}
	if len(got) != 6 {
		t.Errorf("%d queries", len(got))
	}
}

// closedPort returns a port of loopback on which nothing listens.
func closedPort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// Many hosts are taken from the list block by block, and the results of a block
// are passed on before the next is taken.
func TestRunInBlocks(t *testing.T) {
	t.Parallel()
	port := closedPort(t)
	var hosts Hosts
	for _, text := range []string{"127.0.0.0/19", "127.0.64.1-9"} {
		if err := hosts.Add(text); err != nil {
			t.Fatal(err)
		}
	}
	taken, passed := 0, 0
	due := netip.MustParseAddr("127.0.0.0")
	list := func(yield func(string) bool) {
		for host := range hosts.All() {
			if taken++; taken-passed > blockSize {
				t.Errorf("%d hosts taken, %d passed", taken, passed)
				return
			}
			if !yield(host) {
				return
			}
		}
	}
	o := Options{TCP: scan.TCPOptions{Parallel: 512}, Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		addr, err := netip.ParseAddr(host)
		return []netip.Addr{addr}, err
	}}
	_, err := Run(t.Context(), list, []int{port}, o, func(q *Query) {
		if q.Host != due.String() {
			t.Errorf("%s, and not %v", q.Host, due)
		}
		if due = due.Next(); due == netip.MustParseAddr("127.0.32.0") {
			due = netip.MustParseAddr("127.0.64.1")
		}
		passed++
	})
	if err != nil || passed != hosts.Len() || taken != passed || passed <= blockSize {
		t.Errorf("%d hosts, %d taken, %d passed: %v", hosts.Len(), taken, passed, err)
	}
}

// A run that is cancelled ends with the cause, and a limit shortens the time
// for a port.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	stop(cause)
	_, err := Run(ctx, slices.Values([]string{"127.0.0.1"}), []int{1}, Options{}, func(q *Query) { t.Errorf("%+v", q) })
	if !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	s := sweep{Options: Options{Limit: time.Second}, begun: time.Now().Add(-800 * time.Millisecond)}
	if got := s.timeout(0, 3*time.Second); got < 100*time.Millisecond || got > 200*time.Millisecond {
		t.Errorf("%v", got)
	}
	if s.Limit = 0; s.timeout(0, 3*time.Second) != 3*time.Second || s.timeout(time.Second, 3*time.Second) != time.Second {
		t.Error("without a limit the timeout is another")
	}
}

// The ports of one host make blocks of about the same size over UDP, and one
// over TCP.
func TestPortsAtOnce(t *testing.T) {
	t.Parallel()
	for ports, want := range map[int]int{1: 1, blockSize: blockSize, blockSize + 1: blockSize/2 + 1, 65535: 8192} {
		s := &sweep{Options: Options{UDP: new(scan.UDPOptions)}}
		if got := s.portsAtOnce(ports); got != want {
			t.Errorf("%d ports over UDP: %d at once, want %d", ports, got, want)
		}
		if s.UDP = nil; s.portsAtOnce(ports) != ports {
			t.Errorf("%d ports over TCP: %d at once", ports, s.portsAtOnce(ports))
		}
	}
}

// The result that stands for a port is the open one, or the most telling.
func TestBest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ states, want string }{
		{"closed", "closed"}, {"closed open filtered", "open"}, {"no-answer closed", "no-answer"},
		{"filtered no-answer", "filtered"}, {"local-error closed", "closed"}, {"unexpected filtered", "unexpected"}, {"unexpected open", "open"},
	} {
		q := new(Query)
		for state := range strings.FieldsSeq(c.states) {
			r := &scan.Result{State: scan.State(state), UDP: &scan.Probe{Payload: state}}
			if state == "unexpected" {
				r.State, r.UDP.Unexpected = scan.Open, true
			}
			q.Results = append(q.Results, r)
		}
		if got := q.Best().UDP.Payload; got != c.want {
			t.Errorf("%s: %s, want %s", c.states, got, c.want)
		}
	}
	if new(Query).Best() != nil {
		t.Error("a result of none")
	}
}

// A host without an address has a result and a failure: those of its lookup.
func TestUnresolved(t *testing.T) {
	t.Parallel()
	q := &Query{Host: "missing", Port: 80, Err: errors.New("no such host")}
	for _, udp := range []bool{false, true} {
		r := q.Result(udp)
		if r.State != scan.LocalError || r.Err != q.Err || r.Host != "missing" || r.Addr.Port() != 80 || (r.UDP != nil) != udp {
			t.Errorf("%+v", r)
		}
	}
	if q.Failure() != q.Err {
		t.Error(q.Failure())
	}
	q.Results = []*scan.Result{{Target: scan.Target{Host: "missing", Addr: netip.MustParseAddrPort("127.0.0.1:80")}, State: scan.NoAnswer}}
	if q.Result(false) != q.Results[0] || !strings.HasPrefix(q.Failure().Error(), "connect to missing (127.0.0.1) port 80 (tcp) timed out") {
		t.Errorf("%v, %v", q.Result(false), q.Failure())
	}
}
