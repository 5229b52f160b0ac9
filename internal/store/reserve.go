package store

import "os"

// reserveStep is the least number of bytes for which an upload reserves space
// ahead. With more content it reserves as much again as has come: an announced
// size alone keeps space from no other upload.
const reserveStep = 4 << 20

// checkSpace returns an error if the file system of f has no space for a file
// of which have bytes are on disk, beside the reservations on its device. A
// small file needs none: it has arrived before the answer could be of use.
func (u *Upload) checkSpace(f *os.File, device uint64, have int64) error {
	if u.want.Size <= SmallFile || u.want.Size <= have {
		return nil
	}
	u.store.mu.Lock()
	defer u.store.mu.Unlock()
	return u.store.checkSpaceLocked(f, device, u.want.Size-have)
}

// checkSpaceLocked returns an error if the file system of f has not needed
// bytes beside the reservations on its device. The caller holds the mutex.
func (s *Store) checkSpaceLocked(f *os.File, device uint64, needed int64) error {
	free, ok := freeSpace(f)
	if free -= s.reserved[device]; ok && needed > free {
		return errNoSpace(max(0, free), needed)
	}
	return nil
}

// errNoSpace returns the error for a file that needs more bytes than are free.
func errNoSpace(free, needed int64) *Error {
	return errorf(NoSpace, "not enough space: %d bytes free, %d needed", free, needed)
}

// secure makes sure that the file system has space before the file grows to end
// bytes: it preallocates the next step, or reserves it among the uploads of
// this Store. f is any open file of that file system.
func (u *Upload) secure(f *os.File, end int64) error {
	if u.want.Size <= SmallFile || end < u.secured {
		return nil
	}
	to := min(u.want.Size, end+max(reserveStep, u.received))
	n := to - u.secured
	if n <= 0 {
		return nil
	}
	if u.preallocates {
		done, err := preallocate(u.file, u.secured, n)
		if noSpace(err) {
			free, _ := freeSpace(f)
			return errNoSpace(free, n)
		}
		if err != nil {
			return err
		}
		if u.preallocates = done; done {
			u.preallocated, u.secured = true, to
			return nil
		}
	}
	s := u.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkSpaceLocked(f, u.device, n); err != nil {
		return err
	}
	s.reserved[u.device] += n
	u.reserved += n
	u.secured = to
	return nil
}

// unreserve ends the reservation of n bytes, which are written or not needed.
func (u *Upload) unreserve(n int64) {
	if n = min(n, u.reserved); n <= 0 {
		return
	}
	u.reserved -= n
	s := u.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserved[u.device] -= n; s.reserved[u.device] == 0 {
		delete(s.reserved, u.device)
	}
}
