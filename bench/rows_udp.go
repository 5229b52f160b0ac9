package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// tutorial is the UDP server of the Python socket tutorial: one datagram in, one out in upper case.
const tutorial = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    data, peer = s.recvfrom(2048)
    s.sendto(data.upper(), peer)
`

// udpEchoServer is the command of a server that answers every datagram in upper case.
func (c contender) udpEchoServer(port string) ([]string, error) {
	switch path := c.tool.path; c.tool.name {
	case purr:
		return []string{path, "-u", "-l", "-k", "--echo", "--upper", port}, nil
	case python:
		return []string{path, "-c", tutorial, port}, nil
	case socat:
		return []string{path, "UDP4-RECVFROM:" + port + ",fork", "EXEC:" + upperCommand}, nil
	case ncat:
		return []string{path, "-4", "-n", "-u", "-l", "-k", port, "-c", upperCommand}, nil
	}
	return nil, errCannot
}

// udpEchoCost measures the CPU time (µs) that a server spends on one datagram of block bytes and its answer. The load
// is a window of datagrams for a fixed time, so that a fast server answers more of them.
func udpEchoCost(block int) func(context.Context, run) (sample, error) {
	return func(ctx context.Context, r run) (sample, error) {
		s, err := r.newSession(ctx, loopback, 30*time.Second)
		if err != nil {
			return sample{}, err
		}
		defer s.close()
		p, addr, err := s.startServer("udp", r.udpEchoServer)
		if err != nil {
			return sample{}, err
		}
		before := p.groupCPU()
		j := job{Role: "udpecho", Addr: addr, Block: block, Window: r.window, For: r.lasting(), Silence: r.silence()}
		load, err := s.neutral(j, nil, nil, "")
		if err != nil {
			return sample{}, err
		}
		got, err := load.next(s.ctx, p)
		if err != nil {
			return sample{}, err
		}
		cost := p.groupCPU() - before
		if got.Count == 0 {
			return sample{}, errors.New("no datagram was answered")
		}
		if got.Lost > 0 && r.tool.name == purr {
			return sample{}, fmt.Errorf("%d of %d datagrams had no answer", got.Lost, got.Lost+got.Count)
		}
		note := fmt.Sprintf("%.0f/s", float64(got.Count)/got.Took.Seconds())
		if got.Lost > 0 {
			note += fmt.Sprintf(", %d without answer", got.Lost)
		}
		return sample{value: float64(cost.Nanoseconds()) / 1e3 / float64(got.Count), note: note}, nil
	}
}

// record is the size of what is written to the pipe at once, and of the datagrams, in the one-way rows (bytes).
const record = 1400

// records is the number of bytes of the one-way rows: whole records.
func (r run) records() int64 {
	return max(r.size/record, 1) * record
}

// udpSend measures records from a pipe to datagrams: MB/s that arrived at a neutral end whose buffer holds them all.
func udpSend(ctx context.Context, r run) (sample, error) {
	r.size = r.records()
	s, err := r.newSession(ctx, loopback, moveLimit(r.size))
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	end, err := s.neutral(job{Role: "udpsink", Addr: loopback.host + ":0", Size: r.size, Check: r.check, Silence: r.silence()},
		nil, nil, "")
	if err != nil {
		return sample{}, err
	}
	ready, err := end.next(s.ctx)
	if err != nil {
		return sample{}, err
	}
	port, err := portOf(ready.Ready)
	if err != nil {
		return sample{}, err
	}
	argv, err := r.tool.sendUDP(address{network: "udp", host: loopback.host, port: fmt.Sprint(port)})
	if err != nil {
		return sample{}, err
	}
	in, err := s.fed(r, record)
	if err != nil {
		return sample{}, err
	}
	p, err := s.start(command{argv: argv, stdin: in})
	if err != nil {
		return sample{}, err
	}
	got, err := end.next(s.ctx, p)
	if err != nil {
		return sample{}, err
	}
	p.kill() // it may wait for answers that nobody sends
	if err := checkBytes(got.Bytes, r.size, got.Bad); err != nil {
		return sample{}, err
	}
	out, err := s.moved(got.Bytes, got.First, got.Last)
	out.value *= 1e3
	out.note = fmt.Sprintf("%.0f/s of %d bytes", float64(got.Count)/seconds(got.First, got.Last), got.Bytes/got.Count)
	return out, err
}

// udpWindow is how many datagrams are under way to a receiver: with their overhead they fit the default receive
// buffer of Linux (208 KiB), so that the kernel drops none.
const udpWindow = 64

// udpReceive measures datagrams to a pipe: MB/s that came out of the pipe. All must come out.
func udpReceive(ctx context.Context, r run) (sample, error) {
	r.size = r.records()
	s, err := r.newSession(ctx, loopback, moveLimit(r.size))
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	out, in, err := s.pipe()
	if err != nil {
		return sample{}, err
	}
	port, err := freePort("udp")
	if err != nil {
		return sample{}, err
	}
	argv, err := r.tool.receiveUDP(port)
	if err != nil {
		return sample{}, err
	}
	p, err := s.start(command{argv: argv, stdout: in})
	if err != nil {
		return sample{}, err
	}
	in.Close()
	if err := waitReady(s.ctx, p, "udp", port); err != nil {
		return sample{}, err
	}
	j := job{Role: "udpfeed", Addr: loopback.host + ":" + port, Size: r.size, Block: record, Window: udpWindow,
		Check: r.check, Silence: r.silence()}
	load, err := s.neutral(j, out, nil, "")
	if err != nil {
		return sample{}, err
	}
	got, err := load.next(s.ctx, p)
	if err != nil {
		return sample{}, err
	}
	p.kill() // a datagram listener has no end of its own
	if err := checkBytes(got.Bytes, r.size, got.Bad); err != nil {
		return sample{}, err
	}
	sam, err := s.moved(got.Bytes, got.Start, got.Last)
	sam.value *= 1e3
	sam.note = fmt.Sprintf("%.0f/s", float64(got.Count)/seconds(got.Start, got.Last))
	return sam, err
}

// seconds is the time between two readings of the clock.
func seconds(start, end int64) float64 {
	return time.Duration(end - start).Seconds()
}
