package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"purr/internal/fdio"
	"purr/internal/lineedit"
	"purr/internal/sock"
	"purr/internal/sys"
)

// An ending watches a session until it is over and knows why it ended.
type ending struct {
	*session
	results               chan outcome
	sendOpen, receiveOpen bool
	running               int  // goroutines whose outcome is still to come
	watched               bool // whether somebody waits for the end of stdout's reader
	stopped               bool
	why                   string // for -v, where nothing failed
	failed                error
	stdioFailed           bool             // stdin or stdout failed: the peer must be told by a reset
	peerEnded             bool             // whether the peer has ended in order
	overdue               int64            // when bytes had last moved as an idle timeout found some that were not taken
	quit                  *alarmClock      // set by -q at the end of stdin
	unheard               <-chan time.Time // set when stdout's reader is gone: until then the peer may end in order
}

// lastWord is how long a peer may take to say that its last byte was the last,
// once nobody reads stdout any more. A reader that knows the end of its input by
// what it reads, as tar does, leaves before that.
const lastWord = time.Second

// An alarmClock is a timer that knows when it was to ring. A process that was
// held up finds bytes and the end of its patience together, and whoever ends it
// then loses what the pumps have not come to.
type alarmClock struct {
	timer *time.Timer
	due   time.Time
}

// tardy is how late a timer can be though nothing was held up, and how long
// whoever was gets to catch up.
const tardy = 20 * time.Millisecond

func newAlarmClock(d time.Duration) *alarmClock {
	return &alarmClock{time.NewTimer(d), time.Now().Add(d)}
}

func (c *alarmClock) set(d time.Duration) {
	c.timer.Reset(d)
	c.due = time.Now().Add(d)
}

// rings is when the time has come; never for nil.
func (c *alarmClock) rings() <-chan time.Time {
	if c == nil {
		return nil
	}
	return c.timer.C
}

// over reports, when it has rung, whether the time is over. If it rang much later
// than it was set for it is not: it is set once more, and the pumps come first.
func (c *alarmClock) over() bool {
	if time.Since(c.due) <= tardy {
		return true
	}
	c.set(tardy)
	return false
}

// Why a session ended; interrupted if it was stopped from outside.
const (
	bothFinished = "both ends finished"
	peerFinished = "the peer finished"
	interrupted  = "interrupted"
)

// run returns when both directions have ended, or one has failed, or a limit
// is reached.
func (e *ending) run(ctx context.Context) {
	var idle *alarmClock
	if e.p.cfg.idleTimeout > 0 {
		idle = newAlarmClock(e.p.cfg.idleTimeout)
		defer idle.timer.Stop()
	}
	unacked := 0
	for !e.stopped && (e.sendOpen || e.receiveOpen) {
		select {
		case o := <-e.results:
			e.take(o)
		case <-idle.rings():
			if idle.over() {
				idle.set(e.checkIdle(&unacked))
			}
		case <-e.quit.rings():
			if !e.quit.over() {
				continue
			}
			if e.quitting = true; e.receiveWay.Blocked() {
				e.failed = idleError{fmt.Errorf("write to %s: bytes from %s not taken %v after the end of %s", e.outName, e.peer, e.p.cfg.quitAfter, e.inName)}
				e.stdioFailed = true
			}
			e.stop(fmt.Sprintf("%v after the end of %s", e.p.cfg.quitAfter, e.inName))
		case <-e.unheard:
			e.takeSilence()
		case <-ctx.Done():
			e.failed = context.Cause(ctx)
			e.stop(interrupted)
		}
	}
}

func (e *ending) stop(why string) {
	e.stopped, e.why = true, why
}

// take books the end of one goroutine.
func (e *ending) take(o outcome) {
	e.running--
	switch o.dir {
	case watching:
		e.watched = false
		switch {
		case !e.receiveOpen:
			e.closeStdout()
		case o.err == fdio.ErrInterrupted:
		case o.err != nil:
			e.stdioFailed = true
			e.stopWith(o)
		case e.out.Unread() != 0, e.p.cfg.keep: // or not known; others will want to write
			e.readerGone()
		default: // it had everything so far; the next byte will tell if it is not the end
			e.unheard = time.After(lastWord)
		}
	case sending:
		e.takeSending(o)
	case receiving:
		e.takeReceiving(o)
	}
}

// takeSending books the end of stdin.
func (e *ending) takeSending(o outcome) {
	var move *fdio.CopyError
	switch {
	case o.err == nil:
		e.sendOpen = false
		e.why = bothFinished
		if e.out == nil { // --send-only: nothing else to wait for
			e.stop("stdin finished")
		} else if e.receiveOpen && e.p.cfg.quitAfter >= 0 {
			e.quit = newAlarmClock(e.p.cfg.quitAfter)
		}
	case errors.Is(o.err, lineedit.ErrQuit):
		e.sendOpen = false
		e.stop("quit word read")
	case errors.As(o.err, &move) && move.Reading:
		e.stdioFailed = true
		e.stopWith(o)
	default:
		// The connection is dead for writing and so for reading, but what the
		// peer said before can still be read: that ends by itself.
		if e.failed == nil {
			e.failed = e.fail(o)
		}
		if e.sendOpen = false; !e.receiveOpen {
			e.stopped = true
		}
	}
}

// takeReceiving books the end of the peer.
func (e *ending) takeReceiving(o outcome) {
	var move *fdio.CopyError
	switch {
	case o.err == nil:
		e.receiveOpen, e.peerEnded, e.unheard = false, true, nil
		if e.afterPeer(); !e.stopped && e.sendOpen {
			e.closeStdout()
		}
	case errors.Is(o.err, errReceiveLimit):
		e.receiveOpen = false
		e.stop("receive limit reached")
	default:
		e.receiveOpen = false
		e.stdioFailed = errors.As(o.err, &move) && !move.Reading
		e.stopWith(o)
	}
}

// afterPeer decides what becomes of stdin when the peer will send no more.
// What stdin still holds is sent on; a session ends only where nothing can be
// lost by it.
func (e *ending) afterPeer() {
	if e.in == nil {
		// Nothing was to be sent; now that the peer knows no more than that
		// either, it may have our half-close.
		e.stop(peerFinished)
		return
	}
	if !e.sendOpen {
		return
	}
	switch e.in.Kind() {
	case fdio.Terminal:
		e.sendOpen = false
		e.stop(peerFinished)
	case fdio.Pipe, fdio.Socket, fdio.Other:
		// It may only be held open by somebody who has nothing to say: a
		// shell, ssh, a service manager. If it carried something, or has
		// something now, or the peer came only to receive, it goes on.
		if e.sent.Load() == 0 && e.received.Load() > 0 && e.nothingWaits() {
			e.sendOpen = false
			e.stop(peerFinished)
		}
	}
}

// closeStdout ends what reads our stdout from a pipe. While somebody polls the
// pipe the kernel keeps it open, so that must end first; its outcome brings us
// here again.
func (e *ending) closeStdout() {
	if !e.only || e.out == nil || e.out.Kind() != fdio.Pipe && e.out.Kind() != fdio.FIFO {
		return
	}
	if e.watched {
		e.out.Interrupt.Fire()
		return
	}
	_ = e.out.File.Close()
}

// nothingWaits reports whether stdin has nothing to send just now, and nothing
// of it is on its way. A share of it gets nothing from then on.
func (e *ending) nothingWaits() bool {
	switch in := e.in.(type) {
	case *share:
		return in.retire()
	case *fdio.File:
		return !in.Used() && !in.Ready()
	}
	return !e.in.Ready()
}

// stopWith ends the session with the error of a direction.
func (e *ending) stopWith(o outcome) {
	if e.failed == nil {
		e.failed = e.fail(o)
	}
	e.stopped = true
}

// takeSilence decides what becomes of a session whose peer has not ended within
// lastWord after stdout's reader was gone.
func (e *ending) takeSilence() {
	e.unheard = nil
	switch {
	case sys.Arrived(sock.Under(e.conn)): // the end or a byte, which cannot be written: the pump will tell
	case e.out.Broken():
		e.readerGone()
	default: // a FIFO has another reader
		e.running++
		e.watched = true
		go e.watchStdout(e.results)
	}
}

// readerGone ends the session because nobody will read what the peer has still
// to say.
func (e *ending) readerGone() {
	e.stdioFailed = true
	e.stopWith(outcome{watching, &fdio.CopyError{Reading: false, Err: syscall.EPIPE}})
}

// checkIdle returns how long to wait for the next check. It ends the session
// if nothing has moved for the idle timeout. Bytes that the peer's system
// acknowledges are activity, though nothing moves here meanwhile.
func (e *ending) checkIdle(unacked *int) time.Duration {
	limit := e.p.cfg.idleTimeout
	now, err := sock.Unacked(e.conn)
	if err != nil { // told only once: the pumps would take it for an orderly end
		e.stopWith(outcome{receiving, &fdio.CopyError{Reading: true, Err: err}})
		return limit
	}
	if now != *unacked {
		*unacked = now
		if now > 0 {
			e.touch()
		}
	}
	if left := limit - e.idleFor(); left > 0 {
		return left
	}
	if now == 0 && e.notTaken() && e.overdue != e.active.Load() {
		e.overdue = e.active.Load()
		return limit
	}
	switch {
	case now > 0:
		e.failed = e.idleError(now)
	case e.sendWay != nil && e.sendWay.Blocked():
		e.failed = idleError{fmt.Errorf("send to %s: idle for %v with bytes not taken by the peer", e.peer, limit)}
	case e.receiveWay.Blocked():
		e.failed = idleError{fmt.Errorf("write to %s: idle for %v with bytes from %s not taken", e.outName, limit, e.peer)}
		e.stdioFailed = true
	}
	e.stop(fmt.Sprintf("idle for %v", limit))
	return limit
}

// notTaken reports whether something is there that a pump has not come to yet. A
// process that was held up finds that and the end of the idle timeout together;
// the pumps get as long again then.
func (e *ending) notTaken() bool {
	return e.receiveOpen && !e.receiveWay.Blocked() && sys.Arrived(sock.Under(e.conn)) ||
		e.sendOpen && !e.sendWay.Blocked() && e.in.Ready()
}

// concludeWith lets the session's own conclusion stand. A run that was stopped
// meanwhile has failed, also where both ends had finished.
func (e *ending) concludeWith(ctx context.Context) {
	if e.failed == nil {
		e.failed = context.Cause(ctx)
	}
	before := e.failed
	e.failed = e.conclude(e)
	e.stdioFailed = e.stdioFailed || before == nil && e.failed != nil
}

// how names the ending for -v. That both ends had finished does not count where
// it then turned out that something was lost.
func (e *ending) how() string {
	if e.failed != nil && (e.why == "" || e.why == bothFinished || e.why == peerFinished) {
		return "failed"
	}
	return e.why
}

// waitForPumps waits until the goroutines of the session have ended. One that
// is stuck in a write to a pipe nobody reads is left to the end of the
// process.
func (e *ending) waitForPumps() {
	patience := time.NewTimer(100 * time.Millisecond)
	defer patience.Stop()
	for ; e.running > 0; e.running-- {
		select {
		case <-e.results:
		case <-patience.C:
			return
		}
	}
}
