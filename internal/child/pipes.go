package child

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"purr/internal/copier"
	"purr/internal/fdio"
)

// Pipes are the stdin and stdout of a command that has no socket. Reading
// returns the command's output, as an fdio.Source, and writing is its input;
// what a command does not read is dropped. One goroutine reads and one writes.
type Pipes struct {
	Process *Process // nil until Start

	runner          *Runner
	stdin, stdout   *os.File // the command's ends
	in, out         *fdio.File
	closing, ending sync.Once
	finished        chan struct{} // closed at the end of the output
}

// NewPipes returns the pipes of a command that is still to be started. All
// waits end when i has fired. The caller closes them.
func (r *Runner) NewPipes(i *fdio.Interrupt) (*Pipes, error) {
	stdin, in, out, stdout, err := twoPipes()
	if err != nil {
		return nil, err
	}
	return &Pipes{runner: r, stdin: stdin, stdout: stdout, in: fdio.New(in, i), out: fdio.New(out, i), finished: make(chan struct{})}, nil
}

// twoPipes returns the ends of two pipes: stdin and stdout are those of a
// command, in and out those of this side. The caller closes all of them.
func twoPipes() (stdin, in, out, stdout *os.File, err error) {
	if stdin, in, err = os.Pipe(); err != nil {
		return nil, nil, nil, nil, err
	}
	if out, stdout, err = os.Pipe(); err != nil {
		return nil, nil, nil, nil, errors.Join(err, stdin.Close(), in.Close())
	}
	return stdin, in, out, stdout, nil
}

// Start starts the command and closes its ends of the pipes here, also after an
// error.
func (p *Pipes) Start(env []string) (err error) {
	p.Process, err = p.runner.Start(env, p.stdin, p.stdout)
	_, _ = p.stdin.Close(), p.stdout.Close()
	return err
}

// Close frees the pipes of this side. No other method may be running.
func (p *Pipes) Close() {
	p.CloseInput()
	_, _, _ = p.out.File.Close(), p.stdin.Close(), p.stdout.Close()
}

// CloseInput ends the command's input; further calls do nothing. No Write may
// be running.
func (p *Pipes) CloseInput() { p.closing.Do(func() { _ = p.in.File.Close() }) }

// Read reads from the command's stdout. Feed and Wait take its io.EOF for the
// end of the output.
func (p *Pipes) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if err == io.EOF {
		p.ending.Do(func() { close(p.finished) })
	}
	return n, err
}

// Kind returns fdio.FIFO. A shell may hold an inherited pipe open for ever, but
// the output of a command ends with the command, however long that is silent.
func (p *Pipes) Kind() fdio.Kind { return fdio.FIFO }

// Ready reports whether a Read would return at once.
func (p *Pipes) Ready() bool { return p.out.Ready() }

// Write writes to the command's stdin, and drops b if nothing reads it.
func (p *Pipes) Write(b []byte) (int, error) {
	n, err := p.in.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		return len(b), nil
	}
	return n, err
}

// Feed returns a copier from c to the command's stdin, whose Close ends that
// input. Once the command and its output have ended, what c sends is dropped
// for a second, so that c is not reset before its answer has arrived. The
// copier ends in order then.
func (p *Pipes) Feed(c net.Conn, src io.Reader, filters ...copier.Filter) copier.Copier {
	go func() {
		for _, end := range []<-chan struct{}{p.Process.done, p.finished} {
			select {
			case <-end:
			case <-p.out.Interrupt.Done():
				return
			}
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
	}()
	return feeder{copier.New(p, src, filters...), p, c}
}

// A feeder is the copier of Feed.
type feeder struct {
	copier.Copier
	pipes *Pipes
	conn  net.Conn
}

// Copy returns io.EOF when the read deadline is over that Feed sets after the
// command, and clears the deadline.
func (f feeder) Copy(max int) (int, error) {
	n, err := f.Copier.Copy(max)
	if errors.Is(err, os.ErrDeadlineExceeded) && f.pipes.Process.ended() {
		_ = f.conn.SetReadDeadline(time.Time{})
		err = io.EOF
	}
	return n, err
}

// Close frees the copier and ends the command's input.
func (f feeder) Close() {
	f.Copier.Close()
	f.pipes.CloseInput()
}

// ErrTerminated is the error of a command that was terminated because it ran on
// after its conversation.
var ErrTerminated = errors.New("the command had not ended in time, and was terminated")

// Wait closes the pipes, waits for the end of the command and returns its exit
// status. gone means that the command's peer is gone: then the command is
// terminated at once. Otherwise it is terminated after the grace, with
// ErrTerminated, but only if its output has not ended. The end of ctx ends the
// wait, with its cause.
func (p *Pipes) Wait(ctx context.Context, gone bool) (status int, err error) {
	p.Close()
	select {
	case <-p.finished:
		if !gone {
			return p.Process.Wait(ctx)
		}
	default:
		if gone {
			break
		}
		late := time.NewTimer(p.Process.grace)
		defer late.Stop()
		select {
		case <-p.Process.done:
			return p.Process.status, nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-late.C:
			err = ErrTerminated
		}
	}
	p.Process.Terminate()
	return p.Process.status, err
}
