package relpath

import (
	"errors"
	slashpath "path"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"purr/internal/display"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"a", "a/b", "a b", "ä/ö", "a..b", "\xff\xfe", strings.Repeat("x", 255),
		"می\u200cخواهم", "👨\u200d👩\u200d👧", "ខ\u200bខ", strings.Repeat("a/", 127) + "a", strings.Repeat(strings.Repeat("x", 31)+"/", 127) + "x",
	} {
		if err := Check(name, false); err != nil && CheckHere(name) == nil {
			t.Errorf("%.40q refused: %v", name, err)
		}
	}
	for why, names := range map[string][]string{
		"a component that is empty, . or ..":            {"", ".", "..", "/", "/a", "a/", "a//b", "./a", "a/.", "../x", "a/../b", "/tmp/x", "a/.."},
		"a control character":                           {"a\x00b", "a\nb", "a\x1b[1A\rharmless", "\x7f", "a\u0085b", "\u2028", "a\u202eb", "a\u2066b"},
		"an invisible character":                        {"a\u200eb", "\u200f", "a/\u061c", "\u115f", "a\u1160", "\u3164", "x\uffa0/y"},
		"a component longer than 255 bytes":             {strings.Repeat("x", 256), "a/" + strings.Repeat("x", 256) + "/b"},
		"more than 128 components":                      {strings.Repeat("a/", 128) + "a"},
		"longer than 4096 bytes":                        {strings.Repeat(strings.Repeat("x", 254)+"/", 17)},
		".purr-part- begins the names of partial files": {".purr-part-0123456789abcdef", "a/.purr-part-", ".PURR-part-1", "a/.purr-part-x/b"},
	} {
		for _, name := range names {
			for _, hidden := range []bool{false, true} {
				var e *Error
				if err := Check(name, hidden); !errors.As(err, &e) || e.Kind != Malformed || e.Text != "unsafe name: "+why {
					t.Errorf("%.40q: %v, want %s", name, err, why)
				}
			}
		}
	}
	for _, name := range []string{".ssh/authorized_keys", ".bashrc", "a/.b/c", "...", "..a"} {
		if Check(name, false) == nil {
			t.Errorf("%q taken without a key", name)
		}
		if err := Check(name, true); err != nil && CheckHere(name) == nil {
			t.Errorf("%q refused with a key: %v", name, err)
		}
	}
}

// FuzzCheck checks that an accepted path leads down and is harmless on a
// terminal.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"a/b", "../x", "/tmp/x", "a\x1b[1A\r", ".purr-part-1", "a//b", "a/./b", "\xc2", "\u202e", "c:\\x"} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, name string, hidden bool) {
		if Check(name, hidden) != nil {
			return
		}
		if !filepath.IsLocal(name) || filepath.ToSlash(filepath.Clean(name)) != name {
			t.Errorf("%q leads elsewhere", name)
		}
		for _, component := range strings.Split(name, "/") {
			if len(component) > 255 || component == "" || !hidden && component[0] == '.' || strings.HasPrefix(component, PartialPrefix) {
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
	})
}

// A target stays inside lexically: ".." climbs from the directory of the link.
func TestCheckTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path, target string
		safe         bool
	}{
		{"l", "a", true}, {"l", "a/b", true}, {"d/l", "../a", true}, {"d/l", "..", true}, {"d/e/l", "../../a", true}, {"l", ".", true},
		{"l", "..", false}, {"l", "../a", false}, {"d/l", "../../a", false}, {"l", "/etc/passwd", false}, {"d/l", "a/../../..", false},
		{"l", "", false}, {"l", "a\nb", false}, {"l", ".ssh", false}, {"d/l", "../.ssh/x", false},
		{"d/l", "a/../b", true}, {"d/l", "..//a", true}, {"l", "./a", true}, {"l", "a/", true}, {"l", "a//b/.", true}, {"l", "a/b/../../c", true}, {"d/l", "./../a", true},
		{"l", "a/../..", false}, {"l", "./..", false}, {"d/l", "a/../../../b", false}, {"l", "a/../.ssh", false}, {"l", "//a", false}, {"l", "a/../../a", false},
	} {
		if err := CheckTarget(c.path, c.target, false); (err == nil) != c.safe {
			t.Errorf("%s -> %s: %v", c.path, c.target, err)
		}
	}
	if err := CheckTarget("l", ".ssh", true); err != nil {
		t.Errorf("with a key: %v", err)
	}
}

// RealDirs are those behind which ".." would lead elsewhere if they were links.
func TestRealDirs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, target, want string }{
		{"l", "a/b", ""}, {"d/l", "../a", ""}, {"d/l", "./..//a/", ""}, {"l", "a/../b", "a"}, {"d/l", "a/../b", "d/a"},
		{"d/e/l", "a/../../b", "d/e/a"}, {"d/l", "a/b/../../c/../x", "d/a/b d/a d/c"}, {"d/l", "../a/./../b", "a"},
	} {
		if got := strings.Join(RealDirs(c.path, c.target), " "); got != c.want {
			t.Errorf("%s -> %s: %q, want %q", c.path, c.target, got, c.want)
		}
	}
}

// FuzzCheckTarget checks that an accepted link does not lead outside lexically.
func FuzzCheckTarget(f *testing.F) {
	for _, seed := range [][2]string{{"l", "a"}, {"d/l", "../a"}, {"d/l", ".."}, {"l", ".."}, {"d/e/l", "../../../x"}, {"l", "/etc"}, {"d/l", "a/../../.."}, {"l", "./a//b/../"}} {
		f.Add(seed[0], seed[1], true)
	}
	f.Fuzz(func(t *testing.T, path, target string, hidden bool) {
		if Check(path, hidden) != nil || CheckTarget(path, target, hidden) != nil {
			return
		}
		if to := slashpath.Join(slashpath.Dir(path), target); slashpath.IsAbs(target) || !filepath.IsLocal(to) {
			t.Errorf("%q -> %q leads to %q", path, target, to)
		}
		for _, dir := range RealDirs(path, target) {
			if !filepath.IsLocal(dir) || dir == "" {
				t.Errorf("%q -> %q leaves %q", path, target, dir)
			}
		}
	})
}

// FuzzEscape checks that every path survives a URL.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"a/b", "a b", "\xff\xfe", "100%", "a?b#c", "ä", "a\nb", "%2e%2e/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		escaped := Escape(path)
		if got, err := Unescape(escaped); err != nil || got != path {
			t.Errorf("%q as %q is %q, %v", path, escaped, got, err)
		}
		if strings.ContainsFunc(escaped, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '?' || r == '#' }) {
			t.Errorf("%q is escaped as %q", path, escaped)
		}
	})
}

// Unescape rejects incomplete escapes.
func TestUnescapeMalformed(t *testing.T) {
	t.Parallel()
	for _, escaped := range []string{"%", "a%2", "%zz/b"} {
		if path, err := Unescape(escaped); err == nil {
			t.Errorf("%q: %q", escaped, path)
		}
	}
}
