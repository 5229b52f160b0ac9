package store

import (
	"strings"
	"testing"

	"purr/internal/relpath"
)

func TestNumbered(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 127)
	for name, want := range map[string]string{
		"a.txt": "a.1.txt", "a": "a.1", "a.tar.gz": "a.tar.1.gz", ".bashrc": ".bashrc.1", "a.": "a.1.",
		long:            strings.Repeat("ä", 126) + ".1",
		long[1 : 252+1]: "", // begins within a rune: only the length is checked
	} {
		got := numbered(name, 1)
		if want != "" && got != want || len(got) > relpath.MaxComponent {
			t.Errorf("%.20q: %.40q, want %.40q", name, got, want)
		}
	}
}

// FuzzNumbered checks that a name with a number is a valid name.
func FuzzNumbered(f *testing.F) {
	for _, seed := range []string{"a.txt", "a", ".bashrc", "\xc2.\xff", strings.Repeat("x", 255)} {
		f.Add(seed, 12)
	}
	f.Fuzz(func(t *testing.T, name string, n int) {
		if n < 0 || strings.Contains(name, "/") || relpath.Check(name, true) != nil {
			return
		}
		if got := numbered(name, n); relpath.Check(got, true) != nil {
			t.Errorf("%q gets the number %q", name, got)
		}
	})
}
