package broadcast

import (
	"testing"

	"purr/internal/fdio"
	"purr/internal/testkit"
)

// subscribe returns a new subscriber, which is never reset.
func subscribe(t *testing.T, b *Broadcast) *Subscriber {
	t.Helper()
	stop, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop.Close)
	s := b.Subscribe(stop, func() { t.Error("reset") })
	if s != nil {
		t.Cleanup(s.Leave)
	}
	return s
}

// Each subscriber gets what is read from its begin on; after the end there are
// none.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	in, feed := testkit.StdioPipe(t)
	b := New(in)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.WriteString(t, feed, "early ")
	first := subscribe(t, b)
	if got := testkit.ReadN(t, first, 6); got != "early " {
		t.Errorf("got %q", got)
	}
	second := subscribe(t, b)
	if b.Len() != 2 || second.Kind() != fdio.Pipe {
		t.Errorf("%d subscribers, of kind %d", b.Len(), second.Kind())
	}
	third := subscribe(t, b)
	if !third.Detach() || b.Len() != 2 {
		t.Error("one without a byte is not detached")
	}
	testkit.WriteString(t, feed, "late")
	_ = feed.Close()
	for _, s := range []*Subscriber{first, second} {
		if got := testkit.ReadAll(t, s); got != "late" || !s.Ready() {
			t.Errorf("got %q", got)
		}
	}
	if subscribe(t, b) != nil {
		t.Error("a subscriber after the end")
	}
}

// Without a file it has ended.
func TestNothingToBroadcast(t *testing.T) {
	t.Parallel()
	b := New(nil)
	if err := b.Start(t.Context()); err != nil || subscribe(t, b) != nil {
		t.Errorf("a subscriber of nothing (%v)", err)
	}
}
