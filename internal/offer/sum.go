package offer

import (
	"context"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// hashing bounds how many files Digest reads at once, in all Sets: downloads go
// on meanwhile.
var hashing = semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0)))

// maxSums is how many digests a Set keeps.
const maxSums = 1000

// sums are the digests that Digest has computed, by path.
type sums struct {
	mu  sync.Mutex
	all map[string]knownSum
}

// A knownSum is the digest of a file as it was.
type knownSum struct {
	info fs.FileInfo
	was  state
	sum  []byte
}

// Digest returns the SHA-256 of f. Later calls return it without reading the
// file again while inode, size and times remain the same. The error is that of
// ctx, or a reason why the file cannot be read as it was.
func (s *Set) Digest(ctx context.Context, f *File) ([]byte, error) {
	if sum := s.known(f); sum != nil {
		return sum, nil
	}
	if err := hashing.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer hashing.Release(1)
	if sum := s.known(f); sum != nil { // another caller has read it meanwhile
		return sum, nil
	}
	h, err := f.Hash(f.Size, func(int) error { return ctx.Err() })
	if err != nil {
		return nil, err
	}
	sum := h.Sum()
	if err := f.Check(); err != nil {
		return nil, err
	}
	// A file that has just been written can be written again without another
	// time.
	if time.Since(f.ModTime) > time.Second {
		s.keep(f, sum)
	}
	return sum, nil
}

// known returns the digest that keep has stored for f; nil if there is none, or
// if the path names another file or state by now.
func (s *Set) known(f *File) []byte {
	s.sums.mu.Lock()
	defer s.sums.mu.Unlock()
	k, ok := s.sums.all[f.Path]
	if ok && os.SameFile(k.info, f.info) && k.was.equal(f.opened) {
		return k.sum
	}
	return nil
}

// keep stores the digest sum of f for later calls of known. If there are
// maxSums already, it drops arbitrary ones.
func (s *Set) keep(f *File, sum []byte) {
	s.sums.mu.Lock()
	defer s.sums.mu.Unlock()
	if s.sums.all == nil {
		s.sums.all = map[string]knownSum{}
	}
	for path := range s.sums.all {
		if len(s.sums.all) < maxSums {
			break
		}
		delete(s.sums.all, path)
	}
	s.sums.all[f.Path] = knownSum{f.info, f.opened, sum}
}

// equal reports whether two states have the same size and times, so that the
// file was not written to between them.
func (s state) equal(o state) bool {
	return s.size == o.size && s.modTime.Equal(o.modTime) && s.changed.Equal(o.changed)
}
