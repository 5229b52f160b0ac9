package main

import (
	"context"
	"errors"
	"time"

	"purr/internal/broadcast"
	"purr/internal/fdio"
	"purr/internal/halfclose"
	"purr/internal/idle"
	"purr/internal/sock"
	"purr/internal/sys"
)

// A supervisor waits for the events of a session and takes the steps that its
// teardown decides.
type supervisor struct {
	*session
	teardown
	results             chan outcome
	running             int  // goroutines whose outcome is still to come
	watched             bool // whether one of them waits for the end of stdout's reader
	unacked             int  // at the last check
	timer, quit, linger *idle.Timer
}

// newSupervisor returns the supervisor of a session that is about to start.
func newSupervisor(s *session) *supervisor {
	v := &supervisor{session: s, results: make(chan outcome, 6)}
	v.teardown = teardown{c: s.conversation, stdinName: s.inName, stdoutName: s.outName, hasInput: s.in != nil, sendOpen: s.in != nil, receiveOpen: true}
	if s.in != nil {
		v.stdin = s.in.Kind()
	}
	return v
}

// start starts the pumps, and the wait for the end of stdout's reader.
func (v *supervisor) start() {
	v.running++
	go v.receive(v.results)
	if v.in != nil {
		v.running++
		go v.send(v.results)
	}
	if v.out != nil && v.out.Kind().HasReader() {
		v.take(watchStdout)
	}
}

// run takes events, such as the end of a pump or of a time limit, until the
// teardown is done or both directions have ended. The end of ctx is one, too.
func (v *supervisor) run(ctx context.Context) {
	if limit := v.t.idleTimeout; limit > 0 {
		v.timer = idle.New(limit)
	}
	defer func() {
		v.timer.Stop()
		v.quit.Stop()
		v.linger.Stop()
		v.rule.Stop()
	}()
	for !v.done && (v.sendOpen || v.receiveOpen) {
		select {
		case o := <-v.results:
			v.running--
			v.take(v.ended(o))
		case <-v.timer.Fired():
			if v.timer.Expired(v.checkIdle) && !v.done {
				v.take(v.idleExpired(v.unacked, v.sendCopier != nil && v.sendCopier.Blocked(), v.receiveCopier.Blocked()))
			}
		case <-v.quit.Fired():
			if v.quit.Expired(nil) {
				v.take(v.quitExpired(v.receiveCopier.Blocked()))
			}
		case <-v.rule.Fired():
			if silence, due := v.rule.Due(v.linkState); due {
				v.halfCloseAfter(silence)
			}
		case <-v.linger.Fired():
			if v.linger.Expired(nil) {
				v.take(v.lingerExpired(v.arrived(), v.out.Broken()))
			}
		case <-ctx.Done():
			v.take(v.interruptedBy(context.Cause(ctx)))
		}
	}
}

// ended records the end of a goroutine and returns the next step. Once the peer
// has finished, it starts the wait for a broken connection, if stdin goes on.
func (v *supervisor) ended(o outcome) step {
	switch o.dir {
	case sending:
		if o.err == nil {
			v.rule.StdinEnded()
		}
		defer v.hurryPeer()
		return v.stdinEnded(o.err)
	case halfClosing:
		if o.err == nil {
			return goOn
		}
		return v.stdinEnded(o.err)
	case receiving:
		v.linger.Stop()
		v.linger = nil
		next := v.peerEnded(o.err, v.stdinUnused)
		if v.sendOpen && !v.done {
			v.background(hangup, v.awaitBroken)
		}
		return next
	case hangup:
		return v.connBroken(o.err)
	}
	v.watched = false
	return v.stdoutBroken(o.err, v.out.Unread)
}

// take carries out a step that the teardown has decided on.
func (v *supervisor) take(next step) {
	switch next {
	case startQuitTimer:
		v.quit = idle.New(v.t.quitAfter)
	case startLinger:
		v.linger = idle.New(lingerTime)
		v.hurryPeer()
	case watchStdout:
		v.watched = true
		v.background(watching, v.out.WaitBroken)
	case closeStdout:
		v.closeStdout()
	case endInput:
		v.interrupt.Fire()
	}
}

// hurryPeer half-closes, even with --no-shutdown, once stdin has ended and the
// reader of stdout is gone: no answer is left that this could cut short, and
// most peers finish then.
func (v *supervisor) hurryPeer() {
	if v.linger != nil && !v.sendOpen && !v.done && v.out.Broken() { // no other process has opened the FIFO
		v.background(halfClosing, v.halfClose)
	}
}

// background runs f in a goroutine whose end is an outcome.
func (v *supervisor) background(d direction, f func() error) {
	v.running++
	go func() { v.results <- outcome{d, f()} }()
}

// halfCloseAfter half-closes in the background. Unless silence is 0, part of
// the peer's answer may be missing: a warning names how long it was silent.
func (v *supervisor) halfCloseAfter(silence time.Duration) {
	if silence > 0 {
		v.t.log.warnf("%s: silent for %.0f s, told that nothing more comes; the rest of its answer may be missing (--no-shutdown waits)", v.peer, silence.Seconds())
	}
	v.background(halfClosing, v.halfClose)
}

// awaitBroken waits as sock.AwaitBroken does. After a result of nil it waits on
// while there is something to send: the send pump then finds the error itself.
func (v *supervisor) awaitBroken() error {
	err := sock.AwaitBroken(v.conn)
	for err == nil && (v.sendCopier.Blocked() || v.in.Ready()) {
		err = v.interrupt.Sleep(10 * time.Millisecond)
	}
	return err
}

// linkState returns the state of the connection for the half-close rule.
func (v *supervisor) linkState() halfclose.State {
	acked, rtt := sock.Delivered(v.conn)
	return halfclose.State{Acked: acked, RTT: rtt, Stalled: v.receiveCopier.Blocked(), Pending: v.arrived()}
}

// closeStdout ends the input of stdout's reader, if stdout is a pipe or socket
// of this session alone. A poll in another goroutine keeps a pipe open in the
// kernel: it is interrupted first, and its outcome leads here again.
func (v *supervisor) closeStdout() {
	if !v.ownStdout || v.out == nil || !v.out.Kind().HasReader() {
		return
	}
	if v.watched {
		v.out.Interrupt.Fire()
		return
	}
	v.out.EndReader()
}

// stdinUnused reports whether the peer has sent something while stdin has
// carried nothing, and has nothing now. If stdin is shared and the result is
// true, this session gets nothing of it from then on.
func (v *supervisor) stdinUnused() bool {
	if v.sent.bytes.Load() > 0 || v.received.bytes.Load() == 0 {
		return false
	}
	switch in := v.in.(type) {
	case *broadcast.Subscriber:
		return in.Detach()
	case *fdio.File:
		return !in.Ready() && !in.Used() // input taken between the calls shows in the second
	}
	return !v.in.Ready()
}

// checkIdle returns the rest of the idle timeout, and whether a pump has
// pending input that it has not read. Bytes that the peer's system acknowledges
// are activity. An error of the connection ends the session.
func (v *supervisor) checkIdle() (left time.Duration, pending bool) {
	unacked, err := sock.Unacked(v.conn)
	if err != nil { // reported once: to the pumps this looks like an orderly end
		v.fail(outcome{receiving, &fdio.CopyError{Reading: true, Err: err}})
		return v.t.idleTimeout, false
	}
	v.touchOnAck(&v.unacked, unacked)
	if left = v.t.idleTimeout - v.Idle(); left > 0 || unacked > 0 {
		return left, false
	}
	return left, v.receiveOpen && !v.receiveCopier.Blocked() && v.arrived() ||
		v.sendOpen && !v.sendCopier.Blocked() && v.in.Ready()
}

// arrived reports whether bytes of the peer, or its end, wait to be received.
func (v *supervisor) arrived() bool { return sys.Arrived(sock.Under(v.conn)) }

// awaitAck waits until the peer's system has acknowledged all bytes. It fails
// once -w passes without a further acknowledgement, or if -q has expired.
func (v *supervisor) awaitAck(ctx context.Context) error {
	if v.sent.bytes.Load() == 0 {
		return nil
	}
	last := 0
	err := sock.AwaitAck(v.conn, func(unacked int) error {
		v.touchOnAck(&last, unacked)
		if err := v.unackedError(unacked); err != nil {
			return err
		}
		return context.Cause(ctx)
	})
	var idle idleError
	if err == nil || errors.As(err, &idle) || ctx.Err() != nil {
		return err
	}
	return v.describe(outcome{sending, &fdio.CopyError{Reading: false, Err: err}})
}
