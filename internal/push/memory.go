package push

import (
	"sync"

	"golang.org/x/sync/semaphore"
)

// The memory of transfers in bytes. A quota holds leastMemory, or one file, at
// any time, so that each transfer goes on however many there are. More comes
// from one pool of the process: a peer that takes nothing, or sends faster than
// the disk stores, occupies no more than its part of that.
const (
	poolMemory  = 6 << 20
	leastMemory = 64 << 10

	sentMemory  = 600      // of a file, link or directory without a result, at the sender
	largeMemory = 64 << 10 // of a large file's blocks, beside those of package digest
)

// pool is what transfers hold beyond leastMemory.
var pool = semaphore.NewWeighted(poolMemory)

// A quota is the memory that one transfer holds for one purpose. The zero value
// is ready for use.
type quota struct {
	mu      sync.Mutex
	changed sync.Cond
	held    int64
	pooled  int64 // of held: from the pool
	ended   bool
}

// acquire waits until the transfer may hold n bytes more: within leastMemory,
// or from the pool. While the pool is used up, it waits for a release of its
// own quota, never for another transfer. It reports false once end was called.
func (q *quota) acquire(n int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.changed.L = &q.mu
	for {
		switch {
		case q.ended:
			return false
		case q.held == 0 || q.held+n <= leastMemory:
		case pool.TryAcquire(n):
			q.pooled += n
		default:
			q.changed.Wait()
			continue
		}
		q.held += n
		return true
	}
}

// release undoes acquire for n bytes. After end it does nothing.
func (q *quota) release(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended || n == 0 {
		return
	}
	q.held -= n
	back := min(n, q.pooled)
	q.pooled -= back
	pool.Release(back)
	q.changed.L = &q.mu
	q.changed.Broadcast()
}

// end returns everything to the pool, and makes every acquire report false,
// also those that wait. It is called when the transfer ends.
func (q *quota) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	pool.Release(q.pooled)
	q.held, q.pooled, q.ended = 0, 0, true
	q.changed.L = &q.mu
	q.changed.Broadcast()
}
