package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Each function here is the work of one kind of stream row: one tool moves size bytes once. The sample is in GB/s
// (10^9 bytes).

// moveLimit is how long a transfer may take: even the slowest peer moves 10 MB/s on loopback.
func moveLimit(size int64) time.Duration {
	return 20*time.Second + time.Duration(size/10e6)*time.Second
}

// moved turns what was measured into a sample.
func (s *session) moved(size int64, start, end int64) (sample, error) {
	if start == 0 || end <= start {
		return sample{}, errors.New("the clock did not move")
	}
	return sample{value: float64(size) / float64(end-start), cpu: s.cpuPerGB(size)}, nil
}

// sendFrom measures a tool that sends: from a file on stdin, from a pipe, with --send-file, or through the
// upper-case transform. The clock runs from the accepted connection to the last byte at the neutral end.
func sendFrom(source string) func(context.Context, run) (sample, error) {
	return func(ctx context.Context, r run) (sample, error) {
		s, err := r.newSession(ctx, r.lane, moveLimit(r.size))
		if err != nil {
			return sample{}, err
		}
		defer s.close()
		j := job{Role: "sink", Net: r.lane.network, Addr: s.neutralAddress(), Size: r.size, Check: r.check,
			Upper: source == "upper"}
		end, err := s.neutral(j, nil, nil, r.lane.server)
		if err != nil {
			return sample{}, err
		}
		ready, err := end.next(s.ctx)
		if err != nil {
			return sample{}, err
		}
		to, err := s.dialAddress(ready.Ready)
		if err != nil {
			return sample{}, err
		}
		if err := s.startSender(r, source, to); err != nil {
			return sample{}, err
		}
		got, err := end.next(s.ctx, s.under...)
		if err != nil {
			return sample{}, err
		}
		if err := errors.Join(s.finish(), checkBytes(got.Bytes, r.size, got.Bad)); err != nil {
			return sample{}, err
		}
		return s.moved(r.size, got.Start, got.Last)
	}
}

// dialAddress turns the address of a neutral end into one to dial.
func (s *session) dialAddress(listens string) (address, error) {
	if s.lane.network == "unix" {
		return address{network: "unix", port: listens}, nil
	}
	port, err := portOf(listens)
	return address{network: s.lane.network, host: s.lane.host, port: strconv.Itoa(port)}, err
}

// startSender starts the tool that sends, or its pipeline.
func (s *session) startSender(r run, source string, to address) error {
	file, err := s.dataFile(r.size)
	if err != nil {
		return err
	}
	stdin, err := s.open(file)
	if err != nil {
		return err
	}
	var argv []string
	switch source {
	case "upper":
		return s.startUpper(r, stdin, to)
	case "sendfile":
		var onStdin bool
		argv, onStdin, err = r.tool.sendFile(to, file)
		if !onStdin {
			stdin = nil
		}
	case "pipe":
		argv, err = r.tool.send(to)
		if err == nil {
			stdin, err = s.fed(r, feedBlock)
		}
	default:
		argv, err = r.tool.send(to)
	}
	if err != nil {
		return err
	}
	_, err = s.start(command{argv: argv, stdin: stdin, netns: r.lane.dialer})
	return err
}

// fed returns the reading end of a pipe that a neutral end writes the stream to, block bytes at a time.
func (s *session) fed(r run, block int) (*os.File, error) {
	out, in, err := s.pipe()
	if err != nil {
		return nil, err
	}
	_, err = s.neutral(job{Role: "feed", Size: r.size, Block: block}, nil, in, "")
	in.Close() // the feeder has the only one now: its end is the end of the pipe
	return out, err
}

// startUpper starts the pipeline that sends a file in upper case.
func (s *session) startUpper(r run, stdin *os.File, to address) error {
	line, err := r.tool.sendUpper(to)
	if err != nil {
		return err
	}
	for i, argv := range line {
		c := command{argv: argv, stdin: stdin, netns: r.lane.dialer}
		if i+1 < len(line) {
			if stdin, c.stdout, err = s.pipe(); err != nil {
				return err
			}
		}
		if _, err := s.start(c); err != nil {
			return err
		}
		if c.stdout != nil {
			c.stdout.Close()
		}
		c.stdin.Close()
	}
	return nil
}

// wasThere is what an appended file holds before the transfer.
const wasThere = "this line was here before\n"

// receiveTo measures a tool that listens and writes what comes to /dev/null, a pipe, a file, or the end of a file.
// The clock runs from the connection to the last byte out of the pipe, or to the end of the program.
func receiveTo(target string) func(context.Context, run) (sample, error) {
	return func(ctx context.Context, r run) (sample, error) {
		s, err := r.newSession(ctx, r.lane, moveLimit(r.size))
		if err != nil {
			return sample{}, err
		}
		defer s.close()
		c := command{netns: r.lane.server}
		var end *neutral
		file := filepath.Join(s.dir, "out")
		if target == "pipe" {
			end, c.stdout, err = s.drained(r)
		} else {
			c.stdout, err = s.target(target, file, r.size)
		}
		if err != nil {
			return sample{}, err
		}
		from, err := s.startReceiver(r, c)
		if err != nil {
			return sample{}, err
		}
		sent, err := from.next(s.ctx, s.under...)
		if err != nil {
			return sample{}, err
		}
		got := report{Bytes: r.size, Bad: -1}
		if end != nil {
			if got, err = end.next(s.ctx, s.under...); err != nil {
				return sample{}, err
			}
		}
		err = errors.Join(s.finish(), checkBytes(got.Bytes, r.size, got.Bad))
		switch target {
		case "file":
			err = errors.Join(err, checkFile(file, "", r.size))
		case "append":
			err = errors.Join(err, checkFile(file, wasThere, r.size))
		}
		if err != nil {
			return sample{}, err
		}
		if end == nil {
			got.Last = s.under[0].ended
		}
		return s.moved(r.size, sent.Start, got.Last)
	}
}

// target opens what the receiver's stdout is: /dev/null, an empty file, or a file to be appended to, as `>>` does.
func (s *session) target(target, file string, size int64) (f *os.File, err error) {
	if target != "null" {
		if err := s.warm(size); err != nil {
			return nil, err
		}
	}
	switch target {
	case "null":
		f, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	case "append":
		if err := os.WriteFile(file, []byte(wasThere), 0o600); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	default:
		f, err = os.Create(file)
	}
	if err == nil {
		s.files = append(s.files, f)
	}
	return f, err
}

// drained returns the writing end of a pipe, and the neutral end that empties it.
func (s *session) drained(r run) (*neutral, *os.File, error) {
	out, in, err := s.pipe()
	if err != nil {
		return nil, nil, err
	}
	end, err := s.neutral(job{Role: "drain", Size: r.size, Check: r.check}, out, nil, "")
	out.Close()
	return end, in, err
}

// startReceiver starts the tool that receives, and a neutral source once it listens.
func (s *session) startReceiver(r run, c command) (*neutral, error) {
	at, err := s.startListener(r, c)
	if err != nil {
		return nil, err
	}
	j := job{Role: "source", Net: at.network, Addr: at.join(), Size: r.size}
	return s.neutral(j, nil, nil, r.lane.dialer)
}

// startListener starts the tool that receives and waits until it listens.
func (s *session) startListener(r run, c command) (address, error) {
	at, err := s.listenAddress()
	if err != nil {
		return at, err
	}
	if c.argv, err = r.tool.receive(at); err != nil {
		return at, err
	}
	p, err := s.start(c)
	if err != nil {
		return at, err
	}
	if c.stdout != nil {
		c.stdout.Close()
	}
	return at, waitReady(s.ctx, p, at.network, at.port)
}

// through measures a tool on both ends: pipe, connection, pipe. The clock runs from the first byte out of the
// second pipe to the last.
func through(ctx context.Context, r run) (sample, error) {
	s, err := r.newSession(ctx, r.lane, moveLimit(r.size))
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	got, err := s.pass(r)
	if err != nil {
		return sample{}, err
	}
	if err := errors.Join(s.finish(), checkBytes(got.Bytes, r.size, got.Bad)); err != nil {
		return sample{}, err
	}
	return s.moved(r.size, got.First, got.Last)
}

// pass sends the stream from a pipe through the tool on both ends to another pipe.
func (s *session) pass(r run) (report, error) {
	end, out, err := s.drained(r)
	if err != nil {
		return report{}, err
	}
	at, err := s.startListener(r, command{stdout: out, netns: r.lane.server})
	if err != nil {
		return report{}, err
	}
	argv, err := r.tool.send(at)
	if err != nil {
		return report{}, err
	}
	in, err := s.fed(r, feedBlock)
	if err != nil {
		return report{}, err
	}
	if _, err := s.start(command{argv: argv, stdin: in, netns: r.lane.dialer}); err != nil {
		return report{}, err
	}
	return end.next(s.ctx, s.under...)
}

// bothWays measures a tool that sends a pipe and fills another at once, size bytes each way. The clock runs from the
// accepted connection to the last byte of the slower direction; the sample counts the bytes of both.
func bothWays(ctx context.Context, r run) (sample, error) {
	s, err := r.newSession(ctx, r.lane, moveLimit(2*r.size))
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	j := job{Role: "duplex", Net: r.lane.network, Addr: s.neutralAddress(), Size: r.size, Check: r.check}
	far, err := s.neutral(j, nil, nil, r.lane.server)
	if err != nil {
		return sample{}, err
	}
	ready, err := far.next(s.ctx)
	if err != nil {
		return sample{}, err
	}
	to, err := s.dialAddress(ready.Ready)
	if err != nil {
		return sample{}, err
	}
	argv, err := r.tool.duplex(to)
	if err != nil {
		return sample{}, err
	}
	end, out, err := s.drained(r)
	if err != nil {
		return sample{}, err
	}
	in, err := s.fed(r, feedBlock)
	if err != nil {
		return sample{}, err
	}
	if _, err := s.start(command{argv: argv, stdin: in, stdout: out, netns: r.lane.dialer}); err != nil {
		return sample{}, err
	}
	out.Close()
	there, err := far.next(s.ctx, s.under...)
	if err != nil {
		return sample{}, fmt.Errorf("sending: %w", err)
	}
	far.step.Write([]byte{1}) // both directions are under way or done: now it may close
	back, err := end.next(s.ctx, s.under...)
	if err != nil {
		return sample{}, fmt.Errorf("receiving: %w", err)
	}
	err = errors.Join(s.finish(), checkBytes(there.Bytes, r.size, there.Bad), checkBytes(back.Bytes, r.size, back.Bad))
	if err != nil {
		return sample{}, err
	}
	return s.moved(2*r.size, there.Start, max(there.Last, back.Last))
}
