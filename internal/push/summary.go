package push

import (
	"fmt"
	"slices"
	"sync"

	"purr/internal/relpath"
)

// A Summary adds up the outcomes of a transfer.
type Summary struct {
	Files int64 // stored, or there already
	Bytes int64
	Worst Kind // of the files that failed; OK: none has

	// Failed is the number of files, links and directories that failed.
	Failed int64

	first  []FileEvent // of the failures, at most maxNamed
	buried bool        // whether a file was stored after the first failure
}

// maxNamed is how many failures a Summary names: with the line of the sum they
// are ten lines.
const maxNamed = 9

// FailedPaths returns the paths of the first failures.
func (s Summary) FailedPaths() []string {
	var paths []string
	for _, e := range s.first {
		paths = append(paths, e.Path)
	}
	return paths
}

// BuriedFailures returns one line for each of the first failures: its path in
// the form of name, and the reason. Beyond maxNamed failures, the last line is
// the number of those without a line. It returns nil if there are at most
// maxNamed and nothing was stored after them: then their events were the last
// ones.
func (s Summary) BuriedFailures(name func(path string) string) []string {
	if !s.buried && s.Failed <= maxNamed {
		return nil
	}
	var lines []string
	for _, e := range s.first {
		lines = append(lines, name(e.Path)+": "+e.Reason)
	}
	if s.Failed > maxNamed {
		lines[maxNamed-1] = fmt.Sprintf("%d more", s.Failed-maxNamed+1)
	}
	return lines
}

// counters add up a transfer.
type counters struct {
	mu  sync.Mutex
	sum Summary
}

// stored counts a file of so many bytes that the receiver has, newly stored or
// identical.
func (c *counters) stored(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.buried = c.sum.Failed > 0
	c.sum.Files++
	c.sum.Bytes += bytes
}

// failed counts the failure e of a file, link or directory. Both ends count the
// same failures.
func (c *counters) failed(e FileEvent) {
	c.worse(e.Kind)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.Failed++
	if len(c.sum.first) < maxNamed {
		c.sum.first = append(c.sum.first, FileEvent{Path: clip(e.Path, relpath.MaxLen), Kind: e.Kind, Reason: clip(e.Reason, 500)})
	}
}

// clip returns s, of which a peer has chosen the length: its first n bytes and
// "..." if it is longer than n.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}

// worse raises the worst kind of failure to kind.
func (c *counters) worse(kind Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.Worst = max(c.sum.Worst, kind)
}

// summary returns the counts so far.
func (c *counters) summary() Summary {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := c.sum
	sum.first = slices.Clone(sum.first)
	return sum
}

// totals returns the counts so far in the form of an end line.
func (c *counters) totals() *totals {
	sum := c.summary()
	return &totals{Files: sum.Files, Bytes: sum.Bytes, Worst: kindNames[sum.Worst]}
}

// add takes the worst failure of the peer's totals into account; its files are
// counted here already.
func (c *counters) add(t *totals) {
	if t.Worst != "" {
		c.worse(namedKind(t.Worst))
	}
}
