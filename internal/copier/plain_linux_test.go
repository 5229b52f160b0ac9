package copier

import (
	"errors"
	"io"
	"runtime"
	"testing"

	"purr/internal/testkit"
)

// The end of a stream, which splice reports as it does other things, costs no
// buffer of its own: a server with short connections would only collect
// garbage.
func TestEndsShareTheirBuffer(t *testing.T) {
	copyToEnd := func() {
		in, a := testkit.TcpPair(t)
		out, b := testkit.TcpPair(t)
		testkit.WriteString(t, a, "hello")
		_ = a.CloseWrite()
		c := New(out, in)
		defer c.Close()
		if err := Run(c, MaxSlice, func(int) error { return nil }); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if got := testkit.ReadN(t, b, 5); got != "hello" {
			t.Fatalf("got %q", got)
		}
	}
	copyToEnd()
	const streams = 64
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range streams {
		copyToEnd()
	}
	runtime.ReadMemStats(&after)
	// Under the race detector the pool drops some at random.
	if each := (after.TotalAlloc - before.TotalAlloc) / streams; each > 40<<10 {
		t.Errorf("%d bytes for each stream", each)
	}
}
