package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The variants of tunnels: other ways of the same peer.
const (
	spliced = "splice" // haproxy with splice(2), which it does not use by default
	eachOne = "each"   // socat with a process for each datagram
)

// tunnelRows are those of relays between two sockets: a neutral end on both sides, and one tool between them.
func (b *bench) tunnelRows() []row {
	relays := append(b.contenders(purr, socat, haproxy), contender{label: "haproxy splice", tool: b.tools[haproxy], variant: spliced, aside: true})
	if relays[3].tool == nil {
		relays[3].tool = &tool{name: haproxy}
	}
	relays = append(relays, b.contenders(ncat)...)
	datagrams := append(b.contenders(purr, socat), contender{label: "socat each", tool: b.contenders(socat)[0].tool, variant: eachOne, window: 1, aside: true})
	datagrams[0].window, datagrams[1].window = 32, 32
	return []row{
		{name: "tunnel", work: "TCP -> TCP tunnel -> TCP", unit: "GB/s", goals: []goal{{limit: 3, against: socat}, {limit: 1, against: haproxy}},
			who: relays, lane: loopback, share: 1, check: true, run: tunnelStream},
		{name: "tunnel-connections", work: "new TCP tunnels, one echoed message each, with a processor for the relay alone", unit: "/s",
			goals: []goal{{limit: 5, against: socat}, {limit: 1, against: haproxy}}, who: relays, run: tunnelConnections(true)},
		{name: "tunnel-connections-shared", work: "new TCP tunnels, one echoed message each, with all processors for all ends", unit: "/s",
			who: relays, run: tunnelConnections(false)},
		{name: "tunnel-udp", work: "32-byte datagrams through a UDP tunnel and back", unit: "/s", goals: []goal{{limit: 1.5, against: socat}},
			who: datagrams, run: tunnelDatagrams},
	}
}

// tunnelServer is the command of a relay from a port to a target on the loopback. dir is for its files.
func (c contender) tunnelServer(dir, network, port, target string) ([]string, error) {
	switch path, to := c.tool.path, loopback.host+":"+target; {
	case c.tool.name == purr && network == "udp":
		return []string{path, "-u", "-l", "-k", "-L", "udp:" + to, port}, nil
	case c.tool.name == purr:
		return []string{path, "-l", "-k", "-L", to, port}, nil
	case c.tool.name == socat && c.variant == eachOne:
		return []string{path, "UDP4-RECVFROM:" + port + ",fork", "UDP4:" + to}, nil
	case c.tool.name == socat && network == "udp":
		return []string{path, "UDP4-LISTEN:" + port + ",reuseaddr,fork", "UDP4:" + to}, nil
	case c.tool.name == socat:
		return []string{path, "TCP4-LISTEN:" + port + ",reuseaddr,fork", "TCP4:" + to}, nil
	case c.tool.name == ncat && network == "tcp":
		return []string{path, "-4", "-n", "-l", "-k", port, "--sh-exec", path + " -n " + loopback.host + " " + target}, nil
	case c.tool.name == haproxy && network == "tcp":
		file := filepath.Join(dir, "haproxy.cfg")
		return []string{path, "-db", "-q", "-f", file}, os.WriteFile(file, haproxyConfig(port, to, c.variant == spliced), 0o600)
	}
	return nil, errCannot
}

// haproxyConfig is the configuration of a relay in haproxy's TCP mode.
func haproxyConfig(port, target string, splice bool) []byte {
	text := "global\n\tmaxconn 1000\ndefaults\n\tmode tcp\n\ttimeout connect 10s\n\ttimeout client 1m\n\ttimeout server 1m\n"
	if splice {
		text += "\toption splice-request\n\toption splice-response\n"
	}
	return []byte(text + "listen relay\n\tbind :" + port + "\n\tserver target " + target + "\n")
}

// startTunnel starts a neutral target that does j, and the contender's relay to it. to is where the relay listens.
func (s *session) startTunnel(r run, network string, j job) (target *neutral, relay *proc, to string, err error) {
	j.Addr = loopback.host + ":0"
	if target, err = s.neutral(j, nil, nil, ""); err != nil {
		return nil, nil, "", err
	}
	ready, err := target.next(s.ctx)
	if err != nil {
		return nil, nil, "", err
	}
	port, err := portOf(ready.Ready)
	if err != nil {
		return nil, nil, "", err
	}
	relay, to, err = s.startServer(network, func(own string) ([]string, error) {
		return r.tunnelServer(s.dir, network, own, fmt.Sprint(port))
	})
	return target, relay, to, err
}

// tunnelStream measures one stream through a relay. The clock runs from the relay's connection to the last byte.
func tunnelStream(ctx context.Context, r run) (sample, error) {
	s, err := r.newSession(ctx, r.lane, moveLimit(r.size))
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	end, relay, to, err := s.startTunnel(r, "tcp", job{Role: "sink", Net: "tcp", Size: r.size, Check: r.check})
	if err != nil {
		return sample{}, err
	}
	if _, err := s.neutral(job{Role: "source", Net: "tcp", Addr: to, Size: r.size}, nil, nil, ""); err != nil {
		return sample{}, err
	}
	got, err := end.next(s.ctx, relay)
	if err != nil {
		return sample{}, err
	}
	if err := checkBytes(got.Bytes, r.size, got.Bad); err != nil {
		return sample{}, err
	}
	return s.moved(r.size, got.Start, got.Last)
}

// tunnelConnections measures how many tunnels a second are opened, carry a message and its answer, and are closed.
// With apart the relay has a processor for itself: its own work is the measure then. Else the neutral ends, which have
// as much to do for a short conversation as a good relay, take part of what the quicker one could use.
func tunnelConnections(apart bool) func(context.Context, run) (sample, error) {
	return func(ctx context.Context, r run) (sample, error) {
		s, err := r.newSession(ctx, loopback, 60*time.Second)
		if err != nil {
			return sample{}, err
		}
		defer s.close()
		if apart {
			s.underCores, s.otherCores = splitCores()
		}
		_, relay, to, err := s.startTunnel(r, "tcp", job{Role: "answer", Net: "tcp"})
		if err != nil {
			return sample{}, err
		}
		load, err := s.neutral(job{Role: "connects", Net: "tcp", Addr: to, Workers: connectionWorkers, For: r.lasting()}, nil, nil, "")
		if err != nil {
			return sample{}, err
		}
		got, err := load.next(s.ctx, relay)
		if err != nil {
			return sample{}, err
		}
		if got.Count == 0 {
			return sample{}, errors.New("no tunnel was opened")
		}
		return sample{value: float64(got.Count) / got.Took.Seconds()}, nil
	}
}

// tunnelDatagrams measures how many datagrams a second pass a relay and come back, a window of them under way.
func tunnelDatagrams(ctx context.Context, r run) (sample, error) {
	s, err := r.newSession(ctx, loopback, 30*time.Second)
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	_, relay, to, err := s.startTunnel(r, "udp", job{Role: "udpanswer"})
	if err != nil {
		return sample{}, err
	}
	before := relay.groupCPU()
	load, err := s.neutral(job{Role: "udpecho", Addr: to, Block: 32, Window: r.window, For: r.lasting(), Silence: r.silence()}, nil, nil, "")
	if err != nil {
		return sample{}, err
	}
	got, err := load.next(s.ctx, relay)
	if err != nil {
		return sample{}, err
	}
	cost := relay.groupCPU() - before
	if got.Count == 0 {
		return sample{}, errors.New("no datagram was answered")
	}
	if got.Lost > 0 && r.tool.name == purr {
		return sample{}, fmt.Errorf("%d of %d datagrams had no answer", got.Lost, got.Lost+got.Count)
	}
	note := fmt.Sprintf("%.1f µs of CPU each", float64(cost.Nanoseconds())/1e3/float64(got.Count))
	if got.Lost > 0 {
		note += fmt.Sprintf(", %d without answer", got.Lost)
	}
	return sample{value: float64(got.Count) / got.Took.Seconds(), note: note}, nil
}
