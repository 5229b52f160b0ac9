// Package idle holds the one rule of every timer that can end a conversation:
// one that fires late (SIGSTOP, suspend, a busy machine), or while input is
// pending, re-arms once, so that the input is read first. All times are
// monotonic: setting the clock changes nothing.
package idle

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"purr/internal/sock"
	"purr/internal/sys"
)

// lateness is the most by which a timer fires late on a process that runs, and
// the time that one which was stopped gets for its pending input.
const lateness = 20 * time.Millisecond

// A Timer fires after a period. It belongs to one goroutine; nil never
// fires.
type Timer struct {
	Period  time.Duration // as set by Restart; 0: never fires
	timer   *time.Timer
	due     time.Time
	granted bool // whether it has been re-armed for pending input
}

// New returns a running timer that fires after period; 0: never. The caller
// stops it.
func New(period time.Duration) *Timer {
	t := &Timer{timer: time.NewTimer(period)}
	t.Restart(period)
	return t
}

// Restart begins a new period; with 0 the timer never fires.
func (t *Timer) Restart(period time.Duration) {
	t.Period, t.granted = period, false
	if t.arm(period); period == 0 {
		t.timer.Stop()
	}
}

// arm makes the timer fire after d.
func (t *Timer) arm(d time.Duration) {
	t.due = time.Now().Add(d)
	t.timer.Reset(d)
}

// Stop frees the timer.
func (t *Timer) Stop() {
	if t != nil {
		t.timer.Stop()
	}
}

// Fired returns the channel that delivers when the timer has fired. The period
// may not be over then: the caller calls Expired. It is nil for a nil timer.
func (t *Timer) Fired() <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.timer.C
}

// Expired reports, after Fired has delivered, whether the period is over. If
// not, it re-arms the timer. The period is not over if the timer fired late, if
// check returns a positive rest of it, left, because there was later activity,
// or if check reports pending input for the first time. A nil check reports
// neither.
func (t *Timer) Expired(check func() (left time.Duration, pending bool)) bool {
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
		t.arm(t.Period)
		return false
	}
	return true
}

// A Deadline is the idle timeout of a connection whose goroutine itself
// reads and writes. It needs no timer: 10,000 idle clients have none.
type Deadline struct {
	conn  net.Conn
	limit time.Duration // 0: none
}

// NewDeadline returns the idle timeout of conn, which stays the caller's; a
// limit of 0 is none.
func NewDeadline(conn net.Conn, limit time.Duration) Deadline { return Deadline{conn, limit} }

// Extend gives the next read or write the whole limit.
func (d Deadline) Extend() {
	if d.limit > 0 {
		_ = d.conn.SetDeadline(time.Now().Add(d.limit))
	}
}

// Expired reports whether err, of a read, means that the read has waited for
// the whole limit. It is false if input has arrived all the same: the caller
// extends the deadline and reads on.
func (d Deadline) Expired(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && !sys.Arrived(sock.Under(d.conn))
}

// An Activity is the time of the last activity of a conversation. Any goroutine
// may use it.
type Activity struct {
	Begun time.Time
	last  atomic.Int64 // since begun, in nanoseconds
}

// Restart begins anew, with activity now.
func (a *Activity) Restart() {
	a.Begun = time.Now()
	a.Touch()
}

// Touch records activity now.
func (a *Activity) Touch() { a.Extend(0) }

// Extend records activity that lasts until d from now.
func (a *Activity) Extend(d time.Duration) { a.last.Store(int64(time.Since(a.Begun) + d)) }

// Idle returns the time since the last activity; negative while one lasts.
func (a *Activity) Idle() time.Duration { return time.Since(a.Begun) - time.Duration(a.last.Load()) }
