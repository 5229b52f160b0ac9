package progress

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"purr/internal/display"
)

// Counters are what a run of a program has moved, its conversations, and its
// present activity. The zero value is that of a dialer. Begun and the flags are
// set before the first use; the rest any goroutine may use at any time.
type Counters struct {
	Begun     time.Time // of the run
	Listens   bool
	Keeps     bool // several clients, one after the other or at once
	Datagrams bool // there are peers, and no connections

	Sent, Received atomic.Int64 // bytes, of all conversations

	activity  atomic.Pointer[activity]
	connected atomic.Pointer[time.Time]
	clients   atomic.Int64 // conversations now
	served    atomic.Int64 // and in all
}

// An activity is the text of an activity before it is formatted, which is done
// when it is asked for.
type activity struct {
	format string
	args   []any
}

// SetActivity sets the present activity: "listening on 0.0.0.0 9000". The args
// stay as they are.
func (c *Counters) SetActivity(format string, args ...any) { c.activity.Store(&activity{format, args}) }

// ConnOpened counts a conversation. The caller calls ConnClosed when it ends.
func (c *Counters) ConnOpened() {
	now := time.Now()
	c.connected.CompareAndSwap(nil, &now)
	c.clients.Add(1)
	c.served.Add(1)
}

// ConnClosed ends what ConnOpened has counted.
func (c *Counters) ConnClosed() { c.clients.Add(-1) }

// ConnJoined takes back the count of ConnOpened, for a connection that turns
// out to belong to another conversation. ConnClosed must not be called for it.
func (c *Counters) ConnJoined() {
	c.clients.Add(-1)
	c.served.Add(-1)
}

// A Status is a snapshot of Counters.
type Status struct {
	Activity        string
	Clients, Served int64 // conversations now, and in all
	Sent, Received  int64 // bytes
	Connected       bool  // whether there was a conversation

	// Took is the time since the first conversation has begun, before that
	// since the beginning of the run.
	Took time.Duration

	listens, keeps, datagrams bool
}

// Status returns the present values.
func (c *Counters) Status() Status {
	s := Status{Activity: "starting", Clients: c.clients.Load(), Served: c.served.Load(), Sent: c.Sent.Load(), Received: c.Received.Load(),
		listens: c.Listens, keeps: c.Keeps, datagrams: c.Datagrams}
	if activity := c.activity.Load(); activity != nil {
		s.Activity = fmt.Sprintf(activity.format, activity.args...)
	}
	begun, connected := c.Begun, c.connected.Load()
	if connected != nil {
		begun, s.Connected = *connected, true
	}
	if !begun.IsZero() {
		s.Took = time.Since(begun)
	}
	return s
}

// String returns the status in one line for a message: "connected to 10.0.2.2
// 80; sent 5 bytes, received 9 bytes in 2s, 7 B/s".
func (s Status) String() string {
	var b strings.Builder
	b.WriteString(s.Activity)
	switch {
	case s.listens && s.Served == 0 && s.datagrams:
		b.WriteString(", nobody has sent anything yet")
	case s.listens && s.Served == 0:
		b.WriteString(", no client yet")
	case s.keeps && !s.datagrams:
		fmt.Fprintf(&b, ", clients: %d now, %d so far", s.Clients, s.Served)
	}
	if s.Connected {
		fmt.Fprintf(&b, "; sent %d bytes, received %d bytes in %v, %s", s.Sent, s.Received, display.Duration(s.Took), display.Rate(s.Sent+s.Received, s.Took))
	} else {
		fmt.Fprintf(&b, ", after %v", display.Duration(s.Took))
	}
	return b.String()
}
