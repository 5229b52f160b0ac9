package flags

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"1", "1 <nil>"}, {"010", "10 <nil>"}, {"100", "100 <nil>"}, {"+5", "5 <nil>"},
		{"0", "0 thing too small: 0"}, {"-5", "0 thing too small: -5"}, {"101", "0 thing too large: 101"},
		{"99999999999999999999", "0 thing too large: 99999999999999999999"}, {"-99999999999999999999", "0 thing too small: -99999999999999999999"},
		{"", "0 thing invalid: "}, {"x", "0 thing invalid: x"}, {"0x1", "0 thing invalid: 0x1"}, {"1_0", "0 thing invalid: 1_0"}, {"1.5", "0 thing invalid: 1.5"},
		{" 1", "0 thing invalid:  1"}, {"١", "0 thing invalid: ١"}, {"1k", "0 thing invalid: 1k"},
	} {
		n, err := Number{What: "thing", Low: 1, High: 100}.Int(test.text)
		if got := fmt.Sprint(n, " ", err); got != test.want {
			t.Errorf("%q: %s, want %s", test.text, got, test.want)
		}
	}
}

func TestParseBufferSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"1": 1, "64k": 64 << 10, "64K": 64 << 10, "1m": 1 << 20, "2M": 2 << 20, "1g": 1 << 30, "2147483647": 1<<31 - 1, "+5": 5, "+5k": 5 << 10,
	} {
		if n, err := ParseBufferSize(text); err != nil || n != want {
			t.Errorf("%s: %d (%v), want %d", text, n, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "size invalid: ", "k": "size invalid: k", "x": "size invalid: x", "1kk": "size invalid: 1k", "1 k": "size invalid: 1 ", "1.5M": "size invalid: 1.5",
		"0x10": "size invalid: 0x10", "1T": "size invalid: 1T", "0": "size too small: 0", "0k": "size too small: 0", "-1": "size too small: -1", "-1k": "size too small: -1",
		"2G": "size too large: 2", "2147483648": "size too large: 2147483648", "99999999999999999999": "size too large: 99999999999999999999",
	} {
		if n, err := ParseBufferSize(text); err == nil || err.Error() != want || n != 0 {
			t.Errorf("%q: %d (%v), want %q", text, n, err, want)
		}
	}
}

func TestParseFileSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "0T": 0, "-0": 0, "1": 1, "010": 10, "5G": 5 << 30, "5g": 5 << 30, "1t": 1 << 40, "8388607T": 8388607 << 40, "9223372036854775807": math.MaxInt64,
	} {
		if n, err := ParseFileSize(text); err != nil || n != want {
			t.Errorf("%s: %d (%v), want %d", text, n, err, want)
		}
		if n, err := ParseSizeLimit(text); want > 0 && (err != nil || n != want) || want == 0 && err == nil {
			t.Errorf("%s as a limit: %d (%v)", text, n, err)
		}
	}
	for text, want := range map[string]string{
		"-1": "too small: -1", "-1k": "too small: -1k", "-99999999999999999999": "too small: -99999999999999999999",
		"8388608T": "too large: 8388608T", "9223372036854775808": "too large: 9223372036854775808",
		"": "invalid: %s", "k": "invalid: k%s", "1P": "invalid: 1P%s", "1kk": "invalid: 1kk%s", "+1": "invalid: +1%s", "1.5M": "invalid: 1.5M%s",
	} {
		want = "size " + strings.Replace(want, "%s", " (bytes, or a number with k, M, G or T)", 1)
		if n, err := ParseFileSize(text); err == nil || err.Error() != want || n != 0 {
			t.Errorf("%q: %d (%v), want %q", text, n, err, want)
		}
	}
}

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"1": 1, "1k": 1 << 10, "20M": 20 << 20, "3g": 3 << 30, "8589934591G": 8589934591 << 30, "9223372036854775807": 1<<63 - 1} {
		if n, err := ParseRate(text); err != nil || n != want {
			t.Errorf("%s: %d (%v), want %d", text, n, err, want)
		}
	}
	for text, want := range map[string]string{
		"0": "rate too small: 0", "-1": "rate too small: -1", "-99999999999999999999": "rate too small: -99999999999999999999",
		"8589934592G": "rate too large: 8589934592G", "9223372036854775808": "rate too large: 9223372036854775808",
		"": "rate invalid:  (bytes a second, or a number with k, M or G)", "k": "rate invalid: k (bytes a second, or a number with k, M or G)",
		"1.5M": "rate invalid: 1.5M (bytes a second, or a number with k, M or G)", "+1": "rate invalid: +1 (bytes a second, or a number with k, M or G)",
		"1T": "rate invalid: 1T (bytes a second, or a number with k, M or G)", "0k": "rate too small: 0k",
	} {
		if n, err := ParseRate(text); err == nil || err.Error() != want || n != 0 {
			t.Errorf("%q: %d (%v), want %q", text, n, err, want)
		}
	}
}

// An accepted text is a number within its bounds, and the same number without
// the unit is accepted, too; an error has no number.
func FuzzSizes(f *testing.F) {
	for _, seed := range []string{"1", "0", "64k", "5G", "1t", "-1", "+1k", "kk", "9223372036854775807", "8388608T", "99999999999999999999k"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, grammar := range []Number{bufferSize, fileSize, sizeLimit, byteRate} {
			n, err := grammar.Parse(text)
			if err != nil {
				if n != 0 {
					t.Errorf("%q: %d beside %v", text, n, err)
				}
				continue
			}
			if n < grammar.Low || n > grammar.High {
				t.Errorf("%q: %d is not within %d and %d", text, n, grammar.Low, grammar.High)
			}
			bare := strings.TrimRight(text, "kKmMgGtT")
			unit := n
			for range len(text) - len(bare) {
				switch text[len(text)-1] | 0x20 {
				case 'k':
					unit >>= 10
				case 'm':
					unit >>= 20
				case 'g':
					unit >>= 30
				case 't':
					unit >>= 40
				}
			}
			if again, err := grammar.Parse(bare); err != nil || again != unit {
				t.Errorf("%q: %d, but %q: %d (%v)", text, n, bare, again, err)
			}
		}
	})
}
