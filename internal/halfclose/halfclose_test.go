package halfclose

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

// never is the end of the wait for a half-close that must not come.
const never = time.Hour

// An event is what happens to a conversation at a time after its begin.
type event struct {
	at time.Duration
	do func(*conversation)
}

// A conversation is a rule with what its owner knows.
type conversation struct {
	*Rule
	State
	closed time.Duration // when the half-close came; never: it did not
	silent time.Duration // as the line has it; 0: no line
}

// sends sends text in one piece, and its system gets the acknowledgement.
func sends(text string) func(*conversation) {
	return func(c *conversation) {
		if look := c.Look(); look != nil {
			look([]byte(text))
		}
		c.Sent(len(text))
	}
}

// pieces sends text byte by byte.
func pieces(text string) func(*conversation) {
	return func(c *conversation) {
		for i := range text {
			sends(text[i : i+1])(c)
		}
	}
}

func ends(c *conversation) {
	if c.AtOnce() {
		c.closed = time.Since(c.activity.Begun)
		return
	}
	c.StdinEnded()
}

func gets(c *conversation)      { c.Received(100) }
func stalls(c *conversation)    { c.Stalled = true }
func resumes(c *conversation)   { c.Stalled = false; c.Received(100) }
func waits(c *conversation)     { c.Pending = true }
func waitsLess(c *conversation) { c.Pending = false; c.Received(100) }
func unacked(c *conversation)   { c.Acked = false }
func acked(c *conversation)     { c.Acked = true }
func far(rtt time.Duration) func(*conversation) {
	return func(c *conversation) { c.RTT = rtt }
}

// When the half-close comes, and whether the line is due.
func TestRule(t *testing.T) {
	t.Parallel()
	const get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	long := strings.Repeat("x", bulk)
	one := func(do func(*conversation)) []event { return []event{{0, do}, {0, ends}} }
	for _, test := range []struct {
		name    string
		options Options
		events  []event
		closed  time.Duration
		silent  time.Duration
	}{
		// At once.
		{"-N", Options{AtOnce: true}, one(sends("hello")), 0, 0},
		{"-N, without input", Options{AtOnce: true}, []event{{0, ends}}, 0, 0},
		{"-N, a listener without input", Options{AtOnce: true, Listener: true}, []event{{0, ends}}, 0, 0},
		{"-N, an HTTP request", Options{AtOnce: true}, one(sends(get)), 0, 0},
		{"a key", Options{Encrypted: true}, one(sends("hello")), 0, 0},
		{"a key, an HTTP request", Options{Encrypted: true}, one(sends(get)), 0, 0},
		{"a key, a dialer without input", Options{Encrypted: true}, []event{{0, ends}}, 0, 0},
		{"a key, a listener without input", Options{Encrypted: true, Listener: true}, []event{{0, ends}, {time.Minute, gets}}, never, 0},
		{"an answer by hand", Options{Listener: true}, one(sends("HTTP/1.1 200 OK\r\n\r\nhello")), 0, 0},
		{"an answer by hand, in pieces", Options{Listener: true}, one(pieces("HTTP/1.0 200 OK\r\n\r\nhello")), 0, 0},
		{"64 KiB is a question", Options{}, one(sends(long)), answerWait, 0},
		{"more than 64 KiB is none", Options{}, one(sends(long + "x")), 0, 0},
		{"more than 64 KiB in pieces", Options{}, []event{{0, sends("x")}, {s, sends(long)}, {2 * s, ends}}, 2 * s, 0},
		{"more than 64 KiB with -q", Options{QuitAfter: 9 * s}, one(sends(long + "x")), 0, 0},

		// An HTTP request.
		{"no answer", Options{}, one(sends(get)), 60 * s, 60 * s},
		{"no answer, in pieces", Options{}, one(pieces(get)), 60 * s, 60 * s},
		{"a slow answer", Options{}, []event{{0, sends(get)}, {0, ends}, {59 * s, gets}}, 64 * s, 5 * s},
		{"an answer in parts", Options{}, []event{{0, sends(get)}, {0, ends}, {s, gets}, {5900 * ms, gets}, {10 * s, gets}}, 15 * s, 5 * s},
		{"an answer before the end of stdin", Options{}, []event{{0, sends(get)}, {ms, gets}, {s, ends}}, 6 * s, 5 * s},
		{"one to an earlier request", Options{}, []event{{0, sends(get)}, {ms, gets}, {s, sends(get)}, {s, ends}}, 61 * s, 60 * s},
		{"a large request", Options{}, []event{{0, sends("POST / HTTP/1.0\n\n" + long)}, {s, sends(long)}, {2 * s, ends}, {3 * s, gets}}, 8 * s, 5 * s},
		{"-q outlasts it", Options{QuitAfter: 9 * s}, []event{{0, sends(get)}, {0, ends}, {s, gets}}, 6 * s, 5 * s},
		{"a listener's", Options{Listener: true}, []event{{0, sends(get)}, {0, ends}, {s, gets}}, 6 * s, 5 * s},

		// Anything else.
		{"no answer to a metric", Options{}, one(sends("metric 1\n")), 100 * ms, 0},
		{"no answer from a LAN", Options{}, []event{{0, far(50 * ms)}, {0, sends("hello")}, {0, ends}}, 100 * ms, 0},
		{"no answer from afar", Options{}, []event{{0, far(300 * ms)}, {0, sends("hello")}, {0, ends}}, 600 * ms, 0},
		{"an answer", Options{}, []event{{0, sends("hello")}, {0, ends}, {99 * ms, gets}}, 349 * ms, 0},
		{"an answer in parts", Options{}, []event{{0, sends("hello")}, {0, ends}, {ms, gets}, {250 * ms, gets}, {499 * ms, gets}}, 749 * ms, 0},
		{"an answer from afar", Options{}, []event{{0, far(2 * ms)}, {0, sends("hello")}, {0, ends}, {50 * ms, gets}, {1049 * ms, gets}}, 2049 * ms, 0},
		{"a round trip of 1 ms is near", Options{}, []event{{0, far(ms)}, {0, sends("hello")}, {0, ends}, {50 * ms, gets}}, 300 * ms, 0},
		{"a greeting", Options{}, []event{{0, gets}, {s, sends("hello")}, {s, ends}}, 1250 * ms, 0},
		{"a listener's", Options{Listener: true}, []event{{0, sends("hello")}, {0, ends}, {50 * ms, gets}}, 300 * ms, 0},
		{"-q", Options{QuitAfter: s}, one(sends("hello")), never, 0},
		{"acknowledged late", Options{}, []event{{0, unacked}, {0, sends("hello")}, {0, ends}, {3 * s, acked}}, 3100 * ms, 0},
		{"not acknowledged", Options{}, []event{{0, unacked}, {0, sends("hello")}, {0, ends}, {s, gets}}, never, 0},
		{"stdout stalls", Options{}, []event{{0, sends("hello")}, {0, ends}, {50 * ms, stalls}, {time.Minute, resumes}}, time.Minute + 250*ms, 0},
		{"stdout stalls during an HTTP answer", Options{}, []event{{0, sends(get)}, {0, ends}, {s, gets}, {s, stalls}, {time.Minute, resumes}}, 65 * s, 5 * s},
		{"stdout stalls for ever", Options{}, []event{{0, sends("hello")}, {0, ends}, {50 * ms, gets}, {50 * ms, stalls}}, never, 0},
		{"the answer is not read yet", Options{}, []event{{0, sends("hello")}, {0, ends}, {90 * ms, waits}, {s, waitsLess}}, 1250 * ms, 0},

		// No input.
		{"a listener without input", Options{Listener: true}, []event{{0, ends}, {time.Minute, gets}}, never, 0},
		{"a silent peer", Options{}, []event{{0, ends}}, 5 * s, 5 * s},
		{"stdin ends late without a byte", Options{}, []event{{time.Minute, ends}}, 65 * s, 5 * s},
		{"a pause", Options{}, []event{{0, ends}, {4 * s, gets}, {63 * s, gets}}, 123 * s, 60 * s},
		{"a silent peer, -q", Options{QuitAfter: 9 * s}, []event{{0, ends}}, 5 * s, 5 * s},

		{"--no-shutdown", Options{Never: true}, one(sends("hello")), never, 0},
		{"--no-shutdown with a key", Options{Never: true, Encrypted: true}, one(sends("hello")), never, 0},
		{"--no-shutdown, much", Options{Never: true}, one(sends(long + "x")), never, 0},
		{"--no-shutdown, without input", Options{Never: true}, []event{{0, ends}}, never, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &conversation{Rule: New(test.options), State: State{Acked: true}, closed: never}
				c.run(test.events)
				const slack = 2 * longestPoll // while it looks for acknowledgements, or at a stalled stdout
				if c.closed < test.closed || c.closed > test.closed+slack || c.silent != test.silent {
					t.Errorf("half-closed after %v, silent for %v; want %v, %v", c.closed, c.silent, test.closed, test.silent)
				}
			})
		})
	}
}

// run lets the events happen and records the half-close.
func (c *conversation) run(events []event) {
	defer c.Stop()
	over := time.After(never)
	for {
		var next <-chan time.Time
		if len(events) > 0 {
			next = time.After(events[0].at - time.Since(c.activity.Begun))
		}
		select {
		case <-next:
			events[0].do(c)
			events = events[1:]
		case <-c.Fired():
			if silent, due := c.Due(func() State { return c.State }); due {
				c.closed, c.silent = time.Since(c.activity.Begun), silent
			}
		case <-over:
			return
		}
		if c.closed != never && len(events) == 0 {
			return
		}
	}
}

// A process that was stopped reads first what has come meanwhile.
func TestStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{})
		defer r.Stop()
		r.Sent(1)
		r.StdinEnded()
		<-r.Fired()
		if _, due := r.Due(func() State { return State{Acked: true} }); due {
			t.Fatal("half-closed at once")
		}
		time.Sleep(time.Hour)
		<-r.Fired()
		if _, due := r.Due(func() State { return State{Acked: true} }); due {
			t.Error("half-closed before the answer could be read")
		}
		r.Received(1)
		<-r.Fired()
		if _, due := r.Due(func() State { return State{Acked: true} }); due {
			t.Error("half-closed as soon as the answer had begun")
		}
	})
}
