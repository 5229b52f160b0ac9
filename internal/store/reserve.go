package store

// unallocated returns the bytes still to be allocated once have are on disk. A
// small file counts as 0: it has arrived before the answer could be of use.
func (u *Upload) unallocated(have int64) int64 {
	if u.want.Size <= SmallFile {
		return 0
	}
	return max(0, u.want.Size-have)
}

// checkSpace returns an error if the file system of d has no space for the file
// beside the reservations on its device.
func (u *Upload) checkSpace(d *dirHandle, device uint64) error {
	u.store.mu.Lock()
	defer u.store.mu.Unlock()
	return u.checkSpaceLocked(d, device, 0)
}

// checkSpaceLocked is checkSpace for a file of which have bytes are on disk.
// The caller holds the mutex of the Store.
func (u *Upload) checkSpaceLocked(d *dirHandle, device uint64, have int64) error {
	needed := u.unallocated(have)
	if needed == 0 {
		return nil
	}
	free, ok := freeSpace(d.dir)
	if free -= u.store.reserved[device]; ok && needed > free {
		return errNoSpace(max(0, free), needed)
	}
	return nil
}

// errNoSpace returns the error for a file that needs more bytes than are free.
func errNoSpace(free, needed int64) *Error {
	return errorf(NoSpace, "not enough space: %d bytes free, %d needed", free, needed)
}

// reserve checks the space as checkSpace does, and keeps it from the uploads
// that begin later. It is called once; unreserve ends the reservation step by
// step, release all at once.
func (u *Upload) reserve(d *dirHandle, device uint64, have int64) error {
	s := u.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := u.checkSpaceLocked(d, device, max(have, u.want.Offset)); err != nil {
		return err
	}
	// Bytes behind the offset are cut off, so they are written again.
	u.device, u.reserved = device, u.unallocated(u.want.Offset)
	s.reserved[device] += u.reserved
	return nil
}

// unreserve ends the reservation of n bytes, which are written, preallocated,
// or not needed.
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
