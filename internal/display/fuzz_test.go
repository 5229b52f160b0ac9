package display

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// Any text is one line of JSON that cannot act on a terminal, and valid UTF-8
// is decoded to itself.
func FuzzAppendJSON(f *testing.F) {
	for _, seed := range []string{"", "a", "\x1b[2J\n", "\xff", "é\u202e\u2028", "\u009b31m", "\U000e0041\U0001f600", "\\u0041"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := AppendJSON(nil, s)
		var got string
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %q: %v", s, b, err)
		}
		if utf8.ValidString(s) && got != s {
			t.Errorf("%q: %q comes back as %q", s, b, got)
		}
		if Escape(string(b)) != string(b) {
			t.Errorf("%q: %q could act on a terminal", s, b)
		}
	})
}

// No text that Escape returns can move a cursor.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"", "a", "\x1b[2J", "\xff", "é\u202e", "\u009b31m"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Escape(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q: %q is no UTF-8", s, got)
		}
		for _, r := range got {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
				t.Errorf("%q: %q holds %q", s, got, r)
			}
		}
		if again := Escape(got); again != got {
			t.Errorf("%q: %q, and once more %q", s, got, again)
		}
	})
}
