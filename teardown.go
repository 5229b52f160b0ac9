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
	inputEnd              time.Time // of stdin, without an error
	peerFinished          bool      // whether the peer has finished in order
	done                  bool      // whether the session is over
	quitting              bool      // whether -q has expired
	reason                string    // for the end, where nothing failed
	failed                error
	localFailed           bool // whether stdin or stdout failed: the connection is reset
	silent                bool // whether failed is silence without a loss, which a FIN ends
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

// finish ends the session in order, for a reason that the log names.
func (d *teardown) finish(reason string) step {
	d.done, d.reason = true, reason
	return goOn
}

// fail ends the session with the error of o. An earlier error stays, unless o
// has ErrOwnCert: if the peer refuses our certificate, sending may fail first.
func (d *teardown) fail(o outcome) step {
	if d.failed == nil || errors.Is(o.err, tlsconn.ErrOwnCert) {
		d.failed = d.describe(o)
	}
	d.done = true
	return goOn
}

// describe returns the error of o with the name of the end that failed. For a
// failed write to stdout it sets stdoutFailed.
func (d *teardown) describe(o outcome) error {
	var copying *fdio.CopyError
	if !errors.As(o.err, &copying) {
		return o.err
	}
	switch {
	case o.dir == sending && copying.Reading:
		return localError{fmt.Errorf("read from %s: %w", d.stdinName, copying)}
	case o.dir == sending:
		return fmt.Errorf("send to %s: %w", d.c.peer, copying)
	case copying.Reading:
		return fmt.Errorf("receive from %s: %w", d.c.peer, copying)
	}
	d.stdoutFailed = true
	return localError{fmt.Errorf("write to %s: %w", d.stdoutName, copying)}
}

// stdinEnded records the end of the sending pump. If the connection failed,
// received bytes are still read.
func (d *teardown) stdinEnded(err error) step {
	var copying *fdio.CopyError
	switch {
	case err == nil && d.c.t.listen && !d.c.t.sendOnly && d.c.sent.bytes.Load() == 0: // no input
		d.sendOpen, d.hasInput, d.reason = false, false, peerFinished
	case err == nil:
		d.sendOpen, d.inputEnd = false, time.Now()
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

// peerEnded records the end of the receiving pump. After the peer's orderly end
// the session ends, too, unless stdin may have more to send: a file, a FIFO, or
// a stdin for which stdinUnused returns false. stdinUnused reports whether
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
	case d.c.t.stays: // also under a terminal
	case d.stdin == fdio.Terminal || d.stdinHasNoEnd() && stdinUnused():
		d.sendOpen = false
		return d.finish(peerFinished)
	}
	return closeStdout
}

// connBroken records the end of awaitBroken, with its error. A system error
// fails the session. nil ends the sending pump, because stdin has nothing that
// would be lost. Any other error changes nothing.
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
// unread returns the bytes left in the pipe, -1 if unknown. If there are none,
// and without -k, the peer has lingerTime to finish; else the session fails.
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

// readerGone fails the session: what the peer sends has no reader.
func (d *teardown) readerGone() step {
	d.localFailed = true
	return d.fail(outcome{watching, &fdio.CopyError{Reading: false, Err: syscall.EPIPE}})
}

// idleExpired ends the session after -w. It is an error if bytes were not
// taken: by the peer, if unacked of them are not acknowledged or the sending
// pump is blocked, or by stdout, if the receiving pump is.
func (d *teardown) idleExpired(unacked int, sendBlocked, receiveBlocked bool) step {
	limit := d.c.t.idleTimeout
	switch {
	case unacked > 0, sendBlocked:
		d.failed = d.c.idleError(unacked)
	case receiveBlocked:
		d.failed = idleError{fmt.Errorf("write to %s: idle for %v with bytes from %s not taken", d.stdoutName, limit, d.c.peer)}
		d.localFailed = true
	case d.c.t.idleFails:
		d.failed, d.silent = idleError{fmt.Errorf("%s: idle for %v", d.c.peer, limit)}, true
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

// unackedError returns the error for bytes that are not acknowledged once -w or
// -q has expired. Before that it returns nil: the peer's system may still
// acknowledge them. Both directions have ended.
func (d *teardown) unackedError(unacked int) error {
	switch {
	case d.c.t.idleTimeout > 0 && d.c.Idle() >= d.c.t.idleTimeout:
		return d.c.idleError(unacked)
	case d.quitting:
		return idleError{fmt.Errorf("send to %s: %d bytes not taken by the peer %v after the end of %s", d.c.peer, unacked, d.c.t.quitAfter, d.stdinName)}
	}
	return nil
}

// apply replaces the session's error by the result of onDone. cause is why the
// run was stopped, or nil. onDone finds it in failed, unless another error is
// there. A success that becomes an error resets the connection.
func (d *teardown) apply(onDone func(*teardown) error, cause error) {
	if d.failed == nil {
		d.failed = cause
	}
	before := d.failed
	d.failed = onDone(d)
	d.localFailed = d.localFailed || before == nil && d.failed != nil
}

// resets reports whether the connection is reset, so that a transfer which was
// cut short here does not look complete to the peer. stdout is where received
// bytes go. Input and output of a terminal have no fixed end: they cannot be
// cut short, and neither can a signal cut what a peer that only receives sends.
func (d *teardown) resets(stdout fdio.Kind) bool {
	// The signal may have ended the writer of a pipe first, in the middle of it.
	settled := d.stdin == fdio.Regular || time.Since(d.inputEnd) > 100*time.Millisecond
	receiver := d.reason == interrupted && settled && d.c.sent.bytes.Load() > 0 && d.c.received.bytes.Load() == 0 // the peer
	cut := d.sendOpen && d.stdin != fdio.Terminal || d.receiveOpen && !d.c.t.sendOnly && stdout != fdio.Terminal && !receiver
	return d.failed != nil && (cut && !d.silent || d.localFailed)
}

// endReason returns the reason for the log: "failed" in place of an orderly end
// if the session has an error.
func (d *teardown) endReason() string {
	if d.failed != nil && (d.reason == "" || d.reason == bothFinished || d.reason == peerFinished) {
		return "failed"
	}
	return d.reason
}
