package store

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
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

// partials finds partial files and remembers their hashes. Any goroutine may
// use it.
type partials struct {
	owner fs.FileInfo // of a file created here

	lockMu sync.Mutex // held while partial files are locked, and by queries until they are unlocked

	mu     sync.Mutex
	hashes map[string]prefixHash // by path; at most maxPrefixHashes
}

// digest returns the SHA-256 of f, the partial file of path, which info
// describes. It remembers the hash, so that the method hash need not read the
// file again. It returns nil if the file cannot be read, or if it is written to
// meanwhile.
func (p *partials) digest(path string, f *os.File, info fs.FileInfo) []byte {
	p.mu.Lock()
	known, ok := p.hashes[path]
	var sum []byte
	if ok && known.isOf(info, info.Size()) {
		sum = known.hash.Sum(nil)
	}
	p.mu.Unlock()
	if sum != nil {
		return sum
	}
	h := sha256.New()
	if n, err := hashFile(h, f, info.Size()); err != nil || n != info.Size() {
		return nil
	}
	known = prefixHash{h, info, info.Size(), info.ModTime()}
	if now, err := f.Stat(); err != nil || !known.isOf(now, info.Size()) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hashes == nil {
		p.hashes = map[string]prefixHash{}
	}
	if len(p.hashes) < maxPrefixHashes {
		p.hashes[path] = known
	}
	return h.Sum(nil)
}

// hash returns the hash of the first size bytes of f, the partial file of path.
// It takes over the hash that digest has remembered, if the file is unchanged
// since and has that size, and else reads the bytes.
func (p *partials) hash(path string, f *os.File, info fs.FileInfo, size int64) (hash.Hash, error) {
	p.mu.Lock()
	known, ok := p.hashes[path]
	delete(p.hashes, path)
	p.mu.Unlock()
	if ok && known.isOf(info, size) {
		return known.hash, nil
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

// peek opens the partial file name in d for a query, which must not hinder
// uploads. It creates none, and unlocks the file before it returns. lockMu
// keeps the uploads of this process from finding the file locked meanwhile.
func (p *partials) peek(d *dirHandle, name string) (*os.File, fs.FileInfo) {
	p.lockMu.Lock()
	defer p.lockMu.Unlock()
	f, info := p.openLocked(d, name, false)
	if f != nil {
		unlock(f)
	}
	return f, info
}

// open opens and locks the partial file name in d, or creates it. It returns
// nil if that is not possible: see openLocked.
func (p *partials) open(d *dirHandle, name string) (*os.File, fs.FileInfo) {
	p.lockMu.Lock()
	defer p.lockMu.Unlock()
	return p.openLocked(d, name, true)
}

// openLocked opens and locks the partial file name in d, with create also a new
// one. The caller holds lockMu. It returns nil if there is none, if another
// process has locked it, or if it is no regular file of this user with a single
// name: the content would come from others, or be written elsewhere.
func (p *partials) openLocked(d *dirHandle, name string, create bool) (*os.File, fs.FileInfo) {
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
		if err != nil || !created && !p.isOwn(info) || !tryLock(f) {
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
func (p *partials) isOwn(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && !hasHardLinks(info) && sameOwner(info, p.owner)
}
