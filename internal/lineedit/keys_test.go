package lineedit

import (
	"testing"
	"unicode"
	"unicode/utf8"
)

// Every terminal's keys are known, those that mean nothing here are nothing,
// and no prefix of one is a key.
func TestKeys(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]key{
		"a": 'a', "é": 'é', "世": '世', "\r": '\r', "\x03": control('c'), "\x7f": backspace, "\t": '\t',
		"\x1b[A": keyUp, "\x1b[B": keyDown, "\x1b[C": keyRight, "\x1b[D": keyLeft,
		"\x1bOA": keyUp, "\x1bOB": keyDown, "\x1bOC": keyRight, "\x1bOD": keyLeft,
		"\x1b[H": keyHome, "\x1bOH": keyHome, "\x1b[1~": keyHome, "\x1b[7~": keyHome,
		"\x1b[F": keyEnd, "\x1bOF": keyEnd, "\x1b[4~": keyEnd, "\x1b[8~": keyEnd, "\x1b[3~": keyDelete,
		"\x1b[1;5C": keyWordRight, "\x1b[1;5D": keyWordLeft, "\x1bb": keyWordLeft, "\x1bf": keyWordRight,
		"\x1bd": keyDeleteWord, "\x1b\x7f": keyEraseWord, "\x1b\b": keyEraseWord,
		// F1 to F12, with and without modifiers, in several terminals.
		"\x1bOP": keyNone, "\x1bOS": keyNone, "\x1b[11~": keyNone, "\x1b[[A": keyNone, "\x1b[[E": keyNone, "\x1b[15~": keyNone,
		"\x1b[24~": keyNone, "\x1b[1;2P": keyNone, "\x1b[24;6~": keyNone,
		"\x1b[2~": keyNone, "\x1b[5~": keyNone, "\x1b[6~": keyNone, "\x1b[Z": keyNone, "\x1b[200~": keyNone, "\x1b[I": keyNone,
		"\x1bx": keyNone, "\x1bé": keyNone, "\x1b[<0;1;1M": keyNone, "\x80": keyNone, "\xff": keyNone,
	} {
		if k, n := nextKey([]byte(in + "x")); k != want || n != len(in) {
			t.Errorf("%q: key %d of %d bytes, want %d of %d", in, k, n, want, len(in))
		}
		for i := range in {
			if i > 0 && in[0] == escape {
				if _, n := nextKey([]byte(in[:i])); n != 0 {
					t.Errorf("%q, the beginning of %q, is a key of %d bytes", in[:i], in, n)
				}
			}
		}
	}
	// Alt with a key that is a sequence itself, and a sequence that is broken off.
	for in, n := range map[string]int{"\x1b\x1b[A": 1, "\x1b[12\r": 4, "\x1b[1\x1b[A": 3, "\xe4\xb8": 0, "\x1b\xe4": 0, "": 0} {
		if k, got := nextKey([]byte(in)); k != keyNone || got != n {
			t.Errorf("%q: key %d of %d bytes, want %d", in, k, got, n)
		}
	}
}

// Any bytes are keys of at least one byte, and characters are valid.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("\x1b[1;5C\x1bOP\x1b[[Aé\xff\x1b\x1b[3~"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			k, n := nextKey(b)
			if n == 0 {
				break
			}
			if n > len(b) || k <= unicode.MaxRune && !utf8.ValidRune(rune(k)) {
				t.Fatalf("%q: key %d of %d bytes", b, k, n)
			}
			b = b[n:]
		}
		if len(b) > 0 && b[0] != escape && utf8.FullRune(b) {
			t.Errorf("%q is left", b)
		}
	})
}
