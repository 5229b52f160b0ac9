package datagram

import "time"

// A fairness divides the send buffer of a Unix datagram socket among its
// clients. A datagram takes room there until it is read, and the queue of a
// connected client has no limit of its own (net.unix.max_dgram_qlen in unix(7)
// is for others). So one client that does not read could take all of it.
//
// While more than half of the buffer is taken, each client is sent at most a
// share. It gets a new share when the sum of all clients has fallen to what it
// was before the old share. The kernel reports only that sum. Clients that read
// let it fall; what a client has not read keeps it up. Because other clients
// may keep it up too, a client with a used share is sent one more datagram from
// time to time, at growing intervals. The zero value limits nothing. It is for
// one goroutine.
type fairness struct {
	size    int               // of the send buffer in bytes
	taken   int               // of it
	now     time.Time         // of the last observation
	clients map[string]*claim // by raw address; nil while there is room

	// The lowest values of taken in the current window, and in it and the one
	// before.
	lowest, floor int
	window        time.Time // when it began

	trial time.Time // until when the answer to the last retry is awaited
}

// A claim records what a client was sent since no more than mark bytes of the
// send buffer were taken.
type claim struct {
	sent, mark int
	retry      time.Time     // when it is tried again
	wait       time.Duration // until the retry after that
}

const (
	shares       = 16 // of the send buffer
	mostClaims   = 1024
	floorWindow  = 5 * time.Millisecond
	firstRetry   = 2 * time.Millisecond
	bookkeeping  = 768 // bytes that the kernel adds to a datagram, about
	roomyDivisor = 4   // clients is dropped when no more than that part is taken
)

// observe records that taken bytes of the send buffer are in use, and gives
// each client whose mark is reached a new share. The limit begins when more
// than half of the buffer is taken, and ends at a quarter.
func (f *fairness) observe(taken int, now time.Time) {
	f.taken, f.now = taken, now
	if taken <= f.size/roomyDivisor {
		f.clients = nil
		return
	}
	if f.clients == nil {
		if taken <= f.size/2 {
			return
		}
		f.clients = make(map[string]*claim)
		f.lowest, f.floor, f.window = taken, taken, now
	}
	if !f.trial.IsZero() && !now.Before(f.trial) {
		f.lowest, f.floor, f.window, f.trial = taken, taken, now, time.Time{}
	} else if now.Sub(f.window) > floorWindow {
		f.floor, f.lowest, f.window = f.lowest, taken, now
	}
	f.lowest, f.floor = min(f.lowest, taken), min(f.floor, taken)
	for _, c := range f.clients {
		if taken <= c.mark {
			c.sent, c.wait = 0, 0
		}
	}
}

// allows reports whether a datagram of n bytes may be sent to a client. If it
// may, allows counts it as sent.
func (f *fairness) allows(client []byte, n int) bool {
	n += bookkeeping
	if f.clients == nil {
		f.taken += n
		return true
	}
	c := f.clients[string(client)]
	if c == nil {
		for other := range f.clients { // any one: it gets a new share
			if len(f.clients) < mostClaims {
				break
			}
			delete(f.clients, other)
		}
		c = new(claim)
		f.clients[string(client)] = c
	}
	switch share := f.size / shares; {
	case c.sent == 0:
		c.mark = f.floor
	case f.taken <= f.size/2 || c.sent+n <= share:
	case c.wait == 0:
		c.wait = firstRetry
		c.retry = f.now.Add(c.wait)
		return false
	case f.now.Before(c.retry), f.now.Before(f.trial):
		return false
	default:
		c.mark, c.sent = f.floor, share
		c.wait *= 2
		c.retry = f.now.Add(c.wait)
		f.trial = f.now.Add(firstRetry) // one by one: the sum is about all of them
	}
	c.sent += n
	f.taken += n
	return true
}
