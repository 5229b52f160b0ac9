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

// minSuspended is the least size in bytes at which the partial file of an
// interrupted transfer is kept, and at which space is preallocated.
const minSuspended = 1 << 20

// A prefixHash is the SHA-256 state of a partial file at the time of Partial,
// so that the continuation reads the prefix no second time.
type prefixHash struct {
	hash    hash.Hash
	info    fs.FileInfo
	size    int64
	modTime time.Time
}

// isOf reports whether p is the hash of a whole file of size bytes, whose
// description is info, and which was not written to since.
func (p prefixHash) isOf(info fs.FileInfo, size int64) bool {
	return p.size == size && info.Size() == size && p.modTime.Equal(info.ModTime()) && os.SameFile(p.info, info)
}

// maxPrefixHashes bounds the memory that a peer can occupy by queries.
const maxPrefixHashes = 64

// Partial returns the size in bytes of a suspended upload of path, from which
// File.Offset may continue, and its SHA-256. The offset is 0 if there is none,
// if another process writes it, or if the name is taken and stays so. The error
// is an *Error about the name.
func (s *Store) Partial(path string) (offset int64, digest []byte, err error) {
	if err := s.checkName(path); err != nil {
		return 0, nil, err
	}
	if s.options.NoResume {
		return 0, nil, nil
	}
	dir, base := splitPath(path)
	d, err := s.openDir(dir)
	if err != nil {
		return 0, nil, nil
	}
	defer d.close()
	if !s.options.Force && !s.options.Rename {
		if _, err := d.root.Lstat(base); !errors.Is(err, fs.ErrNotExist) {
			return 0, nil, nil
		}
	}
	f, info := s.peekPartial(d, partialName(path))
	if f == nil {
		return 0, nil, nil
	}
	defer f.Close()
	if info.Size() == 0 {
		return 0, nil, nil
	}
	s.mu.Lock()
	p, ok := s.prefixHashes[path]
	if ok && p.isOf(info, info.Size()) {
		digest = p.hash.Sum(nil)
	}
	s.mu.Unlock()
	if digest != nil {
		return info.Size(), digest, nil
	}
	h := sha256.New()
	if n, err := hashFile(h, f, info.Size()); err != nil || n != info.Size() {
		return 0, nil, nil
	}
	p = prefixHash{h, info, info.Size(), info.ModTime()}
	if now, err := f.Stat(); err != nil || !p.isOf(now, info.Size()) { // an upload has gone on
		return 0, nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.prefixHashes) < maxPrefixHashes {
		s.prefixHashes[path] = p
	}
	return info.Size(), h.Sum(nil), nil
}

// resumeHash returns the hash of the first size bytes of f, the partial file of
// path. It reads them unless Partial has, and the file is unchanged since.
func (s *Store) resumeHash(path string, f *os.File, info fs.FileInfo, size int64) (hash.Hash, error) {
	s.mu.Lock()
	p, ok := s.prefixHashes[path]
	delete(s.prefixHashes, path)
	s.mu.Unlock()
	if ok && p.isOf(info, size) {
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
	// The bare interfaces keep io.CopyBuffer from bypassing the buffer.
	return io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(struct{ io.ReaderAt }{f}, 0, n), b)
}

// peekPartial is openPartial for a query, which must not keep an upload from
// going on: the file is not locked when it returns, and no upload of this
// process finds it locked meanwhile.
func (s *Store) peekPartial(d *dirHandle, name string) (*os.File, fs.FileInfo) {
	s.lockMu.Lock()
	defer s.lockMu.Unlock()
	f, info := s.openPartial(d, name, false)
	if f != nil {
		unlock(f)
	}
	return f, info
}

// openPartial opens and locks the partial file name in d, with create also a
// new one. It returns nil if there is none, if another process has locked it,
// or if it is no regular file of this user with a single name: the content
// would come from others, or be written elsewhere.
func (s *Store) openPartial(d *dirHandle, name string, create bool) (*os.File, fs.FileInfo) {
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
		if err != nil || !created && !s.isOwn(info) || !tryLock(f) {
			_ = f.Close()
			return nil, nil
		}
		// Before the lock another process may have completed the file: then it
		// has its final name, and must not be touched.
		if info, err = f.Stat(); err == nil && d.refersTo(name, info) {
			return f, info
		}
		_ = f.Close()
	}
	return nil, nil
}

// isOwn reports whether only this user can have written to a file, and only
// under one name.
func (s *Store) isOwn(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && !hasHardLinks(info) && sameOwner(info, s.probeInfo)
}

// open opens the partial file in d, and truncates it to the offset. A partial
// file that this upload cannot use stays as it is.
func (u *Upload) open(d *dirHandle) error {
	name := partialName(u.want.Path)
	if u.store.unnamed && u.want.Size >= 0 && u.want.Size <= SmallFile && u.want.Offset == 0 {
		// An existing partial file of an earlier, larger version is reused
		// instead.
		if _, err := d.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			if handled, err := u.openUnnamed(d); handled {
				return err
			}
		}
	}
	u.store.lockMu.Lock()
	f, info := u.store.openPartial(d, name, true)
	u.store.lockMu.Unlock()
	if u.want.Offset > 0 && (u.store.options.NoResume || f == nil || info.Size() < u.want.Offset || u.want.Size >= 0 && u.want.Size < u.want.Offset) {
		discard(d, name, f)
		return u.errNoPartial()
	}
	u.resumable = f != nil && !u.store.options.NoResume && u.store.isOwn(info)
	if f == nil {
		name = randomPartial()
		var err error
		if f, err = openEntry(d, name, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
			return err
		}
		if info, err = f.Stat(); err != nil {
			discard(d, name, f)
			return err
		}
	}
	err := u.checkSpace(d.dir, deviceOf(info), max(allocated(info), u.want.Offset))
	if err == nil && u.hash == nil {
		u.hash, err = u.store.resumeHash(u.want.Path, f, info, u.want.Offset)
	}
	if err != nil {
		discard(d, name, f)
		return err
	}
	u.file, u.partial, u.info, u.device = f, name, info, deviceOf(info)
	u.received, u.dataEnd, u.secured = u.want.Offset, u.want.Offset, u.want.Offset
	if err := u.allocate(d); err != nil {
		_ = f.Truncate(u.want.Offset)
		discard(d, name, f)
		u.file = nil
		return err
	}
	return nil
}

// errNoPartial returns the error for an offset at which no partial file can be
// continued.
func (u *Upload) errNoPartial() error {
	return errorf(Conflict, "no partial upload of %d bytes here", u.want.Offset)
}

// allocate cuts the partial file off at the offset, also what was preallocated
// behind it for a longer file, and secures the first step of the rest.
func (u *Upload) allocate(d *dirHandle) error {
	offset := u.want.Offset
	if u.info.Size() != offset || allocated(u.info) > offset {
		if err := u.file.Truncate(offset); err != nil {
			return err
		}
	}
	u.preallocates = u.want.Size-offset >= minSuspended
	return u.secure(d.dir, offset)
}

// openUnnamed opens a file without a name in the file system of d. handled is
// false if that has none.
func (u *Upload) openUnnamed(d *dirHandle) (handled bool, err error) {
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
	u.file, u.partial, u.info = f, "", info
	if u.hash == nil {
		u.hash = sha256.New()
	}
	return true, nil
}

// supportsUnnamed reports whether a file without a name can get a time and then
// a name in d, by doing so.
func (d *dirHandle) supportsUnnamed() bool {
	f, err := openUnnamed(d.dir)
	if err != nil {
		return false
	}
	defer f.Close()
	name := randomPartial()
	if setOpenTime(f, time.Now()) != nil || linkUnnamed(f, d.dir, name) != nil {
		return false
	}
	return d.root.Remove(name) == nil
}

// discard closes a partial file that an upload does not use, and removes it if
// it is empty. f may be nil.
func discard(d *dirHandle, name string, f *os.File) {
	if f == nil {
		return
	}
	if now, err := f.Stat(); err == nil && now.Size() == 0 && d.refersTo(name, now) {
		_ = d.root.Remove(name)
	}
	_ = f.Close()
}
