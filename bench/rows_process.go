package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"time"
)

// helpFlags are what makes each tool print its help and end.
var helpFlags = map[string]string{purr: "--help", obsd: "-h", trad: "-h", ncat: "--help", socat: "-h"}

// startHelp measures the time (ms) from the start of a tool that prints its help to its end.
func startHelp(ctx context.Context, r run) (sample, error) {
	return r.startToExit(ctx, []string{r.tool.path, helpFlags[r.tool.name]}, 0)
}

// startRefused measures the time (ms) from the start of a tool that dials a closed port to its end.
func startRefused(ctx context.Context, r run) (sample, error) {
	port, err := freePort("tcp")
	if err != nil {
		return sample{}, err
	}
	argv, err := r.tool.send(address{network: "tcp", host: loopback.host, port: port})
	if err != nil {
		return sample{}, err
	}
	return r.startToExit(ctx, argv, 1)
}

// startToExit runs a command to its end and expects its status. What it says goes to /dev/null and a file.
func (r run) startToExit(ctx context.Context, argv []string, status int) (sample, error) {
	s, err := r.newSession(ctx, loopback, 10*time.Second)
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	p, err := s.start(command{argv: argv})
	if err != nil {
		return sample{}, err
	}
	<-p.done
	if err := context.Cause(s.ctx); err != nil {
		return sample{}, err
	}
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(p.err, &exit) {
		got = exit.ExitCode()
	}
	if got != status {
		return sample{}, fmt.Errorf("status %d, not %d: %s", got, status, p.said())
	}
	return sample{value: float64(p.ended-p.started) / 1e6}, nil
}

// peakMemory measures the peak resident memory (MiB) of a tool on both ends, pipe to pipe; the larger of the two. The
// peers move a tenth: it is not about their speed, and their memory does not grow.
func peakMemory(ctx context.Context, r run) (sample, error) {
	r.size = min(r.size, 10<<30)
	if r.tool.name != purr {
		r.size /= 10
	}
	s, err := r.newSession(ctx, loopback, moveLimit(r.size))
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	watchCtx, stop := context.WithCancel(s.ctx)
	defer stop()
	peak := make(chan int64, 1)
	go watchPeak(watchCtx, s, peak)
	got, err := s.pass(r)
	stop()
	most := <-peak
	if err == nil {
		err = errors.Join(s.finish(), checkBytes(got.Bytes, r.size, got.Bad))
	}
	if err != nil {
		return sample{}, err
	}
	if most == 0 {
		return sample{}, errors.New("it was gone before its memory could be read")
	}
	return sample{
		value: float64(most) / 1024,
		cpu:   s.cpuPerGB(r.size),
		note:  fmt.Sprintf("%.2g GB", float64(r.size)/1e9),
	}, nil
}

// watchPeak is the goroutine that reads VmHWM of the programs under test until it is told to stop. VmHWM is itself a
// peak, so only what the program took in its last milliseconds can be missed.
func watchPeak(ctx context.Context, s *session, peak chan<- int64) {
	const interval = 10 * time.Millisecond
	var most int64
	for ctx.Err() == nil {
		for _, pid := range s.pids() {
			most = max(most, statusKB(pid, "VmHWM"))
		}
		select {
		case <-ctx.Done():
		case <-time.After(interval):
		}
	}
	peak <- most
}

// idleResult is what one run with idle connections gives.
type idleResult struct {
	perConn float64       // resident memory per idle connection (bytes)
	answer  time.Duration // from the first word to the last answer when all speak at once
	opened  float64       // connections a second while they were opened one by one
	beside  float64       // new connections a second beside the idle ones
	alone   float64       // the same when those are closed
	conns   int
}

// idleConnections opens many connections to `-l -k --echo`, weighs them, lets them speak, and counts new ones.
func idleConnections(ctx context.Context, r run) (idleResult, error) {
	s, err := r.newSession(ctx, loopback, 60*time.Second)
	if err != nil {
		return idleResult{}, err
	}
	defer s.close()
	p, addr, err := s.startServer("tcp", func(port string) ([]string, error) { return r.echoServer(port, false) })
	if err != nil {
		return idleResult{}, err
	}
	if err := touch(addr); err != nil { // what the first connection costs is not about the idle ones
		return idleResult{}, err
	}
	res := idleResult{conns: r.idleCount()}
	before := statusKB(p.pid, "VmRSS")
	crowd, err := s.neutral(job{Role: "idle", Addr: addr, Count: res.conns}, nil, nil, "")
	if err != nil {
		return res, err
	}
	open, err := crowd.next(s.ctx, p)
	if err != nil {
		return res, err
	}
	res.opened = float64(res.conns) / open.Took.Seconds()
	// connect returns before the server has accepted: a round trip on a new connection comes behind them all.
	if err := touch(addr); err != nil {
		return res, err
	}
	res.perConn = float64(statusKB(p.pid, "VmRSS")-before) * 1024 / float64(res.conns)
	crowd.step.Write([]byte{1})
	spoke, err := crowd.next(s.ctx, p)
	if err != nil {
		return res, err
	}
	res.answer = spoke.Took
	if res.beside, err = s.acceptRate(addr, p, r); err != nil {
		return res, err
	}
	crowd.step.Write([]byte{1})
	if _, err = crowd.next(s.ctx, p); err != nil {
		return res, err
	}
	res.alone, err = s.acceptRate(addr, p, r)
	return res, err
}

// acceptRate counts new connections a second.
func (s *session) acceptRate(addr string, p *proc, r run) (float64, error) {
	j := job{Role: "connects", Net: "tcp", Addr: addr, Workers: connectionWorkers, For: r.lasting()}
	n, err := s.neutral(j, nil, nil, "")
	if err != nil {
		return 0, err
	}
	got, err := n.next(s.ctx, p)
	return float64(got.Count) / got.Took.Seconds(), err
}

// touch makes a connection and has one byte echoed.
func touch(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	b := []byte{'x'}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	_, err = conn.Read(b)
	return err
}

// idleRow is the work of the rows about idle connections: each shows one of the results.
func idleRow(pick func(idleResult) float64) func(context.Context, run) (sample, error) {
	return func(ctx context.Context, r run) (sample, error) {
		res, err := idleConnections(ctx, r)
		if err != nil {
			return sample{}, err
		}
		note := fmt.Sprintf("%d open, opened at %.0f/s, new beside them %.0f/s, without %.0f/s",
			res.conns, res.opened, res.beside, res.alone)
		return sample{value: pick(res), note: note}, nil
	}
}
