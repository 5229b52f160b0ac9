package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// base is the label of the second build of purr in the tables.
const base = "base"

// findBase returns the build of purr at path, which -base names.
func findBase(ctx context.Context, path string) (*tool, error) {
	t := findBuild(path)
	if t.absent != nil {
		return nil, fmt.Errorf("-base: %w", t.absent)
	}
	t.version = askVersion(ctx, t)
	return t, nil
}

// prepare returns the row as the command line asks for it: with the base
// build behind purr, and without the peers under -peers=false. The base build
// is a contender like any other, so both ends of its transfers are that build.
// A ratio of single runs means little, so the base build lifts row.most.
func (b *bench) prepare(rw row) row {
	var who []contender
	for _, c := range rw.who {
		own := c.tool.name == purr
		if b.alone && !own && c.tool.name != bare {
			continue
		}
		who = append(who, c)
		if own && b.base != nil {
			c.label, c.tool = base, b.base
			who = append(who, c)
		}
	}
	rw.who = who
	if b.base != nil {
		rw.most = 0
	}
	if b.alone {
		rw.goals = slices.DeleteFunc(slices.Clone(rw.goals), func(g goal) bool {
			return !g.absolute && g.against != bare
		})
	}
	return rw
}

// turns returns the order of n contenders in a round. The first one moves on
// with each round, and every second round runs backwards: of two neighbours
// each is ahead equally often.
func turns(round, n int) []int {
	order := make([]int, n)
	for i := range order {
		if round%2 == 0 {
			order[i] = (round + i) % n
		} else {
			order[i] = ((round-i)%n + n) % n
		}
	}
	return order
}

// A comparison is purr's result relative to that of the base build. Above 1
// purr is better, whichever way the row counts.
type comparison struct {
	ratio     float64 // of the medians
	low, high float64 // of the medians of single rounds
}

// ofBase compares purr with the base build. It fails if one of the two has no
// result.
func (res *result) ofBase() (comparison, error) {
	own, other := res.purr(), res.find(base)
	if own == nil || other == nil {
		return comparison{}, errors.New("no result")
	}
	c := comparison{ratio: res.better(own.samples, other.samples)}
	times := max(res.times, 1)
	for i := 0; i+times <= min(len(own.samples), len(other.samples)); i += times {
		ratio := res.better(own.samples[i:i+times], other.samples[i:i+times])
		if i == 0 {
			c.low = ratio
		}
		c.low, c.high = min(c.low, ratio), max(c.high, ratio)
	}
	return c, nil
}

// better returns the ratio of the median of own to that of other, inverted
// where less is better; 0 if the divisor is 0.
func (res *result) better(own, other []sample) float64 {
	a, b := median(own, valueOf), median(other, valueOf)
	if res.lower {
		a, b = b, a
	}
	if b == 0 {
		return 0
	}
	return a / b
}

// compared reports whether the base build takes part in the row.
func (res *result) compared() bool {
	return slices.ContainsFunc(res.cells, func(c *cell) bool { return c.label == base })
}

// baseText words the comparison with the base build.
func (res *result) baseText() string {
	c, err := res.ofBase()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f in single rounds)", c.ratio, c.low, c.high)
}

// summary writes the comparison of all rows with the base build.
func summary(w io.Writer, results []*result) error {
	fmt.Fprintf(w, "purr relative to base (above 1.00 purr is better, in every row):\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "row\tpurr\tbase\tunit\tCPU\tof base")
	for _, res := range results {
		if res.compared() {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", res.name, res.short(purr), res.short(base), res.unit,
				res.baseCPU(), res.baseText())
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// baseCPU is the ratio of the base build's CPU time for the same bytes to that
// of purr; "-" where it does not apply.
func (res *result) baseCPU() string {
	own, other := res.purr(), res.find(base)
	if own == nil || other == nil || own.cpu() == 0 || other.cpu() == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", other.cpu()/own.cpu())
}

// short is the median of the contender with the label; "-" if it has none.
func (res *result) short(label string) string {
	c := res.find(label)
	if c == nil {
		return "-"
	}
	return number3(c.value())
}
