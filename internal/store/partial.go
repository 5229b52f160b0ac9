package store

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"time"
)

// keepFrom is the size, in bytes, from which on the partial file of a transfer
// that was cut is worth keeping, and space is worth reserving.
const keepFrom = 1 << 20

// A proof is the SHA-256 of a partial file as it was when a sender asked for
// it, ready to go on, so that the prefix is read only once.
type prefixHash struct {
	hash    hash.Hash
	info    fs.FileInfo
	size    int64
	modTime time.Time
}

// maxProofs bounds what senders can make us remember by asking.
const maxPrefixHashes = 64

// partial returns how much a partial upload of path holds and the SHA-256 of
// that, or an offset of 0 if there is none that can be gone on with: also while
// somebody writes it. The error is a refusal of the name.
func (s *Store) Partial(path string) (offset int64, digest []byte, err error) {
	if err := s.checkName(path); err != nil {
		return 0, nil, err
	}
	if s.NoResume {
		return 0, nil, nil
	}
	dir, _ := splitPath(path)
	d, err := s.folder(dir)
	if err != nil {
		return 0, nil, nil
	}
	defer d.close()
	f, info := s.openPartial(d, partialName(path), false)
	if f == nil {
		return 0, nil, nil
	}
	defer f.Close()
	defer unlock(f)
	if info.Size() == 0 {
		return 0, nil, nil
	}
	h := sha256.New()
	if n, err := hashFile(h, f, info.Size()); err != nil || n != info.Size() {
		return 0, nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.prefixHashes) < maxPrefixHashes {
		s.prefixHashes[path] = prefixHash{h, info, info.Size(), info.ModTime()}
	}
	return info.Size(), h.Sum(nil), nil
}

// proven returns the hash that has hashed the first size bytes of f, which is
// the partial upload of path. It reads them unless that was done for partial and
// nobody has changed the file since.
func (s *Store) resumeHash(path string, f *os.File, info fs.FileInfo, size int64) (hash.Hash, error) {
	s.mu.Lock()
	p, ok := s.prefixHashes[path]
	delete(s.prefixHashes, path)
	s.mu.Unlock()
	if ok && p.size == size && info.Size() == size && p.modTime.Equal(info.ModTime()) && os.SameFile(p.info, info) {
		return p.hash, nil
	}
	h := sha256.New()
	if size == 0 {
		return h, nil
	}
	n, err := hashFile(h, f, size)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return h, err
}

// hashFile adds the first n bytes of f to h, and returns how many there were.
func hashFile(h hash.Hash, f *os.File, n int64) (int64, error) {
	b := getBuffer(n)
	defer putBuffer(b)
	// The bare interfaces keep io.CopyBuffer from going round the buffer.
	return io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(struct{ io.ReaderAt }{f}, 0, n), b)
}

// openPartial opens the partial file name in d and locks it; with create it may
// be a new one. It returns nil if there is none, if somebody else writes it, or
// if it is anything but a file of our own with this one name: the content would
// not be ours, or would go elsewhere.
func (s *Store) openPartial(d *folder, name string, create bool) (*os.File, fs.FileInfo) {
	for range 3 {
		var f *os.File
		err := fs.ErrExist
		if create {
			f, err = openEntry(d, name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
		}
		created := err == nil
		if errors.Is(err, fs.ErrExist) {
			f, err = openEntry(d, name, os.O_RDWR)
		}
		if err != nil {
			return nil, nil
		}
		info, err := f.Stat()
		if err != nil || !created && !s.isOurs(info) || !lock(f) {
			_ = f.Close()
			return nil, nil
		}
		// Until it was locked, somebody may have finished it: then it has its
		// final name, and must not be touched.
		if info, err = f.Stat(); err == nil && d.holds(name, info) {
			return f, info
		}
		_ = f.Close()
	}
	return nil, nil
}

// isOurs reports whether a file is one that nobody but this user can have put
// content into, and that has no other name.
func (s *Store) isOurs(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && !hasOtherNames(info) && sameOwner(info, s.probe)
}

// holds reports whether name is the file of info.
func (d *folder) holds(name string, info fs.FileInfo) bool {
	now, err := d.root.Lstat(name)
	return err == nil && os.SameFile(now, info)
}

// prepare gets everything ready for the first byte: the file to collect it in,
// and the space for it. d is the directory, nil if it is to be created.
func (in *Upload) prepare(d *folder) error {
	s := in.store
	s.mu.Lock()
	already := s.suspended[in.Path] // counted when it came
	s.mu.Unlock()
	in.charged = max(in.Size, in.Offset) - already
	if err := s.charge(in.charged); err != nil {
		in.charged = 0
		return err
	}
	if d == nil {
		// The directory comes after the check, so that a refusal leaves none.
		if err := in.fits(s.top, diskOf(s.info)); err != nil {
			return err
		}
		var err error
		if d, err = s.makeFolder(in.dir); err != nil {
			return err
		}
		defer d.close()
	}
	if err := in.open(d); err != nil {
		return err
	}
	s.mu.Lock()
	in.charged += s.suspended[in.Path]
	delete(s.suspended, in.Path)
	s.mu.Unlock()
	return nil
}

// open opens the partial file in d, empty but for what the transfer goes on
// from. A partial file that this transfer cannot have stays as it is.
func (in *Upload) open(d *folder) error {
	name := partialName(in.Path)
	if in.store.unnamed && in.Size >= 0 && in.Size <= SmallFile && in.Offset == 0 {
		// One that an earlier, larger file has left is to be used up.
		if _, err := d.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			if handled, err := in.openUnnamed(d); handled {
				return err
			}
		}
	}
	f, info := in.store.openPartial(d, name, true)
	if in.Offset > 0 && (in.store.NoResume || f == nil || info.Size() < in.Offset || in.Size >= 0 && in.Size < in.Offset) {
		in.abandon(d, name, f, info)
		return errorf(Conflict, "no partial upload of %d bytes here", in.Offset)
	}
	in.resumable = f != nil && !in.store.NoResume && in.store.isOurs(info)
	if f == nil {
		name = randomPartial()
		var err error
		if f, err = openEntry(d, name, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
			return err
		}
		if info, err = f.Stat(); err != nil {
			in.abandon(d, name, f, nil)
			return err
		}
	}
	err := in.reserve(d, diskOf(info), spaceOf(info))
	if err == nil {
		in.hash, err = in.store.resumeHash(in.Path, f, info, in.Offset)
	}
	if err != nil {
		in.abandon(d, name, f, info)
		return err
	}
	in.file, in.partName, in.info = f, name, info
	in.received, in.end = in.Offset, in.Offset
	if info.Size() != in.Offset {
		err = f.Truncate(in.Offset)
	}
	if err == nil && in.Size-in.Offset >= keepFrom {
		in.preallocated, err = preallocate(f, in.Offset, in.Size-in.Offset)
		if in.preallocated {
			in.unreserve(in.reserved)
		} else if noSpace(err) {
			free, _ := freeSpace(d.dir)
			err = errNoSpace(free, in.Size-in.Offset)
		}
	}
	if err != nil {
		_ = f.Truncate(in.Offset)
		in.abandon(d, name, f, info)
		in.file = nil
	}
	return err
}

// openNameless opens a file without a name in d's file system. If handled is
// false it has no such thing.
func (in *Upload) openUnnamed(d *folder) (handled bool, err error) {
	f, err := openUnnamed(d.dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return true, err
	}
	in.file, in.partName, in.info, in.hash = f, "", info, sha256.New()
	return true, nil
}

// takesNameless reports whether a file can be given its first name when it is
// whole, which it tries.
func (d *folder) supportsUnnamed() bool {
	f, err := openUnnamed(d.dir)
	if err != nil {
		return false
	}
	defer f.Close()
	name := randomPartial()
	if !setOpenTime(f, time.Now()) || linkUnnamed(f, d.dir, name) != nil {
		return false
	}
	return d.root.Remove(name) == nil
}

// abandon closes a partial file that the transfer does not get, and removes it
// unless it holds something from before.
func (in *Upload) abandon(d *folder, name string, f *os.File, info fs.FileInfo) {
	if f == nil {
		return
	}
	if now, err := f.Stat(); err == nil && now.Size() == 0 && d.holds(name, now) {
		_ = d.root.Remove(name)
	}
	_ = f.Close()
}
