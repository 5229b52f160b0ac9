package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"purr/internal/dump"
	"purr/internal/fdio"
	"purr/internal/filter"
	"purr/internal/idle"
	"purr/internal/progress"
	"purr/internal/rate"
	"purr/internal/sys"
)

// A conversation is what conversations of every kind share: counters, progress,
// the time of the last activity, the pace of --rate and -i, and the last line
// in the log.
type conversation struct {
	t    *talker
	peer string // as messages name it; empty: a socket of datagrams with many peers
	idle.Activity
	sleep func(time.Duration) error // fails once the conversation is over

	dump           *dump.Recorder // nil: none
	sent, received volume
	progress       *progress.Transfer // nil: not shown
	inProgress     direction          // the one that progress counts
}

// A volume counts bytes, and the units that they come in: reads of a stream, or
// datagrams.
type volume struct{ bytes, units atomic.Int64 }

// newConversation returns a conversation that begins now. peer is for messages.
func newConversation(t *talker, peer string) *conversation {
	return &conversation{t: t, peer: peer, Activity: idle.Activity{Begun: time.Now()}, dump: t.dump.Recorder(peer), inProgress: inAndOut}
}

// showProgress begins to show a conversation that is not about a file, if
// --progress asks for it. size is that of stdin, -1 if unknown.
func (c *conversation) showProgress(name string, size int64) {
	if c.t.showProgress {
		c.progress = c.t.track(name, size, true)
	}
}

// countSent records n bytes that were sent in a number of units.
func (c *conversation) countSent(n, units int) {
	c.t.meter.Sent.Add(int64(n))
	c.count(&c.sent, sending, n, units)
}

// countReceived records n bytes that were received in a number of units. It
// returns errReceiveLimit once these are as many as -W allows.
func (c *conversation) countReceived(n, units int) error {
	c.t.meter.Received.Add(int64(n))
	c.count(&c.received, receiving, n, units)
	if c.t.receiveLimit > 0 && c.received.units.Load() >= int64(c.t.receiveLimit) {
		return errReceiveLimit
	}
	return nil
}

// count adds n bytes, which came in so many units (reads or datagrams), to a
// volume. The progress advances too if it shows direction d.
func (c *conversation) count(to *volume, d direction, n, units int) {
	to.bytes.Add(int64(n))
	to.units.Add(int64(units))
	if c.inProgress == d || c.inProgress == inAndOut {
		c.progress.Add(n)
	}
}

// withinLimit returns how many of n datagrams -W still lets in.
func (c *conversation) withinLimit(n int) int {
	if c.t.receiveLimit == 0 {
		return n
	}
	return int(min(int64(n), int64(c.t.receiveLimit)-c.received.units.Load()))
}

// limited returns w with the limit of --rate, or w itself without one.
func (c *conversation) limited(w io.Writer) io.Writer {
	if c.t.limit == nil {
		return w
	}
	return &rate.Writer{Writer: w, Limit: c.t.limit, Admit: c.admit}
}

// byLine returns w, which sends, with the pause of -i between two lines, or w
// itself without one. What is received is never held up.
func (c *conversation) byLine(w io.Writer) io.Writer {
	if c.t.interval == 0 {
		return w
	}
	return &filter.LineWriter{Writer: w, Pause: func() error { return c.wait(c.t.interval) }}
}

// admit waits until --rate allows n more bytes.
func (c *conversation) admit(n int) error { return c.wait(c.t.limit.Book(n)) }

// wait sleeps, and fails once the conversation is over. The sleep counts as
// activity: our own wait is not the peer's silence.
func (c *conversation) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	c.Extend(d)
	return c.sleep(d)
}

// sleepUntil returns a sleep that fails with the cause of ctx once that ends.
func sleepUntil(ctx context.Context) func(time.Duration) error {
	return func(d time.Duration) error {
		if !sys.Sleep(ctx, d) {
			return context.Cause(ctx)
		}
		return nil
	}
}

// pause waits as long as --delay puts between two reads. It fails once the
// conversation is over, and then as a read does.
func (c *conversation) pause() error {
	if err := c.wait(c.t.delay); err != nil {
		return &fdio.CopyError{Reading: true, Err: err}
	}
	return nil
}

// touchOnAck counts an acknowledgement as activity. unacked is how many bytes
// the system of an end has still to acknowledge, last that number at the call
// before, which it replaces.
func (c *conversation) touchOnAck(last *int, unacked int) {
	if unacked == *last {
		return
	}
	if *last = unacked; unacked > 0 {
		c.Touch()
	}
}

// end ends the progress display and logs the end of the conversation. reason is
// why it ended, and moved what was transferred ("echoed 3 datagrams..."); if it
// is empty, the bytes that were sent and received are.
func (c *conversation) end(reason, moved string) {
	c.progress.End() // the last line comes after the bar
	c.t.log.logDisconnect(connStats{peer: c.peer, reason: reason, sent: c.sent.bytes.Load(), received: c.received.bytes.Load(), moved: moved, begun: c.Begun})
}

// An idleError is an idle timeout that lost bytes.
type idleError struct{ error }

// idleError returns the error of bytes that the peer did not take within -w.
// unacked is how many, 0 if that is unknown.
func (c *conversation) idleError(unacked int) error {
	if unacked == 0 {
		return idleError{fmt.Errorf("send to %s: idle for %v with bytes not taken by the peer", c.peer, c.t.idleTimeout)}
	}
	return idleError{fmt.Errorf("send to %s: idle for %v with %d bytes not taken by the peer", c.peer, c.t.idleTimeout, unacked)}
}

// drain waits at most 100 ms for running goroutines to end, and drops their
// results. One that hangs in a write to a pipe which is not read only ends with
// the process.
func drain(results <-chan outcome, running int) {
	patience := time.NewTimer(100 * time.Millisecond)
	defer patience.Stop()
	for ; running > 0; running-- {
		select {
		case <-results:
		case <-patience.C:
			return
		}
	}
}
