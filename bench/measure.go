package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// A bench is one run of this program. Nothing changes it once the measuring has begun but dataFile, which is called
// by one goroutine.
type bench struct {
	dir    string // on tmpfs: the disk is not what is measured
	disk   string // but for the rows that store on one
	tools  map[string]*tool
	rounds int
	size   int64 // bytes of the largest stream rows
	short  bool
	base   *tool // the build of purr to compare with; nil: none
	alone  bool  // measure no peers
	// isolated says that all this happens in a network namespace of its own.
	isolated bool
}

// A cell is what one contender did in one row.
type cell struct {
	contender
	samples []sample
	err     error // why it has no (more) samples
}

// A result is a measured row.
type result struct {
	row
	cells []*cell // in the order of row.who
}

// checkSize is how much is moved in a run that compares every byte.
const checkSize = 32 << 20

// measure runs a row: first every contender with every byte compared, then the
// rounds. In each round every contender has its turn; the order changes from
// round to round. A contender that fails is not asked again.
func (b *bench) measure(ctx context.Context, rw row) *result {
	rw = b.prepare(rw)
	res := &result{row: rw}
	for _, c := range rw.who {
		res.cells = append(res.cells, &cell{contender: c, err: c.tool.absent})
	}
	if rw.check && !b.short { // with -short every run compares every byte
		for _, c := range res.cells {
			b.turn(ctx, rw, c, true)
			c.samples = nil
		}
	}
	rounds := b.rounds
	if rw.most > 0 {
		rounds = min(rounds, rw.most)
	}
	for round := range rounds * rw.times {
		for _, i := range turns(round, len(res.cells)) {
			b.turn(ctx, rw, res.cells[i], b.short)
		}
	}
	return res
}

// turn lets a contender do the row's work once.
func (b *bench) turn(ctx context.Context, rw row, c *cell, check bool) {
	if c.err != nil {
		return
	}
	r := run{bench: b, contender: c.contender, lane: rw.lane, check: check, size: int64(rw.share * float64(b.size))}
	if check && !b.short {
		r.size = min(r.size, checkSize)
	}
	s, err := rw.run(ctx, r)
	switch {
	case ctx.Err() != nil:
		c.err = context.Cause(ctx)
	case err != nil:
		c.err = err
	default:
		c.samples = append(c.samples, s)
	}
}

// dataFile returns the path of a file that holds size bytes of the stream. It is made once.
func (b *bench) dataFile(size int64) (string, error) {
	path := filepath.Join(b.dir, fmt.Sprintf("data-%d", size))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, writePattern(path, "", size)
}

// warm writes and removes a file of size bytes, so that the next file to be written gets the same pages again. In a
// virtual machine a page that was free for a while may have gone back to the host, and to get it again costs more
// than to fill it: without this, the same program wrote the same file at 0.2 or at 0.7 GB/s.
func (b *bench) warm(size int64) error {
	path := filepath.Join(b.dir, "warm")
	defer os.Remove(path)
	return writePattern(path, "", size)
}

// idleCount is how many idle connections there shall be: 10,000, or what the limit on descriptors allows.
func (b *bench) idleCount() int {
	const spare = 100
	want := b.pick(10000, 300)
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		want = min(want, int(limit.Max)-spare)
	}
	return want
}

// raiseFiles raises the hard limit on descriptors, if we may. The soft limit stays, because a peer may go through all
// descriptors up to it; a Go program raises its own.
func raiseFiles() {
	const enough = 32768
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Max >= enough {
		return
	}
	limit.Cur, limit.Max = min(limit.Cur, 1024), enough
	unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

// failure is why purr has no result in the row, if so.
func (res *result) failure() error {
	for _, c := range res.cells {
		if c.label == purr && c.err != nil {
			return fmt.Errorf("%s: %s: %w", res.name, purr, c.err)
		}
	}
	return nil
}

// median returns the middle of the values that of takes from the samples; 0 if
// there are none.
func median(samples []sample, of func(sample) float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	var values []float64
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// valueOf is the result of a sample, for median.
func valueOf(s sample) float64 { return s.value }

// value is the median result of the cell, in the row's unit.
func (c *cell) value() float64 {
	return median(c.samples, valueOf)
}

// cpu is the median CPU time, in seconds per GB.
func (c *cell) cpu() float64 {
	return median(c.samples, func(s sample) float64 { return s.cpu })
}

// good says whether the cell has a result.
func (c *cell) good() bool {
	return c.err == nil && len(c.samples) > 0
}

// purr is purr's cell.
func (res *result) purr() *cell {
	return res.find(purr)
}

// find returns the good cell with the label, or nil.
func (res *result) find(label string) *cell {
	for _, c := range res.cells {
		if c.label == label && c.good() {
			return c
		}
	}
	return nil
}

// best is the best peer that counts; nil if there is none.
func (res *result) best() *cell {
	var best *cell
	for _, c := range res.cells {
		if c.tool.name == purr || c.aside || !c.good() {
			continue
		}
		if best == nil || res.lower == (c.value() < best.value()) {
			best = c
		}
	}
	return best
}

// figure is what a goal looks at: the ratio of purr's median to that of the tool it is compared with, or purr's
// median itself. It fails if one of the two has no result.
func (res *result) figure(g goal) (float64, error) {
	own := res.purr()
	if own == nil {
		return 0, errors.New("no result")
	}
	if g.absolute {
		return own.value(), nil
	}
	other := res.best()
	if g.against != "" {
		other = res.find(g.against)
	}
	if other == nil || other.value() == 0 {
		return 0, errors.New("nothing to compare with")
	}
	return own.value() / other.value(), nil
}

// met says whether a figure meets the goal.
func (res *result) met(g goal, figure float64) bool {
	if res.lower {
		return figure <= g.limit
	}
	return figure >= g.limit
}
