package tlsconn

import (
	"errors"
	"strings"
	"testing"
)

// Each way to write a key, and the error for each way to get it wrong.
func TestParseKey(t *testing.T) {
	t.Parallel()
	const want = "AAAQEAYEAUDAOCAJBIFQYDIOB4X" // as Python's base64 and hashlib have it
	k := Key{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	if got := k.String(); got != want {
		t.Errorf("key is %s, want %s", got, want)
	}
	text := k.String()
	for _, same := range []string{text, strings.ToLower(text), text + "\n", text + "\r\n", " " + text + " ",
		text[:5] + "-" + text[5:10] + " " + text[10:20] + "--" + text[20:]} {
		if got, err := ParseKey(same); err != nil || got != k {
			t.Errorf("%q: %v, %v", same, got, err)
		}
	}
	for text, want := range map[string]error{
		"":                                    ErrNoKey,
		"hunter2":                             ErrNoKey,
		"correct horse battery staple, isn't": ErrNoKey,
		"correcthorsebatterystaple":           errors.New("mistyped: 25 characters where a key has 27"),
		strings.Repeat("A", 31):               ErrNoKey,
		text[:20] + "\x00" + text[21:]:        ErrNoKey,
		text[:20] + "é" + text[21:]:           ErrNoKey,
		text[:keyDigits]:                      errors.New("mistyped: 26 characters where a key has 27"),
		text + "A":                            errors.New("mistyped: 28 characters where a key has 27"),
		text[:3] + "0" + text[4:]:             errors.New("mistyped: character 4 is none that a key has (A-Z, 2-7)"),
		text[:25] + "1" + text[26:]:           errors.New("mistyped: character 26 is none that a key has (A-Z, 2-7)"),
		text[:26] + "A":                       errors.New("mistyped: the check character at the end does not fit the others"),
	} {
		got, err := ParseKey(text)
		if err == nil || got != (Key{}) || err.Error() != want.Error() {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
		if typo := new(TypoError); errors.As(err, &typo) == errors.Is(err, ErrNoKey) {
			t.Errorf("%q: %T is neither or both", text, err)
		}
	}
}

// Of 32 wrong characters 31 are detected, and every error is a TypoError.
func TestKeyCheck(t *testing.T) {
	t.Parallel()
	missed, tried := 0, 0
	for range 50 {
		text := NewKey().String()
		for i := range text {
			for _, c := range alphabet {
				if byte(c) == text[i] {
					continue
				}
				tried++
				if _, err := ParseKey(text[:i] + string(c) + text[i+1:]); err == nil {
					missed++
				} else if !errors.As(err, new(*TypoError)) {
					t.Fatalf("not a typing error: %v", err)
				}
			}
		}
	}
	if missed > tried/20 {
		t.Errorf("%d of %d wrong characters passed, want one of 32", missed, tried)
	}
}

func TestKeysDiffer(t *testing.T) {
	t.Parallel()
	seen := make(map[Key]bool)
	for range 1000 {
		k := NewKey()
		if back, err := ParseKey(k.String()); err != nil || back != k || seen[k] {
			t.Fatalf("%v: back %v, %v; made before: %v", k, back, err, seen[k])
		}
		seen[k] = true
	}
}

// Every key has exactly one spelling, and no error quotes it.
func FuzzParseKey(f *testing.F) {
	f.Add(NewKey().String())
	f.Add("hunter2")
	f.Add("aaaa-aaaa aaaa\r\n")
	f.Add(strings.Repeat("7", 27))
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err != nil {
			if k != (Key{}) || len(text) > 8 && strings.Contains(err.Error(), text[:8]) {
				t.Errorf("%q: key %v beside %v", text, k, err)
			}
			return
		}
		clean := strings.NewReplacer(" ", "", "-", "").Replace(strings.TrimRight(strings.ToUpper(text), "\r\n"))
		if k.String() != clean {
			t.Errorf("%q is taken for %v", text, k)
		}
	})
}
