package progress

import (
	"testing"
	"testing/synctest"
	"time"
)

// The line of each kind of run, before and after its first conversation.
func TestStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var zero Counters
		if got := zero.Status().String(); got != "starting, after 0s" {
			t.Errorf("%q", got)
		}
		for _, c := range []struct {
			counters              *Counters
			before, during, after string
		}{
			{&Counters{}, "at work, after 2s", "at work; sent 30 bytes, received 10 bytes in 4s, 10 B/s", "at work; sent 30 bytes, received 10 bytes in 8s, 5 B/s"},
			{&Counters{Listens: true}, "at work, no client yet, after 2s", "at work; sent 30 bytes, received 10 bytes in 4s, 10 B/s", "at work; sent 30 bytes, received 10 bytes in 8s, 5 B/s"},
			{&Counters{Listens: true, Datagrams: true, Keeps: true}, "at work, nobody has sent anything yet, after 2s",
				"at work; sent 30 bytes, received 10 bytes in 4s, 10 B/s", "at work; sent 30 bytes, received 10 bytes in 8s, 5 B/s"},
			{&Counters{Listens: true, Keeps: true}, "at work, no client yet, after 2s", "at work, clients: 1 now, 1 so far; sent 30 bytes, received 10 bytes in 4s, 10 B/s",
				"at work, clients: 0 now, 1 so far; sent 30 bytes, received 10 bytes in 8s, 5 B/s"},
		} {
			c.counters.Begun = time.Now()
			c.counters.SetActivity("at %s", "work")
			time.Sleep(2 * time.Second)
			if got := c.counters.Status().String(); got != c.before {
				t.Errorf("%q, want %q", got, c.before)
			}
			c.counters.ConnOpened()
			c.counters.ConnOpened()
			c.counters.ConnJoined()
			c.counters.Sent.Add(30)
			c.counters.Received.Add(10)
			time.Sleep(4 * time.Second)
			if got := c.counters.Status().String(); got != c.during {
				t.Errorf("%q, want %q", got, c.during)
			}
			c.counters.ConnClosed()
			time.Sleep(4 * time.Second)
			if got := c.counters.Status().String(); got != c.after {
				t.Errorf("%q, want %q", got, c.after)
			}
		}
	})
}

// The text of an activity is made when it is asked for: one is set for each
// connection.
func TestActivityIsNotFormattedBefore(t *testing.T) {
	t.Parallel()
	var c Counters
	asked := 0
	c.SetActivity("connecting to %v", stringer(func() string { asked++; return "a host" }))
	if asked > 0 {
		t.Error("formatted at once")
	}
	if got := c.Status().Activity; got != "connecting to a host" || asked != 1 {
		t.Errorf("%q, formatted %d times", got, asked)
	}
}

// A stringer is a value whose text is what it returns.
type stringer func() string

func (s stringer) String() string { return s() }
