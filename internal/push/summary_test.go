package push

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A Summary names failures only if other lines have come after theirs, and
// counts those that it does not name. A peer's long texts are cut.
func TestBuriedFailures(t *testing.T) {
	t.Parallel()
	quote := func(path string) string { return "<" + path + ">" }
	for _, test := range []struct {
		failed int
		later  bool // whether a file is stored after the failures
		want   []string
	}{
		{0, true, nil},
		{1, false, nil},
		{9, false, nil},
		{2, true, []string{"<0>: why", "<1>: why"}},
		{9, true, []string{"<0>: why", "<1>: why", "<2>: why", "<3>: why", "<4>: why", "<5>: why", "<6>: why", "<7>: why", "<8>: why"}},
		{10, false, []string{"<0>: why", "<1>: why", "<2>: why", "<3>: why", "<4>: why", "<5>: why", "<6>: why", "<7>: why", "2 more"}},
	} {
		var c counters
		c.stored(1)
		for i := range test.failed {
			c.failed(FileEvent{Path: fmt.Sprint(i), Kind: Refused, Reason: "why"})
		}
		if test.later {
			c.stored(1)
		}
		if got := c.summary().BuriedFailures(quote); !slices.Equal(got, test.want) {
			t.Errorf("%d failures: %q, want %q", test.failed, got, test.want)
		}
	}
	var c counters
	long := strings.Repeat("x", 64<<10)
	c.failed(FileEvent{Path: long, Kind: Refused, Reason: long})
	c.stored(0)
	if lines := c.summary().BuriedFailures(quote); len(lines) != 1 || len(lines[0]) > 5000 {
		t.Errorf("%d lines, of %d bytes", len(lines), len(lines[0]))
	}
}
