package store

// needs is how many bytes more a file takes that has so many. A small one is here
// before there can be an answer.
func (in *Upload) needs(had int64) int64 {
	if in.Size <= SmallFile {
		return 0
	}
	return max(0, in.Size-had)
}

// fits refuses a file for which d's file system, which is disk, has no room beside
// those that are on their way there.
func (in *Upload) fits(d *folder, disk uint64) error {
	in.store.mu.Lock()
	defer in.store.mu.Unlock()
	return in.fitsLocked(d, disk, 0)
}

// fitsLocked is fits for those who hold the store's mu; had is how many bytes the
// file takes there already.
func (in *Upload) fitsLocked(d *folder, disk uint64, had int64) error {
	needed := in.needs(had)
	if needed == 0 {
		return nil
	}
	free, ok := freeSpace(d.dir)
	if free -= in.store.reserved[disk]; ok && needed > free {
		return errNoSpace(max(0, free), needed)
	}
	return nil
}

// errNoSpace is the refusal of a file that needs more room than there is.
func errNoSpace(free, needed int64) *Error {
	return errorf(NoSpace, "not enough space: %d bytes free, %d needed", free, needed)
}

// promise is fits, and keeps the room for this file as far as this store has a
// say: whoever begins a file later does not get it. It is called once;
// keepPromise ends it byte by byte, and over all at once.
func (in *Upload) reserve(d *folder, disk uint64, had int64) error {
	s := in.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := in.fitsLocked(d, disk, max(had, in.Offset)); err != nil {
		return err
	}
	in.disk, in.reserved = disk, in.needs(in.Offset) // what will be written, whatever is there and is cut off
	s.reserved[disk] += in.reserved
	return nil
}

// keepPromise says that n bytes were written or preallocated, or will not come.
func (in *Upload) unreserve(n int64) {
	if n = min(n, in.reserved); n <= 0 {
		return
	}
	in.reserved -= n
	s := in.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserved[in.disk] -= n; s.reserved[in.disk] == 0 {
		delete(s.reserved, in.disk)
	}
}
