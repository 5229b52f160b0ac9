package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// upperCommand answers at once what it reads, in upper case; plain tr would keep it until its buffer is full.
const upperCommand = "stdbuf -o0 tr a-z A-Z"

// echoServer is the command of a server that answers every connection to a port with what it says, in upper case if
// so asked. The variant tells two ways of the same peer apart.
func (c contender) echoServer(port string, upper bool) ([]string, error) {
	command := "cat"
	if upper {
		command = upperCommand
	}
	switch path := c.tool.path; {
	case c.tool.name == purr && upper:
		return []string{path, "-l", "-k", "--echo", "--upper", port}, nil
	case c.tool.name == purr:
		return []string{path, "-l", "-k", "--echo", port}, nil
	case c.tool.name == socat:
		// Without nodelay each message would wait for the delayed acknowledgement of the one before: 40 ms.
		return []string{path, "TCP-LISTEN:" + port + ",reuseaddr,nodelay,fork", "EXEC:" + command}, nil
	case c.tool.name == ncat && c.variant == "-e" && !upper:
		return []string{path, "-4", "-n", "-l", "-k", port, "-e", "/bin/cat"}, nil
	case c.tool.name == ncat:
		return []string{path, "-4", "-n", "-l", "-k", port, "-c", command}, nil
	case c.tool.name == trad:
		return []string{path, "-n", "-l", "-p", port, "-c", command}, nil
	}
	return nil, errCannot
}

// startServer starts a server on a free port and waits until it listens.
func (s *session) startServer(network string, argv func(port string) ([]string, error)) (*proc, string, error) {
	port, err := freePort(network)
	if err != nil {
		return nil, "", err
	}
	line, err := argv(port)
	if err != nil {
		return nil, "", err
	}
	p, err := s.start(command{argv: line})
	if err != nil {
		return nil, "", err
	}
	return p, loopback.host + ":" + port, waitReady(s.ctx, p, network, port)
}

// serveTCP starts the contender's echo server and a neutral client, and returns the client's report.
func (s *session) serveTCP(r run, upper bool, client job) (report, error) {
	p, addr, err := s.startServer("tcp", func(port string) ([]string, error) { return r.echoServer(port, upper) })
	if err != nil {
		return report{}, err
	}
	client.Net, client.Addr = "tcp", addr
	n, err := s.neutral(client, nil, nil, "")
	if err != nil {
		return report{}, err
	}
	got, err := n.next(s.ctx, p)
	if err != nil {
		return got, err
	}
	p.kill() // a server has no end of its own; its CPU time is complete now
	if got.Bad >= 0 {
		err = fmt.Errorf("wrong answer at byte %d", got.Bad)
	}
	return got, err
}

// echoBlock is the size of the messages in the echo rows (bytes).
const echoBlock = 64 << 10

// echoes measures the echo of messages over one connection, window of them under way, for a fixed time: for a peer
// that waits for delayed acknowledgements a fixed size would take minutes. GB/s, each byte counted once.
func echoes(upper bool, window int) func(context.Context, run) (sample, error) {
	return func(ctx context.Context, r run) (sample, error) {
		s, err := r.newSession(ctx, loopback, r.lasting()+10*time.Second)
		if err != nil {
			return sample{}, err
		}
		defer s.close()
		const enough = 1 << 40 // never reached: the time is the limit
		j := job{Role: "messages", Size: enough, For: r.lasting(), Block: echoBlock, Window: window,
			Check: r.check, Upper: upper}
		got, err := s.serveTCP(r, upper, j)
		if err != nil {
			return sample{}, err
		}
		if got.Bytes == 0 {
			return sample{}, errors.New("no message came back")
		}
		return s.moved(got.Bytes, got.Start, got.Last)
	}
}

// pingPong measures the round trip (µs, the median of many) of one byte through an upper-case echo.
func pingPong(ctx context.Context, r run) (sample, error) {
	s, err := r.newSession(ctx, loopback, 60*time.Second)
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	got, err := s.serveTCP(r, true, job{Role: "pingpong", Count: r.pick(10000, 200)})
	if err != nil {
		return sample{}, err
	}
	return sample{value: float64(got.Took.Nanoseconds()) / 1e3}, nil
}

// connectionWorkers is how many clients connect at the same time in the row of new connections. It is less than
// the backlog of any peer, so that nobody waits for a SYN to be sent again.
const connectionWorkers = 4

// newConnections measures how many connections a second are accepted, answered and closed.
func newConnections(ctx context.Context, r run) (sample, error) {
	s, err := r.newSession(ctx, loopback, 60*time.Second)
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	j := job{Role: "connects", Workers: connectionWorkers, For: r.lasting()}
	got, err := s.serveTCP(r, false, j)
	if err != nil {
		return sample{}, err
	}
	if got.Count == 0 {
		return sample{}, errors.New("no connection was served")
	}
	return sample{value: float64(got.Count) / got.Took.Seconds()}, nil
}
