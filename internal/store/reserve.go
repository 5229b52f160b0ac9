package store

import (
	"os"
	"sync"
)

// reserveStep is the least number of bytes for which an upload reserves space
// ahead. With more content it reserves as much again as has come: an announced
// size alone keeps space from no other upload.
const reserveStep = 4 << 20

// reservations are the bytes that uploads still have to write, by device. The
// zero value has none, and any goroutine may use it.
type reservations struct {
	mu    sync.Mutex
	bytes map[uint64]int64
}

// check returns an error if the file system of f has fewer than needed bytes
// free that are not reserved on its device. It returns nil if the free space is
// unknown.
func (r *reservations) check(f *os.File, device uint64, needed int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checkLocked(f, device, needed)
}

// checkLocked is check for a caller that holds the mutex.
func (r *reservations) checkLocked(f *os.File, device uint64, needed int64) error {
	free, ok := freeSpace(f)
	if free -= r.bytes[device]; ok && needed > free {
		return errNoSpace(max(0, free), needed)
	}
	return nil
}

// reserve reserves n bytes, unless check returns an error for them.
func (r *reservations) reserve(f *os.File, device uint64, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.checkLocked(f, device, n); err != nil {
		return err
	}
	if r.bytes == nil {
		r.bytes = map[uint64]int64{}
	}
	r.bytes[device] += n
	return nil
}

// release ends the reservation of n bytes.
func (r *reservations) release(device uint64, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes[device] -= n; r.bytes[device] == 0 {
		delete(r.bytes, device)
	}
}

// errNoSpace returns the error for a file that needs more bytes than are free.
func errNoSpace(free, needed int64) *Error {
	return errorf(NoSpace, "not enough space: %d bytes free, %d needed", free, needed)
}

// An allocation is the space that one partial file has ahead of its content:
// preallocated, or else reserved among the uploads of the Store.
type allocation struct {
	reservations *reservations
	device       uint64
	size         int64 // announced; -1: unknown
	preallocates bool  // the file system may support it
	preallocated bool  // space was preallocated
	secured      int64 // offset up to which space is reserved or preallocated
	reserved     int64 // bytes that are neither written nor preallocated yet
}

// secure makes sure that there is space for file to grow from received to end
// bytes. Once no space behind end is secured, it preallocates the next step, or
// reserves it; the first call, with received as end, secures the first one. It
// does nothing for a small file or an unknown size. in is any open file of the
// same file system.
func (a *allocation) secure(file, in *os.File, received, end int64) error {
	if a.size <= SmallFile || end < a.secured {
		return nil
	}
	to := min(a.size, end+max(reserveStep, received))
	n := to - a.secured
	if n <= 0 {
		return nil
	}
	if a.preallocates {
		done, err := preallocate(file, a.secured, n)
		if noSpace(err) {
			free, _ := freeSpace(in)
			return errNoSpace(free, n)
		}
		if err != nil {
			return err
		}
		if a.preallocates = done; done {
			a.preallocated, a.secured = true, to
			return nil
		}
	}
	if err := a.reservations.reserve(in, a.device, n); err != nil {
		return err
	}
	a.reserved += n
	a.secured = to
	return nil
}

// release ends the reservation of n bytes, which are written or not needed.
func (a *allocation) release(n int64) {
	if n = min(n, a.reserved); n > 0 {
		a.reserved -= n
		a.reservations.release(a.device, n)
	}
}
