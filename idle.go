package main

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"purr/internal/sock"
	"purr/internal/sys"
)

// This file is the one rule of every timer that can end a conversation: one
// that fires late (SIGSTOP, suspend, a busy machine), or while input is
// pending, re-arms once, so that the input is read first. All times are
// monotonic: setting the clock changes nothing.

// lateness is the most by which a timer fires late on a process that runs, and
// the time that one which was stopped gets for its pending input.
const lateness = 20 * time.Millisecond

// An idleTimer fires after a period. It belongs to one goroutine; nil never
// fires.
type idleTimer struct {
	period  time.Duration // 0: never fires
	timer   *time.Timer
	due     time.Time
	granted bool // whether it has been re-armed for pending input
}

// newIdleTimer returns a running timer. The caller stops it.
func newIdleTimer(period time.Duration) *idleTimer {
	t := &idleTimer{timer: time.NewTimer(period)}
	t.restart(period)
	return t
}

// restart begins a new period.
func (t *idleTimer) restart(period time.Duration) {
	t.period, t.granted = period, false
	if t.arm(period); period == 0 {
		t.timer.Stop()
	}
}

func (t *idleTimer) arm(d time.Duration) {
	t.due = time.Now().Add(d)
	t.timer.Reset(d)
}

func (t *idleTimer) stop() {
	if t != nil {
		t.timer.Stop()
	}
}

// fired returns the channel that expired must be called after.
func (t *idleTimer) fired() <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.timer.C
}

// expired reports whether the period is over, and re-arms the timer if it is
// not. check returns the rest of the period after later activity, and whether
// input is pending; nil stands for neither.
func (t *idleTimer) expired(check func() (left time.Duration, pending bool)) bool {
	if time.Since(t.due) > lateness {
		t.arm(lateness)
		return false
	}
	if check == nil {
		return true
	}
	left, pending := check()
	switch {
	case left > 0:
		t.granted = false
		t.arm(left)
		return false
	case pending && !t.granted:
		t.granted = true
		t.arm(t.period)
		return false
	}
	return true
}

// An idleDeadline is the idle timeout of a connection whose goroutine itself
// reads and writes. It needs no timer: 10,000 idle clients have none.
type idleDeadline struct {
	conn  net.Conn
	limit time.Duration // 0: none
}

// extend gives the next read or write the whole limit.
func (d idleDeadline) extend() {
	if d.limit > 0 {
		_ = d.conn.SetDeadline(time.Now().Add(d.limit))
	}
}

// expired reports whether a read that failed with err has waited for the whole
// limit. If input has arrived all the same, reading goes on.
func (d idleDeadline) expired(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && !sys.Arrived(sock.Under(d.conn))
}

// An activity is the time of the last activity of a conversation. Any goroutine
// may use it.
type activity struct {
	begun time.Time
	last  atomic.Int64 // since begun, in nanoseconds
}

// restart begins anew, with activity now.
func (a *activity) restart() {
	a.begun = time.Now()
	a.touch()
}

// touch records activity now.
func (a *activity) touch() { a.extend(0) }

// extend records activity that lasts until d from now.
func (a *activity) extend(d time.Duration) { a.last.Store(int64(time.Since(a.begun) + d)) }

// idle returns the time since the last activity; negative while one lasts.
func (a *activity) idle() time.Duration { return time.Since(a.begun) - time.Duration(a.last.Load()) }
