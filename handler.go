package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"purr/internal/fdio"
	"purr/internal/progress"
	"purr/internal/rate"
	"purr/internal/sock"
	"purr/internal/sys"
)

// A handler talks to one peer and returns when it is done: nil if the
// conversation ended in order and every byte arrived. The caller closes c.
type handler func(ctx context.Context, c net.Conn) error

// handler is what this end does with a connection, as the command line says.
func (p *purr) handler() handler {
	switch {
	case p.cfg.push.push:
		return p.pushTo
	case p.cfg.push.pull:
		return p.pullFrom
	case p.cfg.echo:
		return p.echo
	case p.cfg.sendFile != "":
		return p.sendFile
	case p.cfg.file.recv != "":
		return p.recvFile
	case p.cfg.interactive || p.cfg.quitWord != "":
		return p.converseByLine
	case p.cfg.keep:
		return p.shareStdio
	}
	return p.stdio
}

// converse runs the handler on a connection that a dialer made.
func (p *purr) converse(ctx context.Context, c net.Conn) error {
	p.meet("dial", c)
	defer p.part()
	return p.secured(p.handler())(ctx, c)
}

// newSession prepares a conversation of c with stdout. The caller frees it
// with close.
func (p *purr) newSession(c net.Conn) (*session, error) {
	s := &session{p: p, conn: c, peer: connName(c), inName: "stdin", outName: "stdout", only: !p.cfg.keep && len(p.cfg.ports) <= 1}
	var err error
	if s.alarm, err = fdio.NewInterrupt(); err != nil {
		return nil, fmt.Errorf("serve %s: %w", s.peer, err)
	}
	if !p.cfg.sendOnly {
		a, err := fdio.NewInterrupt()
		if err != nil {
			s.alarm.Close()
			return nil, fmt.Errorf("serve %s: %w", s.peer, err)
		}
		s.out = fdio.New(p.stdout, a)
	}
	if p.cfg.crlf {
		s.sendFilters = append(s.sendFilters, newCRLF())
	}
	if p.cfg.telnet {
		s.receiveFilters = append(s.receiveFilters, newTelnet(c))
	}
	if p.cfg.upper {
		s.sendFilters = append(s.sendFilters, upperFilter)
		s.receiveFilters = append(s.receiveFilters, upperFilter)
	}
	return s, nil
}

// stdio connects c with stdin and stdout.
func (p *purr) stdio(ctx context.Context, c net.Conn) error {
	s, err := p.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	if in := fdio.New(p.stdin, s.alarm); p.hasInput(in.Kind()) {
		s.in = in
	}
	return s.relay(ctx)
}

// hasInput reports whether stdin is worth reading. A listener that was started
// with /dev/null, or with a closed stdin, has nothing to say: were it to
// half-close at once, a client that takes that for the end would stop sending.
func (p *purr) hasInput(stdin fdio.Kind) bool {
	return !p.cfg.noStdin && !(p.cfg.listen && stdin == fdio.Null)
}

// echo makes the connection its own other end: what comes in goes back, one
// reply per read, changed by --upper; a copy as received goes to stdout. The
// buffer is only held while there is something in it, so that a client that
// waits costs little more than its socket.
func (p *purr) echo(ctx context.Context, c net.Conn) error {
	p.watchCopies(ctx)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	peer := connName(c)
	r, err := sock.NewReader(c)
	if err != nil {
		return fmt.Errorf("receive from %s: %w", peer, sys.Cause(err))
	}
	var answers io.Writer = c
	if p.limit != nil {
		answers = &rate.Writer{Writer: c, Limit: p.limit, Admit: func(n int) error {
			err := p.limit.Wait(ctx, n)
			p.pushDeadline(c) // our own wait is not the peer's silence
			return err
		}}
	}
	var t *progress.Transfer
	if p.cfg.pace.progress {
		t = p.progress.Start(peer, -1, p.progressStyle(true))
		defer t.End()
	}
	end := parting{peer: peer, how: "failed", begun: time.Now()}
	reads := 0
	for {
		p.pushDeadline(c)
		n, err := r.Next(func(b []byte) error { return p.echoBytes(c, answers, peer, b) })
		end.received += int64(n)
		p.traffic.received.Add(int64(n))
		if reads++; err == nil {
			end.sent += int64(n)
			p.traffic.sent.Add(int64(n))
			t.Add(n)
			if reads < p.cfg.receiveLimit || p.cfg.receiveLimit == 0 {
				continue
			}
			end.how = "receive limit reached"
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && r.Waiting && sys.Arrived(sock.Under(c)) {
			continue // held up until now
		}
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case err == io.EOF:
			end.how, err = peerFinished, nil
		case errors.Is(err, os.ErrDeadlineExceeded) && r.Waiting:
			end.how, err = fmt.Sprintf("idle for %v", p.cfg.idleTimeout), nil
		case err != nil && r.Waiting:
			err = fmt.Errorf("receive from %s: %w", peer, sys.Cause(err))
		}
		if err == nil {
			err = p.settleEcho(ctx, c, peer)
		}
		t.End()
		p.endEcho(end, err)
		return err
	}
}

// endEcho says how an echo ended. What failed is said anyway.
func (p *purr) endEcho(end parting, failed error) {
	if failed != nil && !p.log.json {
		return
	}
	if failed != nil {
		end.how = "failed"
	}
	end.moved = fmt.Sprintf("echoed %d bytes", end.sent)
	p.sayParting(end)
}

// settleEcho waits until the client's system has all answers, for as long as an
// idle connection may last.
func (p *purr) settleEcho(ctx context.Context, c net.Conn, peer string) error {
	begun := time.Now()
	err := sock.AwaitAck(c, func(unacked int) error {
		if limit := p.cfg.idleTimeout; limit > 0 && time.Since(begun) >= limit {
			return idleErrorf(peer, limit, unacked)
		}
		return context.Cause(ctx)
	})
	var idle idleError
	switch {
	case err == nil, errors.As(err, &idle), ctx.Err() != nil:
		return err
	}
	return fmt.Errorf("send to %s: %w", peer, sys.Cause(err))
}

// echoBytes handles one read of the echo. What is written to answers goes to c.
func (p *purr) echoBytes(c net.Conn, answers io.Writer, peer string, b []byte) error {
	if p.copies() {
		if _, err := p.stdout.Write(b); err != nil {
			sock.Reset(c) // an orderly end would say that all was well
			return p.stdoutFailed(err)
		}
	}
	if p.cfg.upper {
		upper(b)
	}
	p.pushDeadline(c) // for a process that was held up since it had read
	if _, err := answers.Write(b); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("send to %s: idle for %v with bytes not taken by the peer", peer, p.cfg.idleTimeout)
		}
		return fmt.Errorf("send to %s: %w", peer, sys.Cause(err))
	}
	return nil
}

// pushDeadline gives the next read and write as long as an idle connection may
// last.
func (p *purr) pushDeadline(c net.Conn) {
	if p.cfg.idleTimeout > 0 {
		_ = c.SetDeadline(time.Now().Add(p.cfg.idleTimeout))
	}
}

// stdoutFailed ends the whole run, also under -k: stdout is not one client's
// but everybody's.
func (p *purr) stdoutFailed(err error) error {
	err = fmt.Errorf("write to stdout: %w", sys.Cause(err))
	p.stop(err)
	return err
}

// watchCopies ends the run when nobody can read any more the copies that an
// echo writes to stdout, also while there is nothing to write.
func (p *purr) watchCopies(ctx context.Context) {
	p.watchOnce.Do(func() {
		a, err := fdio.NewInterrupt()
		if err != nil {
			return // the next write will tell
		}
		out := fdio.New(p.stdout, a)
		if out.Kind() != fdio.Pipe && out.Kind() != fdio.FIFO && out.Kind() != fdio.Socket {
			a.Close()
			return
		}
		context.AfterFunc(ctx, a.Fire)
		go func() {
			defer a.Close()
			if out.WaitBroken() == nil {
				_ = p.stdoutFailed(syscall.EPIPE)
			}
		}()
	})
}
