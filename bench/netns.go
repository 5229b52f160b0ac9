package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
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
	line      line     // joins the two
	netem     error    // why tc netem is not to be had; nil if it is
	wire      *session // holds the relay that stands in for netem
}

// A line is a pair of devices of the same name, and their addresses.
type line struct {
	device         string
	nearHost, host string // host is at the far end
}

var (
	veth     = line{device: "v0", nearHost: nearHost, host: farHost}
	slowLine = line{device: wireName, nearHost: wireNear, host: wireHost}
)

// openLink makes the namespaces and joins them. The caller closes the link, also after an error.
func openLink(ctx context.Context, b *bench) (*link, error) {
	l := &link{
		near: fmt.Sprintf("purr-bench-%d-near", os.Getpid()),
		far:  fmt.Sprintf("purr-bench-%d-far", os.Getpid()),
		line: veth,
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

// forth is the lane of programs that dial at the near end.
func (l *link) forth() lane {
	return lane{network: "tcp", host: l.line.host, dialer: l.near, server: l.far}
}

// back is the lane of programs that dial at the far end.
func (l *link) back() lane {
	return lane{network: "tcp", host: l.line.nearHost, dialer: l.far, server: l.near}
}

// slow makes the line slow, and lossy if loss is not 0: with tc netem, or without it by a relay of our own between two
// TUN devices. It may be called again.
func (l *link) slow(ctx context.Context, b *bench, loss float64) error {
	l.netem = output(ctx, "ip", "netns", "exec", l.near, "tc", "qdisc", "replace", "dev", "v0", "root", "netem",
		"delay", fmt.Sprintf("%dms", lineDelay.Milliseconds()), "loss", fmt.Sprintf("%g%%", loss*100))
	if l.netem == nil {
		return nil
	}
	l.line = slowLine
	return l.startWire(ctx, b, loss)
}

// congestion sets the congestion control of the connections over the line; ""
// is the default again. It is an attribute of the route at both ends: in a
// network namespace the sysctl takes no algorithm that is restricted. It fails
// if the kernel lacks the algorithm.
func (l *link) congestion(ctx context.Context, algorithm string) error {
	for _, end := range []struct{ netns, from, to string }{
		{l.near, l.line.nearHost, l.line.host},
		{l.far, l.line.host, l.line.nearHost},
	} {
		argv := []string{"ip", "-n", end.netns, "route", "replace", end.to, "dev", l.line.device, "src", end.from}
		if algorithm != "" {
			argv = append(argv, "congctl", algorithm)
		}
		if err := output(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
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

// runNetns measures the main rows between two network namespaces, again on a
// slow and lossy line, several large files there, and pushed files on a line
// that is only slow.
func (o *options) runNetns(ctx context.Context, b *bench, w io.Writer) ([]*result, error) {
	l, err := openLink(ctx, b)
	defer l.close()
	if err != nil {
		return nil, err
	}
	results, err := o.runPart(ctx, b, w, "Between two network namespaces joined by veth", b.lineRows("veth", l.forth()))
	if err != nil {
		return results, err
	}
	if err = l.slow(ctx, b, lineLoss); err != nil {
		return results, fmt.Errorf("a slow line: %w", err)
	}
	if l.netem != nil {
		fmt.Fprintf(w, "tc netem is not to be had here: %v\n\n", l.netem)
	}
	lossy, err := o.runPart(ctx, b, w, l.lossyTitle(congestionControl()), b.lineRows("lossy", l.forth()))
	results = append(results, lossy...)
	if err != nil {
		return results, err
	}
	large, err := o.runLargeLossy(ctx, b, l, w)
	results = append(results, large...)
	if err != nil {
		return results, err
	}
	if err = l.slow(ctx, b, 0); err != nil {
		return results, fmt.Errorf("a line with delay: %w", err)
	}
	far, err := o.runPart(ctx, b, w, fmt.Sprintf("With %v of delay and no loss", lineDelay), b.pushWireRows(l.forth()))
	return append(results, far...), err
}

// runPart measures the rows of one kind of line, unless -run matches none.
func (o *options) runPart(ctx context.Context, b *bench, w io.Writer, title string, rows []row) ([]*result, error) {
	if !slices.ContainsFunc(rows, func(rw row) bool { return o.run.MatchString(rw.name) }) {
		return nil, nil
	}
	fmt.Fprintf(w, "%s:\n\n", title)
	return o.runRows(ctx, b, rows)
}

// lossyTitle is the title of the rows over the slow and lossy line.
func (l *link) lossyTitle(algorithm string) string {
	how := "tc netem"
	if l.netem != nil {
		how = "a relay of this program between two TUN devices"
	}
	return fmt.Sprintf("With %v of delay and %g %% loss, made by %s; TCP uses %s", lineDelay, lineLoss*100, how, algorithm)
}

// runLargeLossy measures several large files over the lossy line with each
// congestion control. If the kernel does not have one, its rows are named as
// absent.
func (o *options) runLargeLossy(ctx context.Context, b *bench, l *link, w io.Writer) ([]*result, error) {
	var results []*result
	forth, back := l.forth(), l.back()
	forth.patience, back.patience = lossyPatience, lossyPatience
	for _, algorithm := range lossyAlgorithms {
		rows := b.largeLossyRows(algorithm, forth, back)
		if err := l.congestion(ctx, algorithm); err != nil {
			for _, rw := range rows {
				if o.run.MatchString(rw.name) {
					fmt.Fprintf(w, "%s is absent: no congestion control %s: %v\n\n", rw.name, algorithm, err)
				}
			}
			continue
		}
		large, err := o.runPart(ctx, b, w, l.lossyTitle(algorithm), rows)
		results = append(results, large...)
		if err != nil {
			return results, err
		}
	}
	return results, l.congestion(ctx, "")
}

// lossyAlgorithms are the congestion controls of the rows about several large
// files over the lossy line.
var lossyAlgorithms = []string{"cubic", "bbr"}

// lossyPatience is the additional time for several large files over the lossy
// line: a single connection that has no luck needs more than a minute.
const lossyPatience = 3 * time.Minute

// netnsRows lists the rows of -netns.
func (b *bench) netnsRows() []row {
	rows := slices.Concat(b.lineRows("veth", lane{}), b.lineRows("lossy", lane{}))
	for _, algorithm := range lossyAlgorithms {
		rows = append(rows, b.largeLossyRows(algorithm, lane{}, lane{})...)
	}
	return append(rows, b.pushWireRows(lane{})...)
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

// lossySize is the size (bytes) of one of several large files on the slow line.
func lossySize(algorithm string) int {
	if algorithm == "bbr" {
		return 64 << 20
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
