package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A session is one run of one tool: the children it started, the files it opened, and its time limit.
type session struct {
	*bench
	ctx    context.Context
	cancel context.CancelFunc
	dir    string
	lane   lane
	mu     sync.Mutex
	under  []*proc // the programs under test; only start adds, holding mu
	others []*proc // the neutral ends
	files  []*os.File
	// The processors of the two, by splitCores; nil: all.
	underCores, otherCores *unix.CPUSet
}

// A lane is the way the bytes go: the network and where its two ends are.
type lane struct {
	network string // tcp or unix
	host    string // address of the listening end
	dialer  string // network namespace of the end that dials; "": ours
	server  string // network namespace of the end that listens
	// patience is added to the time limit of a run that moves whole files.
	patience time.Duration
}

// loopback is the lane of most rows.
var loopback = lane{network: "tcp", host: "127.0.0.1"}

// newSession starts a session that may take so long. The caller closes it.
func (b *bench) newSession(ctx context.Context, l lane, limit time.Duration) (*session, error) {
	dir, err := os.MkdirTemp(b.dir, "run-*")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v", limit))
	return &session{bench: b, ctx: ctx, cancel: cancel, dir: dir, lane: l}, nil
}

// close kills what still runs and removes the session's files.
func (s *session) close() {
	for _, p := range append(s.under, s.others...) {
		p.kill()
		p.stderr.Close()
	}
	for _, f := range s.files {
		f.Close()
	}
	s.cancel()
	os.RemoveAll(s.dir)
}

// start starts a program under test.
func (s *session) start(c command) (*proc, error) {
	c.cores = s.underCores
	p, err := startProc(s.ctx, s.dir, c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under = append(s.under, p)
	return p, nil
}

// pids are the programs under test that have been started so far. Unlike the rest it may be called at any time.
func (s *session) pids() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var pids []int
	for _, p := range s.under {
		pids = append(pids, p.pid)
	}
	return pids
}

// neutral starts a neutral end.
func (s *session) neutral(j job, stdin, stdout *os.File, netns string) (*neutral, error) {
	n, err := startNeutral(s.ctx, s.dir, j, stdin, stdout, netns, s.otherCores)
	if err != nil {
		return nil, err
	}
	s.others = append(s.others, n.proc)
	s.files = append(s.files, n.step)
	return n, nil
}

// pipe makes a pipe as a shell would. Both ends are closed with the session, or before with hand.
func (s *session) pipe() (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if err == nil {
		s.files = append(s.files, r, w)
	}
	return r, w, err
}

// open opens a file for reading until the end of the session.
func (s *session) open(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err == nil {
		s.files = append(s.files, f)
	}
	return f, err
}

// listenAddress picks an address for a program under test to listen on, and to dial it.
func (s *session) listenAddress() (address, error) {
	a := address{network: s.lane.network, host: s.lane.host}
	if a.network == "unix" {
		a.port = filepath.Join(s.dir, "sock")
		return a, nil
	}
	var err error
	a.port, err = freePort(a.network)
	return a, err
}

// neutralAddress is where a neutral end is to listen.
func (s *session) neutralAddress() string {
	if s.lane.network == "unix" {
		return filepath.Join(s.dir, "sock")
	}
	return s.lane.host + ":0"
}

// join is the address that a program under test dials.
func (a address) join() string {
	if a.network == "unix" {
		return a.port
	}
	return a.host + ":" + a.port
}

// finish waits until the programs under test have ended, for a short time, and returns the first failure.
func (s *session) finish() error {
	const patience = 10 * time.Second
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, p := range s.under {
		select {
		case <-p.done:
			if err := p.failure(); err != nil {
				return err
			}
		case <-timer.C:
			return fmt.Errorf("%s did not end within %v of the last byte", p.name, patience)
		case <-s.ctx.Done():
			return errors.Join(fmt.Errorf("%s did not end", p.name), context.Cause(s.ctx))
		}
	}
	return nil
}

// cpuPerGB is the CPU time of the ended programs under test, in seconds per 10^9 bytes.
func (s *session) cpuPerGB(bytes int64) float64 {
	var sum time.Duration
	for _, p := range s.under {
		sum += p.cpu
	}
	return sum.Seconds() / (float64(bytes) / 1e9)
}
