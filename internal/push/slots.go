package push

import (
	"hash/maphash"
	"sync"

	"purr/internal/sys"
)

// slots holds one element for each file that is open, of all transfers: a file
// takes several descriptors, with the directories on the way to it.
var slots = sync.OnceValue(func() chan struct{} {
	const perFile = 8
	most := 512
	if n := sys.DescriptorLimit(); n > 0 {
		most = min(most, max(1, n/perFile))
	}
	return make(chan struct{}, most)
})

// openSlot waits until a file may be opened. The caller calls release after it
// has closed the file.
func openSlot() (release func()) {
	slots() <- struct{}{}
	return func() { <-slots() }
}

// A pathSet remembers paths by their sums: a million of them stay small, and
// two with the same sum would be no more than a refusal.
type pathSet struct {
	mu   sync.Mutex
	seed maphash.Seed
	sums map[uint64]struct{}
}

// add adds path, and reports whether it is new to the set.
func (s *pathSet) add(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sums == nil {
		s.seed, s.sums = maphash.MakeSeed(), make(map[uint64]struct{})
	}
	sum := maphash.String(s.seed, path)
	_, there := s.sums[sum]
	s.sums[sum] = struct{}{}
	return !there
}

// remove deletes path, so that add accepts it again: its file has failed.
func (s *pathSet) remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sums, maphash.String(s.seed, path))
}
