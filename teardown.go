package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"purr/internal/fdio"
	"purr/internal/lineedit"
	"purr/internal/tlsconn"
)

// The directions of a conversation.
type direction int

const (
	sending direction = iota
	receiving
	watching    // stdout, for the end of its reader
	halfClosing // after stdin has ended
	hangup      // for the end of a connection whose peer has finished
	inAndOut    // both
)

// An outcome is how one goroutine of a conversation has ended.
type outcome struct {
	dir direction
	err error
}

// errReceiveLimit ends the receiving pump: -W.
var errReceiveLimit = errors.New("receive limit reached")

// Reasons for the end of a session.
const (
	bothFinished = "both ends finished"
	peerFinished = "the peer finished"
	interrupted  = "interrupted"
)

// lingerTime is how long the peer may take to finish once the reader of stdout
// is gone. A reader that finds the end of its input in the input, as tar does,
// leaves before the peer's FIN.
const lingerTime = time.Second

// A teardown decides when a session ends, with which result, and what becomes
// of stdin and stdout. Each method records one event and returns the next step;
// it does no I/O.
type teardown struct {
	c          *conversation
	stdinName  string // as messages name it
	stdoutName string
	stdin      fdio.Kind
	hasInput   bool // whether stdin is read

	sendOpen, receiveOpen bool
	peerFinished          bool   // whether the peer has finished in order
	done                  bool   // whether the session is over
	quitting              bool   // whether -q has expired
	reason                string // for the end, where nothing failed
	failed                error
	localFailed           bool // whether stdin or stdout failed: the connection is reset
	stdoutFailed          bool // whether a write to stdout failed
}

// A step is what follows from an event.
type step int

const (
	goOn           step = iota
	closeStdout         // end the reader of stdout
	startQuitTimer      // -q begins
	startLinger         // wait lingerTime for the peer to finish
	watchStdout         // for the end of its reader
	endInput            // end the sending pump, unless it holds bytes
)

// finish ends the session in order.
func (d *teardown) finish(reason string) step {
	d.done, d.reason = true, reason
	return goOn
}

// fail ends the session with the error of a direction, unless an earlier one
// stands. If our certificate is not accepted, sending may have failed before.
func (d *teardown) fail(o outcome) step {
	if d.failed == nil || errors.Is(o.err, tlsconn.ErrOwnCert) {
		d.failed = d.describe(o)
	}
	d.done = true
	return goOn
}

// describe returns the error of a direction with the name of the end that
// failed.
func (d *teardown) describe(o outcome) error {
	var copying *fdio.CopyError
	if !errors.As(o.err, &copying) {
		return o.err
	}
	switch {
	case o.dir == sending && copying.Reading:
		return fmt.Errorf("read from %s: %w", d.stdinName, copying)
	case o.dir == sending:
		return fmt.Errorf("send to %s: %w", d.c.peer, copying)
	case copying.Reading:
		return fmt.Errorf("receive from %s: %w", d.c.peer, copying)
	}
	d.stdoutFailed = true
	return fmt.Errorf("write to %s: %w", d.stdoutName, copying)
}

// stdinEnded records the end of the sending pump.
func (d *teardown) stdinEnded(err error) step {
	var copying *fdio.CopyError
	switch {
	case err == nil && d.c.t.listen && !d.c.t.sendOnly && d.c.sent.bytes.Load() == 0: // no input
		d.sendOpen, d.hasInput, d.reason = false, false, peerFinished
	case err == nil:
		d.sendOpen = false
		d.reason = bothFinished
		if d.c.t.sendOnly || d.c.t.quitAtOnce { // nothing else to wait for
			return d.finish("stdin finished")
		}
		if d.receiveOpen && d.c.t.quitAfter >= 0 {
			return startQuitTimer
		}
	case errors.Is(err, lineedit.ErrInterrupted):
		d.sendOpen = false
		return d.finish(interrupted)
	case errors.Is(err, lineedit.ErrQuit):
		d.sendOpen = false
		return d.finish("quit word read")
	case errors.As(err, &copying) && copying.Reading && errors.Is(err, fdio.ErrInterrupted): // by endInput
		d.sendOpen = false
		return d.finish(peerFinished)
	case errors.As(err, &copying) && copying.Reading:
		d.localFailed = true
		return d.fail(outcome{sending, err})
	default:
		// The connection is dead in both directions, but received bytes can
		// still be read; the receiving pump then ends by itself.
		if d.failed == nil {
			d.failed = d.describe(outcome{sending, err})
		}
		if d.sendOpen = false; !d.receiveOpen {
			d.done = true
		}
	}
	return goOn
}

// peerEnded records the end of the receiving pump. stdinUnused reports whether
// stdin has carried nothing and has nothing now, although the peer has sent
// something.
func (d *teardown) peerEnded(err error, stdinUnused func() bool) step {
	var copying *fdio.CopyError
	d.receiveOpen = false
	switch {
	case errors.Is(err, errReceiveLimit):
		return d.finish("receive limit reached")
	case err != nil:
		d.localFailed = errors.As(err, &copying) && !copying.Reading
		return d.fail(outcome{receiving, err})
	}
	d.peerFinished = true
	switch {
	case !d.hasInput: // the peer has finished, so a half-close does no harm
		return d.finish(peerFinished)
	case !d.sendOpen:
		return goOn
	case d.stdin == fdio.Terminal || d.stdinHasNoEnd() && stdinUnused():
		d.sendOpen = false
		return d.finish(peerFinished)
	}
	return closeStdout
}

// connBroken records the end of the wait for the connection to break, with
// AwaitBroken's error. Without one stdin has nothing that would be lost.
func (d *teardown) connBroken(err error) step {
	var errno syscall.Errno
	switch {
	case !d.sendOpen:
	case errors.As(err, &errno):
		return d.fail(outcome{sending, &fdio.CopyError{Reading: false, Err: err}})
	case err == nil:
		return endInput
	}
	return goOn
}

// stdinHasNoEnd reports whether stdin may be held open by a process that writes
// nothing: a shell, ssh, a service manager. A FIFO is named to be written to,
// and a file ends.
func (d *teardown) stdinHasNoEnd() bool {
	return d.stdin == fdio.Pipe || d.stdin == fdio.Socket || d.stdin == fdio.Other
}

// stdoutBroken records the end of the wait for the end of stdout's reader.
// unread returns the bytes that the reader has left in the pipe, -1 if unknown.
func (d *teardown) stdoutBroken(err error, unread func() int) step {
	switch {
	case !d.receiveOpen:
		return closeStdout
	case err == fdio.ErrInterrupted:
		return goOn
	case err != nil:
		d.localFailed = true
		return d.fail(outcome{watching, err})
	case d.c.t.keep || unread() != 0: // other clients may still send
		return d.readerGone()
	}
	return startLinger // the reader has all of it, unless more comes
}

// lingerExpired records that the peer has not finished within lingerTime.
// arrived reports whether bytes or the end have arrived from it, and broken
// whether stdout has no reader.
func (d *teardown) lingerExpired(arrived, broken bool) step {
	switch {
	case arrived: // the receiving pump takes it
		return goOn
	case broken:
		return d.readerGone()
	}
	return watchStdout // another process has opened the FIFO
}

// readerGone ends the session because what the peer sends has no reader.
func (d *teardown) readerGone() step {
	d.localFailed = true
	return d.fail(outcome{watching, &fdio.CopyError{Reading: false, Err: syscall.EPIPE}})
}

// idleExpired ends the session after -w. It is an error if bytes were not
// taken: by the peer, whose system has not acknowledged unacked of them, or by
// stdout.
func (d *teardown) idleExpired(unacked int, sendBlocked, receiveBlocked bool) step {
	limit := d.c.t.idleTimeout
	switch {
	case unacked > 0, sendBlocked:
		d.failed = d.c.idleError(unacked)
	case receiveBlocked:
		d.failed = idleError{fmt.Errorf("write to %s: idle for %v with bytes from %s not taken", d.stdoutName, limit, d.c.peer)}
		d.localFailed = true
	}
	return d.finish(fmt.Sprintf("idle for %v", limit))
}

// quitExpired ends the session after -q. It is an error if stdout does not take
// bytes of the peer.
func (d *teardown) quitExpired(receiveBlocked bool) step {
	d.quitting = true
	if receiveBlocked {
		d.failed = idleError{fmt.Errorf("write to %s: bytes from %s not taken %v after the end of %s", d.stdoutName, d.c.peer, d.c.t.quitAfter, d.stdinName)}
		d.localFailed = true
	}
	return d.finish(fmt.Sprintf("%v after the end of %s", d.c.t.quitAfter, d.stdinName))
}

// interruptedBy ends the session together with the run.
func (d *teardown) interruptedBy(cause error) step {
	d.failed = cause
	return d.finish(interrupted)
}

// unackedError returns the error for bytes that the peer's system has not
// acknowledged although both directions have ended; nil while it may still do
// so.
func (d *teardown) unackedError(unacked int) error {
	switch {
	case d.c.t.idleTimeout > 0 && d.c.Idle() >= d.c.t.idleTimeout:
		return d.c.idleError(unacked)
	case d.quitting:
		return idleError{fmt.Errorf("send to %s: %d bytes not taken by the peer %v after the end of %s", d.c.peer, unacked, d.c.t.quitAfter, d.stdinName)}
	}
	return nil
}

// apply calls onDone, whose result replaces the session's error. cause is set
// if the run was stopped, and is an error even if both ends had finished. A
// success that becomes an error resets the connection.
func (d *teardown) apply(onDone func(*teardown) error, cause error) {
	if d.failed == nil {
		d.failed = cause
	}
	before := d.failed
	d.failed = onDone(d)
	d.localFailed = d.localFailed || before == nil && d.failed != nil
}

// resets reports whether the connection is reset, so that a transfer which was
// cut short here does not look complete to the peer. stdout is what received
// bytes go to, if any do. What a person types and reads has no such end.
func (d *teardown) resets(stdout fdio.Kind) bool {
	cut := d.sendOpen && d.stdin != fdio.Terminal || d.receiveOpen && !d.c.t.sendOnly && stdout != fdio.Terminal
	return d.failed != nil && (cut || d.localFailed)
}

// endReason returns the reason for the log. Bytes that were lost count more
// than that both ends had finished.
func (d *teardown) endReason() string {
	if d.failed != nil && (d.reason == "" || d.reason == bothFinished || d.reason == peerFinished) {
		return "failed"
	}
	return d.reason
}
