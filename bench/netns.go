package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	farHost  = "10.213.0.2" // the end that listens
	nearHost = "10.213.0.1" // the end that dials
	wireHost = "10.213.1.2" // as farHost, on the slow line
	wireNear = "10.213.1.1"

	lineDelay = 50 * time.Millisecond
	lineLoss  = 0.01
)

// A link is two network namespaces joined by veth. All data goes from near to far.
type link struct {
	near, far string
	netem     error    // why tc netem is not to be had; nil if it is
	wire      *session // holds the relay that stands in for netem
}

// openLink makes the namespaces and joins them. The caller closes the link, also after an error.
func openLink(ctx context.Context, b *bench) (*link, error) {
	l := &link{
		near: fmt.Sprintf("purr-bench-%d-near", os.Getpid()),
		far:  fmt.Sprintf("purr-bench-%d-far", os.Getpid()),
	}
	for _, argv := range [][]string{
		{"ip", "netns", "add", l.near},
		{"ip", "netns", "add", l.far},
		{"ip", "link", "add", "v0", "netns", l.near, "type", "veth", "peer", "name", "v0", "netns", l.far},
		{"ip", "-n", l.near, "addr", "add", nearHost + "/24", "dev", "v0"},
		{"ip", "-n", l.far, "addr", "add", farHost + "/24", "dev", "v0"},
		{"ip", "-n", l.near, "link", "set", "v0", "up"},
		{"ip", "-n", l.far, "link", "set", "v0", "up"},
		{"ip", "-n", l.near, "link", "set", "lo", "up"},
		{"ip", "-n", l.far, "link", "set", "lo", "up"},
	} {
		if err := output(ctx, argv...); err != nil {
			return l, err
		}
	}
	return l, nil
}

// close removes what openLink made. It does its work although the run was interrupted.
func (l *link) close() {
	if l.wire != nil {
		l.wire.close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, name := range []string{l.near, l.far} {
		output(ctx, "ip", "netns", "del", name) // an error says that there was none
	}
}

// slow makes the line slow, and lossy if loss is not 0: with tc netem, or without it by a relay of our own between two
// TUN devices. It may be called again. It returns the address of the far end.
func (l *link) slow(ctx context.Context, b *bench, loss float64) (string, error) {
	l.netem = output(ctx, "ip", "netns", "exec", l.near, "tc", "qdisc", "replace", "dev", "v0", "root", "netem",
		"delay", fmt.Sprintf("%dms", lineDelay.Milliseconds()), "loss", fmt.Sprintf("%g%%", loss*100))
	if l.netem == nil {
		return farHost, nil
	}
	return wireHost, l.startWire(ctx, b, loss)
}

// startWire starts the relay, in place of the one that may run, and brings its devices up.
func (l *link) startWire(ctx context.Context, b *bench, loss float64) error {
	const longest = 24 * time.Hour
	if l.wire != nil {
		l.wire.close() // which removes its devices
	}
	var err error
	if l.wire, err = b.newSession(ctx, loopback, longest); err != nil {
		return err
	}
	n, err := l.wire.neutral(job{Role: "wire", Near: l.near, Far: l.far, For: lineDelay, Loss: loss}, nil, nil, "")
	if err != nil {
		return err
	}
	if _, err := n.next(ctx); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"ip", "-n", l.near, "addr", "add", wireNear + "/24", "dev", wireName},
		{"ip", "-n", l.far, "addr", "add", wireHost + "/24", "dev", wireName},
		{"ip", "-n", l.near, "link", "set", wireName, "up"},
		{"ip", "-n", l.far, "link", "set", wireName, "up"},
	} {
		if err := output(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

// runNetns measures the main rows between two network namespaces, again on a slow and lossy line, and pushed files on
// one that is only slow.
func (o *options) runNetns(ctx context.Context, b *bench, w io.Writer) ([]*result, error) {
	l, err := openLink(ctx, b)
	defer l.close()
	if err != nil {
		return nil, err
	}
	lane := lane{network: "tcp", host: farHost, dialer: l.near, server: l.far}
	fmt.Fprintf(w, "Between two network namespaces joined by veth:\n\n")
	results, err := o.runRows(ctx, b, b.lineRows("veth", lane))
	if err != nil {
		return results, err
	}
	if lane.host, err = l.slow(ctx, b, lineLoss); err != nil {
		return results, fmt.Errorf("a slow line: %w", err)
	}
	how := "tc netem"
	if l.netem != nil {
		fmt.Fprintf(w, "tc netem is not to be had here: %v\n", l.netem)
		how = "a relay of this program between two TUN devices"
	}
	fmt.Fprintf(w, "With %v of delay and %g %% loss, made by %s; TCP uses %s:\n\n", lineDelay, lineLoss*100, how,
		congestionControl())
	lossy, err := o.runRows(ctx, b, b.lineRows("lossy", lane))
	results = append(results, lossy...)
	if err != nil {
		return results, err
	}
	if lane.host, err = l.slow(ctx, b, 0); err != nil {
		return results, fmt.Errorf("a line with delay: %w", err)
	}
	fmt.Fprintf(w, "With %v of delay and no loss:\n\n", lineDelay)
	far, err := o.runRows(ctx, b, b.pushWireRows(lane))
	return append(results, far...), err
}

// lineRows are the rows measured between namespaces: purr shall not be slower than any peer.
func (b *bench) lineRows(suffix string, l lane) []row {
	share, check, note := 0.5, true, ", veth"
	if suffix == "lossy" {
		share, check, note = float64(b.pick(slowSize(), 256<<10))/float64(b.size), false, ", slow line"
	}
	rows := []row{
		{name: "file-" + suffix, work: "file on stdin -> TCP" + note, run: sendFrom("file")},
		{name: "pipe-" + suffix, work: "pipe -> TCP" + note, run: sendFrom("pipe")},
		{name: suffix + "-pipe", work: "TCP -> pipe" + note, run: receiveTo("pipe")},
		{name: "pipe-" + suffix + "-pipe", work: "pipe -> TCP -> pipe, both ends" + note, run: through},
	}
	for i := range rows {
		r := &rows[i]
		r.unit, r.goals, r.who = "GB/s", []goal{{limit: 1}}, b.contenders(purr, obsd, trad, ncat, socat)
		r.lane, r.share, r.check, r.times = l, share, check, 1
		if suffix == "lossy" {
			r.unit, r.run = "MB/s", inMB(r.run)
			r.goals = []goal{{limit: slowNoise}}
		}
	}
	return rows
}

// slowNoise is the ratio that passes for "not slower" on the slow line: it depends on which packets are lost, and the
// medians of one program differ by so much from run to run.
const slowNoise = 0.95

// slowSize is how much is moved over the slow line (bytes), a few seconds' worth. One loss in a hundred and a round trip
// of 50 ms hold a connection to 0.4 MB/s with cubic, but BBR does not take loss for a full line.
func slowSize() int {
	if congestionControl() == "bbr" {
		return 32 << 20
	}
	return 2 << 20
}

// congestionControl is the name of the algorithm that TCP uses here, or "?".
func congestionControl() string {
	name, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(name))
}

// inMB makes a row of GB/s one of MB/s. The CPU time is left out: in so few bytes it is the start of the program.
func inMB(do func(context.Context, run) (sample, error)) func(context.Context, run) (sample, error) {
	return func(ctx context.Context, r run) (sample, error) {
		s, err := do(ctx, r)
		return sample{value: 1e3 * s.value, note: s.note}, err
	}
}
