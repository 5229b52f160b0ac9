package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"purr/internal/display"
)

func TestSafeName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"a", "a/b", "a b", "ä/ö", "a..b", "\xff\xfe", strings.Repeat("x", 255),
		strings.Repeat("a/", 127) + "a", strings.Repeat(strings.Repeat("x", 31)+"/", 127) + "x",
	} {
		if err := safeName(name, false); err != nil {
			t.Errorf("%.40q refused: %v", name, err)
		}
	}
	for why, names := range map[string][]string{
		"a component that is empty, . or ..":            {"", ".", "..", "/", "/a", "a/", "a//b", "./a", "a/.", "../x", "a/../b", "/tmp/x", "a/.."},
		"a control character":                           {"a\x00b", "a\nb", "a\x1b[1A\rharmless", "\x7f", "a\u0085b", "\u2028", "a\u202eb", "a\u2066b"},
		"a component longer than 255 bytes":             {strings.Repeat("x", 256), "a/" + strings.Repeat("x", 256) + "/b"},
		"more than 128 components":                      {strings.Repeat("a/", 128) + "a"},
		"longer than 4096 bytes":                        {strings.Repeat(strings.Repeat("x", 254)+"/", 17)},
		".purr-part- begins the names of partial files": {".purr-part-0123456789abcdef", "a/.purr-part-", ".PURR-part-1", "a/.purr-part-x/b"},
	} {
		for _, name := range names {
			for _, hidden := range []bool{false, true} {
				var r *refusal
				if err := safeName(name, hidden); !errors.As(err, &r) || r.code != 400 || r.status != 4 || r.text != "unsafe name: "+why {
					t.Errorf("%.40q: %v, want %s", name, err, why)
				}
			}
		}
	}
	for _, name := range []string{".ssh/authorized_keys", ".bashrc", "a/.b/c", "...", "..a"} {
		if safeName(name, false) == nil {
			t.Errorf("%q taken without a key", name)
		}
		if err := safeName(name, true); err != nil {
			t.Errorf("%q refused with a key: %v", name, err)
		}
	}
}

// FuzzSafeName: what is a safe name leads down, and is no news for a terminal.
func FuzzSafeName(f *testing.F) {
	for _, seed := range []string{"a/b", "../x", "/tmp/x", "a\x1b[1A\r", ".purr-part-1", "a//b", "a/./b", "\xc2", "\u202e", "c:\\x"} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, name string, hidden bool) {
		if safeName(name, hidden) != nil {
			return
		}
		if !filepath.IsLocal(name) || filepath.ToSlash(filepath.Clean(name)) != name {
			t.Errorf("%q leads elsewhere", name)
		}
		for _, component := range strings.Split(name, "/") {
			if len(component) > 255 || component == "" || !hidden && component[0] == '.' || strings.HasPrefix(component, partialPrefix) {
				t.Errorf("%q has a bad component", name)
			}
		}
		if strings.ContainsFunc(name, func(r rune) bool {
			return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
		}) {
			t.Errorf("%q has control characters", name)
		}
		if q := display.Quote(name); !utf8.ValidString(q) || display.Escape(q) != q {
			t.Errorf("%q is shown as %q", name, q)
		}
		if n := numbered(name[strings.LastIndexByte(name, '/')+1:], 12); safeName(n, true) != nil {
			t.Errorf("%q gets the number %q", name, n)
		}
	})
}

func TestQuoted(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a.txt": "a.txt", "a b": "a b", "ä/ö": "ä/ö", "": `""`, " a": `" a"`, "a\"b": `"a\"b"`, `a\b`: `"a\\b"`,
		"a\x1b[1A\rharmless": `"a\x1b[1A\rharmless"`, "\xff": `"\xff"`, "a\u202eb": `"a\u202eb"`,
	} {
		if got := display.Quote(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func TestNumbered(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 127)
	for name, want := range map[string]string{
		"a.txt": "a.1.txt", "a": "a.1", "a.tar.gz": "a.tar.1.gz", ".bashrc": ".bashrc.1", "a.": "a.1.",
		long:            strings.Repeat("ä", 126) + ".1",
		long[1 : 252+1]: "", // begins within a rune: only the length counts
	} {
		got := numbered(name, 1)
		if want != "" && got != want || len(got) > maxComponent {
			t.Errorf("%.20q: %.40q, want %.40q", name, got, want)
		}
	}
}

// A link stays inside by its text alone: ".." only climbs from where it is.
func TestSafeTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path, target string
		safe         bool
	}{
		{"l", "a", true}, {"l", "a/b", true}, {"d/l", "../a", true}, {"d/l", "..", true}, {"d/e/l", "../../a", true}, {"l", ".", true},
		{"l", "..", false}, {"l", "../a", false}, {"d/l", "../../a", false}, {"l", "/etc/passwd", false}, {"d/l", "a/../../..", false},
		{"d/l", "a/../b", false}, {"l", "", false}, {"l", "a\nb", false}, {"l", ".ssh", false}, {"d/l", "../.ssh/x", false}, {"d/l", "..//a", false},
	} {
		if err := safeTarget(c.path, c.target, false); (err == nil) != c.safe {
			t.Errorf("%s -> %s: %v", c.path, c.target, err)
		}
	}
	if err := safeTarget("l", ".ssh", true); err != nil {
		t.Errorf("with a key: %v", err)
	}
}
