package web

import (
	"net/http"
	"sync"
	"time"
)

// The bounds of what clients occupy in one process. Beyond them a client gets
// 503 at once, rather than wait. One address has at most a quarter of each.
const (
	// maxMemory is the memory in bytes of all clients together. With the blocks
	// of package digest, 24 MiB, and the program itself it makes 64 MiB.
	maxMemory = 32 << 20

	connMemory     = 32 << 10  // of a connection: stacks, and net/http's buffers
	headFactor     = 16        // times the bytes of a head, for many short fields
	http2Memory    = 2 << 20   // of a connection of HTTP/2: frames, heads and unread bodies
	downloadMemory = 256 << 10 // the buffer of a download
	listMemory     = 1 << 20   // of the JSON list or a page: the entries that are sorted, or the results
	rowMemory      = 200       // of a result, beside its texts
	uploadMemory   = 96 << 10  // of an upload: buffers, and modest blocks of package digest
	transferMemory = 704 << 10 // of a purr's transfer that stalls

	maxHead     = 12 << 10 // bytes of a request's head; net/http adds 4 KiB
	maxPartHead = 16 << 10 // bytes of the head of a form's part

	maxUploads = 512 // at once, less if there are fewer descriptors

	// leastRate is the average in bytes per second that a body must reach in each
	// period of graceSilences times Options.Silence.
	leastRate     = 100
	graceSilences = 2
)

// shares divides each budget: one address may hold 1/shares of it, so that a
// single machine cannot lock out all others.
const shares = 4

// full is the answer to a client for which there is no room.
const full = "too many clients at once: try again"

// A budget is a limited amount (bytes of memory, open files) that is lent to
// client addresses, see client.host.
type budget struct {
	most int64

	mu   sync.Mutex
	used int64
	by   map[string]int64 // by address
}

// clientBudget is the memory in bytes that all servers of the process share.
var clientBudget = &budget{most: maxMemory}

// take lends n units to the address host. It reports false, and lends nothing,
// if that exceeds the budget or the share of one address. After true the caller
// returns the n units by give.
func (b *budget) take(host string, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.most || b.by[host]+n > max(1, b.most/shares) {
		return false
	}
	if b.by == nil {
		b.by = map[string]int64{}
	}
	b.used += n
	b.by[host] += n
	return true
}

// give returns n units that take has lent to host.
func (b *budget) give(host string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n == 0 {
		return
	}
	b.used -= n
	if b.by[host] -= n; b.by[host] == 0 {
		delete(b.by, host)
	}
}

// refuseFull answers 503 because a budget is exhausted: the client may retry
// after a second.
func refuseFull(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "1")
	refuseUpload(w, r, http.StatusServiceUnavailable, full)
}

// A pacer checks that the sender of a body reaches leastRate, as an average
// over each period of grace. Only time spent waiting in reads counts, not the
// time that this end takes between two reads.
type pacer struct {
	grace  time.Duration
	waited time.Duration // in reads of this period
	moved  int64         // bytes in this period
}

// add counts a read that took the time waited and returned n bytes. It reports
// false if the read completes a period of grace, and the average of that period
// is below leastRate.
func (p *pacer) add(n int, waited time.Duration) bool {
	p.moved += int64(n)
	if p.waited += waited; p.waited < p.grace {
		return true
	}
	enough := float64(p.moved) >= leastRate*p.waited.Seconds()
	p.moved, p.waited = 0, 0
	return enough
}
