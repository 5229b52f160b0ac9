package push

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"purr/internal/offer"
	"purr/internal/rate"
	"purr/internal/testkit"
)

// Both ends expect the same bytes: all of the tree once it has lasted a moment,
// and in the end those that were moved. Both know the file that is moved.
func TestOutlook(t *testing.T) {
	defer func(d time.Duration) { sumAfter = d }(sumAfter)
	for _, test := range []struct {
		name  string
		after time.Duration
	}{{"summed up", 0}, {"too short", time.Hour}} {
		for _, listens := range []Role{Sender, Receiver} {
			t.Run(test.name+" "+string(listens), func(t *testing.T) {
				sumAfter = test.after
				x := newTransfer(t, listens)
				large := testkit.Noise(offer.SmallFile + 100_000)
				var sum int64
				add := func(name, content string) {
					x.file(name, content)
					sum += int64(len(content))
				}
				for _, name := range []string{"tree/a", "tree/b", "tree/sub/c"} {
					add(name, testkit.Noise(200_000))
				}
				add("tree/large", large)
				add("tree/sub/larger", large+large)
				add("tree/empty", "")
				x.sender.o.Rate = rate.New(20 << 20)
				x.run()
				check := func(moved int64) {
					t.Helper()
					for _, e := range []*end{&x.sender, &x.receiver} {
						if e.expected != moved || e.moved != moved {
							t.Errorf("expected %d bytes, moved %d, want %d", e.expected, e.moved, moved)
						}
					}
				}
				check(sum)
				if test.after == 0 && (x.sender.most != sum || x.receiver.most != sum) {
					t.Errorf("the most that were expected are %d and %d, want %d", x.sender.most, x.receiver.most, sum)
				}
				begun := []string{"tree/a", "tree/b", "tree/large", "tree/sub/c", "tree/sub/larger"}
				for _, e := range []*end{&x.sender, &x.receiver} {
					slices.Sort(e.begun)
					if !slices.Equal(e.begun, begun) {
						t.Errorf("begun were %q, want %q", e.begun, begun)
					}
				}
				// What is there already, in whole or in part, is not expected.
				if err := os.Remove(filepath.Join(x.into, "tree/large")); err != nil {
					t.Fatal(err)
				}
				x.sender.record, x.receiver.record = record{}, record{}
				x.run()
				check(int64(len(large)) + 3*200_000) // small files are sent with their lines
				if !x.sender.has("identical tree/sub/larger") || strings.Contains(strings.Join(x.sender.begun, " "), "larger") {
					t.Errorf("%q, begun %q", x.sender.lines, x.sender.begun)
				}
			})
		}
	}
}
