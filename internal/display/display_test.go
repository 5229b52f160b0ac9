package display

import (
	"net/netip"
	"testing"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":               "",
		"plain text":     "plain text",
		"straße é 日本語 😀": "straße é 日本語 😀",
		"a\x1b[31mb":     `a\x1b[31mb`,
		"a\tb\nc\rd":     `a\tb\nc\rd`,
		"\x00\x07\x7f":   `\x00\a\x7f`,
		"\x80\xff":       `\x80\xff`,
		"\u0085\u009b":   `\u0085\u009b`, // C1: CSI in one rune
		"\u202eabc":      `\u202eabc`,    // right-to-left override
		"\u200b\ufeff":   `\u200b\ufeff`,
		"\u2028":         `\u2028`,
		"\ufffd":         `\ufffd`,
		`back\slash "x"`: `back\slash "x"`,
		"\xed\xa0\x80":   `\xed\xa0\x80`, // a surrogate in UTF-8 is none
		"\U000e0041":     `\U000e0041`,   // tag characters hide text
	} {
		if got := Escape(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a.txt": "a.txt", "a b": "a b", "ä/ö": "ä/ö", "": `""`, " a": `" a"`, "a\"b": `"a\"b"`, `a\b`: `"a\\b"`,
		"a\x1b[1A\rharmless": `"a\x1b[1A\rharmless"`, "\xff": `"\xff"`, "a\u202eb": `"a\u202eb"`,
	} {
		if got := Quote(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                         "",
		"a b":                      "a b",
		"\x1b[31m\r\n\t\x00\xff\\": `\x1b[31m\r\n\t\x00\xff\\`,
		"0123456789abc":            "0123456789a...",
	} {
		if got := Payload([]byte(in), 11); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 8_000_000: "7.6 MiB", 1<<20 - 1: "1.0 MiB", 1 << 40: "1.0 TiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1,000 bytes", 8_000_000: "8,000,000 bytes"} {
		if got := Plural(n, "byte"); got != want {
			t.Errorf("Plural(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 files", 1: "1 file", 8_000_000: "8000000 files"} {
		if got := Count(n, "file"); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{"gw.example": "gw.example (10.0.2.2)", "10.0.2.2": "10.0.2.2", "::ffff:10.0.2.2": "::ffff:10.0.2.2"} {
		if got := Target(host, netip.MustParseAddr("10.0.2.2")); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for host, addr := range map[string]string{"239.1.2.3%eth0": "::ffff:239.1.2.3%eth0", "fe80::1%eth0": "fe80::1%eth0", "239.1.2.4%eth0": "239.1.2.4"} {
		if got := Target(host, netip.MustParseAddr(addr)); got != host {
			t.Errorf("%q, want %q", got, host)
		}
	}
	if got := Target("fe80::2%eth0", netip.MustParseAddr("fe80::1%eth0")); got != "fe80::2%eth0 (fe80::1%eth0)" {
		t.Errorf("%q", got)
	}
}
