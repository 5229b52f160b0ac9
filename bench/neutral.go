package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// neutralEnv carries the job of a neutral end: this program started again with it is that neutral end.
const neutralEnv = "PURR_BENCH_NEUTRAL"

// The descriptors that a neutral end finds beside stdin and stdout.
const (
	reportFD = 3 // its reports, one JSON object a line
	goFD     = 4 // a byte for each step it is told to take; at its end it stops
)

// A job is what a neutral end is to do. Which fields count depends on the role.
type job struct {
	Role    string
	Net     string // tcp, unix or udp
	Addr    string
	Size    int64         // bytes to send or to expect
	Block   int           // bytes per write, message or datagram
	Window  int           // messages or datagrams under way at once
	Count   int           // round trips, connections
	Workers int           // connections at the same time
	For     time.Duration // how long to go on, where that is the limit
	Silence time.Duration // how long to wait for a datagram before the rest is taken for lost
	Check   bool          // compare every byte (slower), not only count
	Upper   bool          // what comes back is in upper case
	Near    string        // network namespaces of the two ends of a wire
	Far     string
	Loss    float64 // part of the packets that a wire loses
}

// A report is what a neutral end says: once when it is ready, once at the end (and between steps).
type report struct {
	Ready string        `json:",omitempty"` // the address it listens on
	Start int64         `json:",omitempty"` // when both ends were connected (CLOCK_MONOTONIC, ns)
	First int64         `json:",omitempty"` // when the first bytes arrived
	Last  int64         `json:",omitempty"` // when the last bytes arrived
	Bytes int64         `json:",omitempty"` // bytes that arrived
	Bad   int64         // offset of the first wrong byte, -1: none
	Count int64         `json:",omitempty"` // datagrams, round trips or connections
	Lost  int64         `json:",omitempty"` // datagrams without a reply
	Took  time.Duration `json:",omitempty"` // the time that the role is about
	Err   string        `json:",omitempty"`
}

// roles are the neutral ends. Each returns its last report.
var roles = map[string]func(job) (report, error){
	"feed":      feed,
	"drain":     drain,
	"sink":      sink,
	"source":    source,
	"duplex":    duplex,
	"messages":  messages,
	"pingpong":  pingpong,
	"connects":  connects,
	"idle":      idle,
	"udpecho":   udpEcho,
	"udpsink":   udpSink,
	"udpfeed":   udpFeed,
	"answer":    answer,
	"udpanswer": udpAnswer,
	"wire":      wire,
}

// neutralMain is main in a neutral end.
func neutralMain(text string) int {
	var j job
	err := json.Unmarshal([]byte(text), &j)
	var last report
	if err == nil {
		last, err = roles[j.Role](j)
	}
	if err != nil {
		last = report{Err: err.Error(), Bad: -1}
	}
	say(last)
	return 0
}

var reports = os.NewFile(reportFD, "reports")

// say sends a report to the parent. If nobody listens any more, the run is over anyway.
func say(r report) {
	json.NewEncoder(reports).Encode(r)
}

// nextStep waits until the parent says go.
func nextStep() error {
	var b [1]byte
	_, err := os.NewFile(goFD, "go").Read(b[:])
	return err
}

// A neutral is a neutral end seen from the parent.
type neutral struct {
	*proc
	role    string
	reports chan report // closed at its end
	step    *os.File
}

// startNeutral starts a neutral end with the given standard files, network namespace and processors.
func startNeutral(ctx context.Context, dir string, j job, stdin, stdout *os.File, netns string, cores *unix.CPUSet) (*neutral, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	wait, step, err := os.Pipe()
	if err != nil {
		out.Close()
		return nil, err
	}
	defer wait.Close()
	p, err := startProc(ctx, dir, command{
		argv:   []string{"/proc/self/exe"},
		stdin:  stdin,
		stdout: stdout,
		extra:  []*os.File{in, wait},
		env:    []string{neutralEnv + "=" + string(text)},
		netns:  netns,
		cores:  cores,
	})
	if err != nil {
		out.Close()
		step.Close()
		return nil, err
	}
	p.name = "neutral " + j.Role
	n := &neutral{proc: p, role: j.Role, reports: make(chan report, 4), step: step}
	go n.listen(out)
	return n, nil
}

// listen is the goroutine that reads the reports.
func (n *neutral) listen(out *os.File) {
	defer close(n.reports)
	defer out.Close()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var r report
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			r.Err = err.Error()
		}
		n.reports <- r
	}
}

// next returns the next report. If one of the programs under test fails, it does not wait much longer.
func (n *neutral) next(ctx context.Context, under ...*proc) (report, error) {
	failed := make(chan *proc, len(under))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, p := range under {
		go watchFailure(ctx, p, failed)
	}
	var grace <-chan time.Time
	var culprit *proc
	for {
		select {
		case r, ok := <-n.reports:
			switch {
			case !ok:
				return r, fmt.Errorf("%s ended without a report", n.name)
			case r.Err != "":
				err := fmt.Errorf("%s: %s", n.name, r.Err)
				if culprit != nil {
					err = errors.Join(culprit.failure(), err)
				}
				return r, err
			}
			return r, nil
		case culprit = <-failed:
			grace = time.After(time.Second)
		case <-grace:
			return report{}, culprit.failure()
		case <-ctx.Done():
			return report{}, fmt.Errorf("%s: %w", n.name, context.Cause(ctx))
		}
	}
}

// watchFailure is the goroutine that passes p on if it ends with an error.
func watchFailure(ctx context.Context, p *proc, failed chan<- *proc) {
	select {
	case <-p.done:
		if p.err != nil {
			failed <- p
		}
	case <-ctx.Done():
	}
}
