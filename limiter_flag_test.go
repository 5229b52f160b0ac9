package main

import "testing"

func TestSendRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"1": 1, "1k": 1 << 10, "20M": 20 << 20, "3g": 3 << 30, "8589934591G": 8589934591 << 30, "9223372036854775807": 1<<63 - 1} {
		var v sendRate
		if err := v.Set(text); err != nil || v.n != want {
			t.Errorf("%s: %d (%v), want %d", text, v.n, err, want)
		}
	}
	for text, want := range map[string]string{
		"0": "rate too small: 0", "-1": "rate too small: -1", "-99999999999999999999": "rate too small: -99999999999999999999",
		"8589934592G": "rate too large: 8589934592G", "9223372036854775808": "rate too large: 9223372036854775808",
		"": "rate invalid:  (bytes a second, or a number with k, M or G)", "k": "rate invalid: k (bytes a second, or a number with k, M or G)",
		"1.5M": "rate invalid: 1.5M (bytes a second, or a number with k, M or G)", "+1": "rate invalid: +1 (bytes a second, or a number with k, M or G)",
		"1T": "rate invalid: 1T (bytes a second, or a number with k, M or G)", "0k": "rate too small: 0k",
	} {
		var v sendRate
		if err := v.Set(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
