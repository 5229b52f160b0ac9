package store

import "sync"

// A quota counts what a Store has received against Options.MaxSize. Any
// goroutine may use it.
type quota struct {
	options *Options

	mu        sync.Mutex
	charged   int64            // bytes of content
	entries   int64            // entries without content
	suspended map[string]int64 // bytes of charged that belong to suspended uploads, by path
}

// Empty files, directories and links count against Options.MaxSize as well,
// except the first ones: a limit in bytes would not limit them otherwise.
const (
	freeEntries = 100
	entrySize   = 256 // bytes, about an inode
)

// sizeOf returns the bytes that count against Options.MaxSize for so many bytes
// of content, and entries without content.
func sizeOf(bytes, entries int64) int64 { return bytes + entrySize*max(0, entries-freeEntries) }

// charge counts bytes of content, and entries without content (empty files,
// links, directories), against Options.MaxSize. If they exceed it, it counts
// nothing and returns an *Error.
func (q *quota) charge(bytes, entries int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.checkLocked(bytes, entries); err != nil {
		return err
	}
	q.charged += bytes
	q.entries += entries
	return nil
}

// chargeKept charges the first offset bytes of a file, less the number already:
// so many are still charged from an earlier upload. It returns how many it has
// charged. It fails if the whole file of size bytes would exceed
// Options.MaxSize. The rest is charged as it comes.
func (q *quota) chargeKept(offset, already, size int64) (charged int64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.checkLocked(max(size, offset)-already, 0); err != nil {
		return 0, err
	}
	charged = max(0, offset-already)
	q.charged += charged
	return charged, nil
}

// checkLocked returns an error if so many bytes, and entries without
// content, would exceed Options.MaxSize. The caller holds the mutex.
func (q *quota) checkLocked(bytes, entries int64) error {
	left := q.options.MaxSize - sizeOf(q.charged, q.entries)
	// A peer may announce up to 2^63-1 bytes: no sum has them.
	if q.options.MaxSize > 0 && bytes > q.options.MaxSize-sizeOf(q.charged, q.entries+entries) {
		e := errorf(TooLarge, "over the limit of %d bytes: %d bytes left", q.options.MaxSize, left)
		e.Way, e.Limit, e.Left = ByLimit, q.options.MaxSize, left
		return q.options.avoidable(e)
	}
	return nil
}

// refund undoes charge.
func (q *quota) refund(bytes, entries int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.charged -= bytes
	q.entries -= entries
}

// suspend records that n bytes of path stay charged while its upload is
// suspended. It returns how many stay so: 0 without a limit.
func (q *quota) suspend(path string, n int64) int64 {
	if q.options.MaxSize == 0 {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.suspended == nil {
		q.suspended = map[string]int64{}
	}
	q.suspended[path] = n
	return n
}

// kept returns the bytes that suspend has recorded for path.
func (q *quota) kept(path string) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.suspended[path]
}

// resume undoes suspend and returns its bytes, which the upload that goes on is
// charged with.
func (q *quota) resume(path string) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.suspended[path]
	delete(q.suspended, path)
	return n
}
