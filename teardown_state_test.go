package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"purr/internal/copier"
	"purr/internal/fdio"
	"purr/internal/halfclose"
	"purr/internal/lineedit"
)

// testTeardown returns the teardown of a session whose both directions are
// open.
func testTeardown(o talkOptions, stdin fdio.Kind) *teardown {
	return &teardown{c: newConversation(&talker{talkOptions: o}, "PEER"), stdinName: "stdin", stdoutName: "stdout",
		stdin: stdin, hasInput: true, sendOpen: true, receiveOpen: true}
}

// The result of each event.
func TestTeardown(t *testing.T) {
	t.Parallel()
	broken := &fdio.CopyError{Reading: false, Err: syscall.EPIPE}
	unread := &fdio.CopyError{Reading: true, Err: syscall.EIO}
	yes, no := func() bool { return true }, func() bool { return false }
	none, five, unknown := func() int { return 0 }, func() int { return 5 }, func() int { return -1 }
	options := talkOptions{quitAfter: -1, idleTimeout: 3 * time.Second}
	type result struct {
		next    step
		done    bool
		reason  string // of the log
		failed  string // the error; empty: none
		resets  bool   // whether the connection is reset
		sending bool   // whether stdin is still open
	}
	for _, test := range []struct {
		name    string
		options func(*talkOptions)
		stdin   fdio.Kind
		before  func(*teardown)
		event   func(*teardown) step
		want    result
	}{
		{name: "stdin ends", event: func(d *teardown) step { return d.stdinEnded(nil) },
			want: result{reason: bothFinished}},
		{name: "stdin ends, -q", options: func(o *talkOptions) { o.quitAfter = time.Second }, event: func(d *teardown) step { return d.stdinEnded(nil) },
			want: result{next: startQuitTimer, reason: bothFinished}},
		{name: "stdin ends after the peer, -q", options: func(o *talkOptions) { o.quitAfter = time.Second }, before: func(d *teardown) { d.receiveOpen = false },
			event: func(d *teardown) step { return d.stdinEnded(nil) }, want: result{reason: bothFinished}},
		{name: "stdin ends, --send-only", options: func(o *talkOptions) { o.sendOnly = true }, event: func(d *teardown) step { return d.stdinEnded(nil) },
			want: result{done: true, reason: "stdin finished"}},
		{name: "Ctrl-C", event: func(d *teardown) step { return d.stdinEnded(lineedit.ErrInterrupted) },
			want: result{done: true, reason: "interrupted"}},
		{name: "the quit word", event: func(d *teardown) step { return d.stdinEnded(lineedit.ErrQuit) },
			want: result{done: true, reason: "quit word read"}},
		{name: "stdin fails", event: func(d *teardown) step { return d.stdinEnded(unread) },
			want: result{done: true, reason: "failed", failed: "read from stdin: input/output error", resets: true, sending: true}},
		{name: "a send fails: received bytes come first", event: func(d *teardown) step { return d.stdinEnded(broken) },
			want: result{reason: "failed", failed: "send to PEER: broken pipe", resets: true}},
		{name: "a send fails after the peer's end", before: func(d *teardown) { d.receiveOpen = false }, event: func(d *teardown) step { return d.stdinEnded(broken) },
			want: result{done: true, reason: "failed", failed: "send to PEER: broken pipe"}},
		{name: "the first error stands", before: func(d *teardown) { d.stdinEnded(broken) }, event: func(d *teardown) step { return d.peerEnded(unread, no) },
			want: result{done: true, reason: "failed", failed: "send to PEER: broken pipe"}},

		{name: "the peer finishes, a file goes on", stdin: fdio.Regular, event: func(d *teardown) step { return d.peerEnded(nil, yes) },
			want: result{next: closeStdout, sending: true}},
		{name: "the peer finishes, a FIFO goes on", stdin: fdio.FIFO, event: func(d *teardown) step { return d.peerEnded(nil, yes) },
			want: result{next: closeStdout, sending: true}},
		{name: "the peer finishes, a used pipe goes on", stdin: fdio.Pipe, event: func(d *teardown) step { return d.peerEnded(nil, no) },
			want: result{next: closeStdout, sending: true}},
		{name: "the peer finishes, a silent pipe ends", stdin: fdio.Pipe, event: func(d *teardown) step { return d.peerEnded(nil, yes) },
			want: result{done: true, reason: peerFinished}},
		{name: "the peer finishes, a silent socket ends", stdin: fdio.Socket, event: func(d *teardown) step { return d.peerEnded(nil, yes) },
			want: result{done: true, reason: peerFinished}},
		{name: "the peer finishes, a terminal ends", stdin: fdio.Terminal, event: func(d *teardown) step { return d.peerEnded(nil, no) },
			want: result{done: true, reason: peerFinished}},
		{name: "the peer finishes, no input", before: func(d *teardown) { d.hasInput, d.sendOpen = false, false }, event: func(d *teardown) step { return d.peerEnded(nil, no) },
			want: result{done: true, reason: peerFinished}},
		{name: "the peer finishes after stdin", before: func(d *teardown) { d.stdinEnded(nil) }, event: func(d *teardown) step { return d.peerEnded(nil, no) },
			want: result{reason: bothFinished}},
		{name: "a listener's stdin ends without a byte, -q", options: func(o *talkOptions) { o.quitAfter = time.Second }, before: func(d *teardown) { d.c.t.listen = true },
			event: func(d *teardown) step { return d.stdinEnded(nil) }, want: result{reason: peerFinished}},
		{name: "a listener's stdin ends, -q", options: func(o *talkOptions) { o.quitAfter = time.Second }, before: func(d *teardown) { d.c.t.listen = true; d.c.sent.bytes.Add(1) },
			event: func(d *teardown) step { return d.stdinEnded(nil) }, want: result{next: startQuitTimer, reason: bothFinished}},
		{name: "a finished peer resets", stdin: fdio.Pipe, before: func(d *teardown) { d.peerEnded(nil, no) }, event: func(d *teardown) step { return d.connBroken(syscall.ECONNRESET) },
			want: result{done: true, reason: "failed", failed: "send to PEER: connection reset by peer", resets: true, sending: true}},
		{name: "a finished peer is gone", stdin: fdio.Pipe, before: func(d *teardown) { d.peerEnded(nil, no) }, event: func(d *teardown) step { return d.connBroken(nil) },
			want: result{next: endInput, sending: true}},
		{name: "and nothing was unsent", stdin: fdio.Pipe, before: func(d *teardown) { d.peerEnded(nil, no); d.connBroken(nil) },
			event: func(d *teardown) step {
				return d.stdinEnded(&fdio.CopyError{Reading: true, Err: fdio.ErrInterrupted})
			},
			want: result{done: true, reason: peerFinished}},
		{name: "a finished peer is gone after stdin", stdin: fdio.Pipe, before: func(d *teardown) { d.peerEnded(nil, no); d.stdinEnded(nil) }, event: func(d *teardown) step { return d.connBroken(nil) },
			want: result{reason: bothFinished}},
		{name: "the wait for the connection ends with it", stdin: fdio.Pipe, before: func(d *teardown) { d.peerEnded(nil, no) }, event: func(d *teardown) step { return d.connBroken(net.ErrClosed) },
			want: result{sending: true}},
		{name: "-W", event: func(d *teardown) step { return d.peerEnded(errReceiveLimit, no) },
			want: result{done: true, reason: "receive limit reached", sending: true}},
		{name: "a receive fails", event: func(d *teardown) step { return d.peerEnded(unread, no) },
			want: result{done: true, reason: "failed", failed: "receive from PEER: input/output error", resets: true, sending: true}},
		{name: "a receive fails, all typed", stdin: fdio.Terminal, event: func(d *teardown) step { return d.peerEnded(unread, no) },
			want: result{done: true, reason: "failed", failed: "receive from PEER: input/output error", sending: true}},
		{name: "stdout fails", stdin: fdio.Terminal, event: func(d *teardown) step { return d.peerEnded(broken, no) },
			want: result{done: true, reason: "failed", failed: "write to stdout: broken pipe", resets: true, sending: true}},

		{name: "stdout's reader goes with unread bytes", event: func(d *teardown) step { return d.stdoutBroken(nil, five) },
			want: result{done: true, reason: "failed", failed: "write to stdout: broken pipe", resets: true, sending: true}},
		{name: "stdout's reader goes, unread unknown", event: func(d *teardown) step { return d.stdoutBroken(nil, unknown) },
			want: result{done: true, reason: "failed", failed: "write to stdout: broken pipe", resets: true, sending: true}},
		{name: "stdout's reader goes with all of it", event: func(d *teardown) step { return d.stdoutBroken(nil, none) },
			want: result{next: startLinger, sending: true}},
		{name: "stdout's reader goes, poll fails", event: func(d *teardown) step { return d.stdoutBroken(syscall.ENOMEM, none) },
			want: result{done: true, reason: "failed", failed: syscall.ENOMEM.Error(), resets: true, sending: true}},
		{name: "the wait for stdout's reader is interrupted", event: func(d *teardown) step { return d.stdoutBroken(fdio.ErrInterrupted, none) },
			want: result{sending: true}},
		{name: "the same to close it", before: func(d *teardown) { d.receiveOpen = false }, event: func(d *teardown) step { return d.stdoutBroken(fdio.ErrInterrupted, none) },
			want: result{next: closeStdout, sending: true}},
		{name: "no end within lingerTime", event: func(d *teardown) step { return d.lingerExpired(false, true) },
			want: result{done: true, reason: "failed", failed: "write to stdout: broken pipe", resets: true, sending: true}},
		{name: "it has just arrived", event: func(d *teardown) step { return d.lingerExpired(true, true) },
			want: result{sending: true}},
		{name: "the FIFO has another reader", event: func(d *teardown) step { return d.lingerExpired(false, false) },
			want: result{next: watchStdout, sending: true}},

		{name: "idle", event: func(d *teardown) step { return d.idleExpired(0, false, false) },
			want: result{done: true, reason: "idle for 3s", sending: true}},
		{name: "idle, not acknowledged", event: func(d *teardown) step { return d.idleExpired(7, false, false) },
			want: result{done: true, reason: "idle for 3s", failed: "send to PEER: idle for 3s with 7 bytes not taken by the peer", resets: true, sending: true}},
		{name: "idle, not sent", event: func(d *teardown) step { return d.idleExpired(0, true, false) },
			want: result{done: true, reason: "idle for 3s", failed: "send to PEER: idle for 3s with bytes not taken by the peer", resets: true, sending: true}},
		{name: "idle, not printed", stdin: fdio.Terminal, event: func(d *teardown) step { return d.idleExpired(0, false, true) },
			want: result{done: true, reason: "idle for 3s", failed: "write to stdout: idle for 3s with bytes from PEER not taken", resets: true, sending: true}},
		{name: "-q expires", options: func(o *talkOptions) { o.quitAfter = time.Second }, before: func(d *teardown) { d.stdinEnded(nil) },
			event: func(d *teardown) step { return d.quitExpired(false) }, want: result{done: true, reason: "1s after the end of stdin"}},
		{name: "-q expires, not printed", options: func(o *talkOptions) { o.quitAfter = time.Second }, before: func(d *teardown) { d.stdinEnded(nil) },
			event: func(d *teardown) step { return d.quitExpired(true) },
			want:  result{done: true, reason: "1s after the end of stdin", failed: "write to stdout: bytes from PEER not taken 1s after the end of stdin", resets: true}},
		{name: "the run ends", event: func(d *teardown) step { return d.interruptedBy(errors.New("ended by signal")) },
			want: result{done: true, reason: interrupted, failed: "ended by signal", resets: true, sending: true}},
		{name: "the run ends, a file is sent and nothing came", stdin: fdio.Regular, before: func(d *teardown) { d.c.sent.bytes.Store(5); d.stdinEnded(nil) },
			event: func(d *teardown) step { return d.interruptedBy(errors.New("ended by signal")) },
			want:  result{done: true, reason: interrupted, failed: "ended by signal"}},
		{name: "the run ends long after a pipe, and nothing came", stdin: fdio.Pipe, before: func(d *teardown) {
			d.c.sent.bytes.Store(5)
			d.stdinEnded(nil)
			d.inputEnd = d.inputEnd.Add(-time.Minute)
		},
			event: func(d *teardown) step { return d.interruptedBy(errors.New("ended by signal")) },
			want:  result{done: true, reason: interrupted, failed: "ended by signal"}},
		{name: "the run ends together with the writer of a pipe", stdin: fdio.Pipe, before: func(d *teardown) {
			d.c.sent.bytes.Store(5)
			d.stdinEnded(nil)
			d.inputEnd = d.inputEnd.Add(time.Minute) // the test may be slow
		},
			event: func(d *teardown) step { return d.interruptedBy(errors.New("ended by signal")) },
			want:  result{done: true, reason: interrupted, failed: "ended by signal", resets: true}},
		{name: "the run ends, stdin is sent and something came", before: func(d *teardown) { d.c.sent.bytes.Store(5); d.c.received.bytes.Store(1); d.stdinEnded(nil) },
			event: func(d *teardown) step { return d.interruptedBy(errors.New("ended by signal")) },
			want:  result{done: true, reason: interrupted, failed: "ended by signal", resets: true}},
		{name: "the run ends, stdin goes on and nothing came", before: func(d *teardown) { d.c.sent.bytes.Store(5) },
			event: func(d *teardown) step { return d.interruptedBy(errors.New("ended by signal")) },
			want:  result{done: true, reason: interrupted, failed: "ended by signal", resets: true, sending: true}},
		{name: "the run ends, nothing was sent", before: func(d *teardown) { d.stdinEnded(nil) },
			event: func(d *teardown) step { return d.interruptedBy(errors.New("ended by signal")) },
			want:  result{done: true, reason: interrupted, failed: "ended by signal", resets: true}},
		{name: "a success that onDone makes an error", before: func(d *teardown) { d.stdinEnded(nil); d.peerEnded(nil, no) },
			event: func(d *teardown) step {
				d.apply(func(*teardown) error { return errors.New("not stored") }, nil)
				return goOn
			},
			want: result{reason: "failed", failed: "not stored", resets: true}},
		{name: "an error that onDone describes", before: func(d *teardown) { d.stdinEnded(nil); d.peerEnded(unread, no) },
			event: func(d *teardown) step {
				d.apply(func(d *teardown) error { return errors.New("more: " + d.failed.Error()) }, nil)
				return goOn
			},
			want: result{done: true, reason: "failed", failed: "more: receive from PEER: input/output error"}},
		{name: "the run ends after both", before: func(d *teardown) { d.stdinEnded(nil); d.peerEnded(nil, no) },
			event: func(d *teardown) step {
				d.apply(func(d *teardown) error { return d.failed }, errors.New("ended by signal"))
				return goOn
			},
			want: result{reason: "failed", failed: "ended by signal"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := options
			if test.options != nil {
				test.options(&o)
			}
			d := testTeardown(o, test.stdin)
			if test.before != nil {
				test.before(d)
			}
			got := result{next: test.event(d), done: d.done, reason: d.endReason(), resets: d.resets(fdio.Pipe), sending: d.sendOpen}
			if d.failed != nil {
				got.failed = d.failed.Error()
			}
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

// Bytes that are not acknowledged after the end are waited for as long as -w
// and -q allow.
func TestTeardownUnacked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := testTeardown(talkOptions{quitAfter: -1, idleTimeout: 3 * time.Second}, fdio.Regular)
		if err := d.unackedError(5); err != nil {
			t.Error(err)
		}
		time.Sleep(3 * time.Second)
		if err := d.unackedError(5); err == nil || !strings.Contains(err.Error(), "idle for 3s with 5 bytes not taken") {
			t.Errorf("got %v", err)
		}
		d.c.Touch()
		if err := d.unackedError(5); err != nil {
			t.Error(err)
		}
		d.quitting = true
		if err := d.unackedError(5); err == nil || !strings.Contains(err.Error(), "5 bytes not taken by the peer") {
			t.Errorf("got %v", err)
		}
	})
}

// A fakeSource is a stdin of some kind.
type fakeSource struct {
	kind  fdio.Kind
	ready bool
}

func (s *fakeSource) Read([]byte) (int, error) { return 0, io.EOF }
func (s *fakeSource) Kind() fdio.Kind          { return s.kind }
func (s *fakeSource) Ready() bool              { return s.ready }

// A fakeCopier is a pump that blocks, or not.
type fakeCopier struct {
	copier.Copier
	blocked bool
}

func (c *fakeCopier) Blocked() bool { return c.blocked }

// The timers of a session, in a time of their own.
func TestSupervisorTimers(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	const w = 5 * time.Second
	for _, test := range []struct {
		name    string
		options talkOptions
		ready   bool                // whether stdin has input that is not read
		events  func(v *supervisor) // in a goroutine of its own
		ends    time.Duration
		reason  string
	}{
		{"-w", talkOptions{idleTimeout: w, quitAfter: -1}, false, func(*supervisor) {}, w, "idle for 5s"},
		{"-w after activity", talkOptions{idleTimeout: w, quitAfter: -1}, false, func(v *supervisor) {
			time.Sleep(3 * time.Second)
			v.Touch()
		}, 3*time.Second + w, "idle for 5s"},
		{"-w during a wait of -i", talkOptions{idleTimeout: w, quitAfter: -1}, false, func(v *supervisor) {
			v.sleep = func(d time.Duration) error { time.Sleep(d); return nil }
			_ = v.wait(time.Minute)
		}, time.Minute + w, "idle for 5s"},
		{"-w with pending input", talkOptions{idleTimeout: w, quitAfter: -1}, true, func(*supervisor) {}, 2 * w, "idle for 5s"},
		{"-q", talkOptions{quitAfter: 2 * time.Second}, false, func(v *supervisor) {
			time.Sleep(time.Second)
			v.results <- outcome{sending, nil}
		}, 3 * time.Second, "2s after the end of stdin"},
		{"-q is longer than -w", talkOptions{idleTimeout: w, quitAfter: time.Minute}, false, func(v *supervisor) {
			v.results <- outcome{sending, nil}
		}, w, "idle for 5s"},
		{"-q, and the peer ends", talkOptions{quitAfter: 2 * time.Second}, false, func(v *supervisor) {
			v.results <- outcome{sending, nil}
			time.Sleep(time.Second)
			v.results <- outcome{receiving, nil}
		}, time.Second, bothFinished},
		{"no limit", talkOptions{quitAfter: -1}, false, func(v *supervisor) {
			v.results <- outcome{sending, nil}
			time.Sleep(1000 * time.Hour)
			v.results <- outcome{receiving, nil}
		}, 1000 * time.Hour, bothFinished},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				talk := &talker{talkOptions: test.options, talkEnv: talkEnv{meter: &meter{}}}
				s := &session{conversation: newConversation(talk, "PEER"), conn: ours, in: &fakeSource{fdio.Regular, test.ready},
					rule:   halfclose.New(halfclose.Options{AtOnce: true}),
					inName: "stdin", sendCopier: &fakeCopier{}, receiveCopier: &fakeCopier{}}
				v := newSupervisor(s)
				go test.events(v)
				v.run(t.Context())
				if took := time.Since(s.Begun); took != test.ends || v.endReason() != test.reason || v.failed != nil {
					t.Errorf("ended after %v: %q, %v; want %v: %q", took, v.endReason(), v.failed, test.ends, test.reason)
				}
			})
		})
	}
}

// How long a conversation of datagrams may be idle.
func TestDatagramIdleTimeout(t *testing.T) {
	t.Parallel()
	w := talkOptions{idleTimeout: 5 * time.Second, quitAfter: -1}
	plain := talkOptions{quitAfter: -1}
	for _, test := range []struct {
		name    string
		state   datagramState
		options talkOptions
		dialled bool
		want    time.Duration
	}{
		{"a listener without a sender", datagramState{sendOpen: true}, w, false, 0},
		{"a listener with one", datagramState{sendOpen: true, hasPeer: true}, w, false, 5 * time.Second},
		{"without -w", datagramState{hasPeer: true}, plain, false, 0},
		{"a dialer whose stdin goes on", datagramState{sendOpen: true, hasPeer: true}, plain, true, 0},
		{"a dialer that has sent everything", datagramState{hasPeer: true}, plain, true, replyWait},
		{"with -w", datagramState{hasPeer: true}, w, true, 5 * time.Second},
		{"-d", datagramState{hasPeer: true}, talkOptions{quitAfter: -1, noStdin: true}, true, 0},
		{"--no-shutdown", datagramState{hasPeer: true}, talkOptions{quitAfter: -1, noShutdown: true}, true, 0},
		{"-q", datagramState{hasPeer: true}, talkOptions{quitAfter: time.Hour}, true, 0},
	} {
		if got := test.state.idleTimeout(&test.options, test.dialled); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
