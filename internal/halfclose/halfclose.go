// Package halfclose decides when the sending direction of a connection is
// closed after the end of stdin. Many servers take a half-close for an abort
// and drop the answer, so after a question it waits for the answer. Many
// receivers end only at the half-close, so the wait is limited.
package halfclose

import (
	"sync/atomic"
	"time"

	"purr/internal/idle"
)

// The limits of the rule. Where the round trip counts too, the larger of the
// two is the limit.
const (
	bulk = 64 << 10 // bytes above which what is no HTTP request is no question

	answerWait   = 100 * time.Millisecond // for an answer to begin; or 2 round trips
	nearSilence  = 250 * time.Millisecond // after which an answer is complete
	farSilence   = time.Second            // the same beyond nearby
	nearby       = time.Millisecond       // the longest round trip of a local network
	requestWait  = time.Minute            // for the answer to an HTTP request to begin
	webSilence   = 5 * time.Second        // after which an HTTP answer is complete
	greetingWait = 5 * time.Second        // without input: for the peer to begin
	peerSilence  = time.Minute            // without input: after which the peer is done

	longestPoll = 20 * time.Millisecond // between two looks at what has no event
)

// Options are what is known before the first byte.
type Options struct {
	Never     bool          // --no-shutdown
	AtOnce    bool          // -N, -q 0, and modes that send no question
	Encrypted bool          // the peer takes close_notify as the end of a direction
	Listener  bool          // the peer has dialled
	QuitAfter time.Duration // -q, which ends the session; 0: none
}

// A Rule is the half-close of one connection. Look, Sent and AtOnce belong to
// the goroutine that sends, Received to the one that receives, and the others
// to the one that waits for both; StdinEnded comes after the last Sent.
type Rule struct {
	Options
	sent     int64
	request  requestLine
	earlier  int64 // bytes that had been received at the last Sent
	received atomic.Int64
	activity idle.Activity // of the peer

	timer *idle.Timer   // nil: not running
	pause time.Duration // between two looks for acknowledgements
	since time.Duration // when all was acknowledged, from activity.Begun; 0: not yet
}

// State is what the connection shows when the rule's timer fires.
type State struct {
	Acked   bool          // whether the peer's system has acknowledged every byte
	RTT     time.Duration // the smoothed round trip; 0 if unknown
	Stalled bool          // whether stdout does not take what has been received
	Pending bool          // whether bytes or the end of the peer are still to be received
}

// New returns the rule of a connection that has just begun.
func New(o Options) *Rule { return &Rule{Options: o, activity: idle.Activity{Begun: time.Now()}} }

// Look returns a function that looks for a line of HTTP in the first bytes that
// are sent. It has to be called with them until it returns false. Nil: the
// bytes do not matter.
func (r *Rule) Look() func([]byte) bool {
	if r.Never || r.Options.AtOnce || r.Encrypted {
		return nil
	}
	return r.request.look
}

// Sent records that n bytes were sent.
func (r *Rule) Sent(n int) {
	if r.sent > 0 { // nothing answers before the first byte
		r.earlier = r.received.Load()
	}
	r.sent += int64(n)
}

// Received records that n bytes were received and stdout has taken them.
func (r *Rule) Received(n int) {
	r.received.Add(int64(n))
	r.activity.Touch()
}

// NoInput reports whether stdin has ended without a byte for this connection.
func (r *Rule) NoInput() bool { return r.sent == 0 }

// AtOnce reports, at the end of stdin, whether to half-close without a wait.
func (r *Rule) AtOnce() bool {
	switch {
	case r.Never:
		return false
	case r.Options.AtOnce:
		return true
	case r.NoInput(): // a client whose terminal is stdin would end with a listener's half-close
		return r.Encrypted && !r.Listener
	}
	return r.Encrypted || r.request.verdict == answer || r.request.verdict != request && r.sent > bulk
}

// StdinEnded starts the rule's timer, which the caller stops. It does not if
// AtOnce is true, or if only the end of the peer leads to a half-close: with
// Never, for a listener without input, and with QuitAfter unless the input was
// a request of HTTP or empty.
func (r *Rule) StdinEnded() {
	question := r.request.verdict == request
	if r.Never || r.AtOnce() || r.NoInput() && r.Listener || r.QuitAfter > 0 && !question && !r.NoInput() {
		return
	}
	r.pause = 50 * time.Microsecond
	r.timer = idle.New(r.pause)
}

// Fired returns the channel that delivers when Due must be called; nil while no
// timer runs.
func (r *Rule) Fired() <-chan time.Time { return r.timer.Fired() }

// Stop stops the timer.
func (r *Rule) Stop() {
	r.timer.Stop()
	r.timer = nil
}

// Due reports whether to half-close now; the timer is stopped then. It is once
// the peer's system has acknowledged everything, and the peer has been silent
// for the limit that the rule has. look returns the state of the connection. If
// due, silence is that limit if an answer may still be under way, which the
// user has to know; otherwise it is 0.
func (r *Rule) Due(look func() State) (silence time.Duration, due bool) {
	var limit time.Duration
	due = r.timer.Expired(func() (left time.Duration, _ bool) {
		now := look()
		if r.since == 0 && !now.Acked {
			r.pause = min(2*r.pause, longestPoll)
			return r.pause, false
		}
		if r.since == 0 {
			r.since = max(1, time.Since(r.activity.Begun))
		}
		limit, silence = r.limit(now.RTT)
		// What has been received, and not taken, is recorded once it is.
		if left = limit - r.quiet(); left <= 0 && (now.Stalled || now.Pending) {
			left = longestPoll
		}
		return min(left, farSilence), false // the limit may shrink when the answer begins
	})
	if due {
		r.Stop()
	}
	return silence, due
}

// quiet returns the time without a byte of the peer since all was acknowledged.
func (r *Rule) quiet() time.Duration {
	return min(r.activity.Idle(), time.Since(r.activity.Begun)-r.since)
}

// limit returns how long the peer may be silent before the half-close. silence
// is the same time if the peer's answer may be incomplete then, and 0 if it is
// not.
func (r *Rule) limit(rtt time.Duration) (limit, silence time.Duration) {
	answers := r.received.Load()
	switch {
	case r.NoInput() && answers == 0:
		return greetingWait, greetingWait
	case r.NoInput():
		return peerSilence, peerSilence
	case r.request.verdict == request && answers == r.earlier:
		return requestWait, requestWait
	case r.request.verdict == request:
		return webSilence, webSilence
	case answers == 0:
		return max(answerWait, 2*rtt), 0
	case rtt > nearby:
		return farSilence, 0
	}
	return nearSilence, 0
}
