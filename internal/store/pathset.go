package store

import (
	"hash/maphash"
	"sync"
)

// A pathSet is a set of paths. It holds their hashes, so that a million paths
// stay small. The zero value is empty.
type pathSet struct {
	seed   maphash.Seed
	hashes map[uint64]struct{}
}

// add adds a path, and reports whether the set did not have it.
func (p *pathSet) add(path string) bool {
	if p.hashes == nil {
		p.seed, p.hashes = maphash.MakeSeed(), map[uint64]struct{}{}
	}
	before := len(p.hashes)
	p.hashes[maphash.String(p.seed, path)] = struct{}{}
	return len(p.hashes) > before
}

// has reports whether the set has a path.
func (p *pathSet) has(path string) bool {
	if len(p.hashes) == 0 {
		return false
	}
	_, ok := p.hashes[maphash.String(p.seed, path)]
	return ok
}

// remove removes a path.
func (p *pathSet) remove(path string) {
	if len(p.hashes) > 0 {
		delete(p.hashes, maphash.String(p.seed, path))
	}
}

// len returns the number of paths.
func (p *pathSet) len() int { return len(p.hashes) }

// claims are the paths that are being received: each by one upload. The zero
// value is empty, and any goroutine may use it.
type claims struct {
	mu    sync.Mutex
	paths pathSet
}

// acquire claims path, and reports whether it did: false while another upload
// has it. release undoes it.
func (c *claims) acquire(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths.add(path)
}

// release undoes acquire.
func (c *claims) release(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths.remove(path)
}
