// Package display turns names, numbers and bytes into text for people, with
// everything escaped that could act on a terminal.
package display

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Escape returns s with everything that could act on a terminal escaped as
// in a Go string: control characters, invalid UTF-8, and the invisible runes
// that reorder or hide text. Tabs and newlines are escaped too.
func Escape(s string) string {
	clean := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if !strings.ContainsFunc(s, clean) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r != utf8.RuneError && unicode.IsPrint(r) {
			b.WriteString(s[:size])
		} else {
			quoted := strconv.QuoteToASCII(s[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// Target names the end of a connection in OpenBSD nc's words: "HOST (ADDRESS)",
// or host alone if that is the address itself, with or without its zone.
func Target(host string, addr netip.Addr) string {
	addr = addr.Unmap()
	text, _, _ := strings.Cut(host, "%") // package netip has zones for IPv6 only
	if literal, err := netip.ParseAddr(text); err == nil && literal.Unmap() == addr.WithZone("") {
		return host
	}
	return host + " (" + addr.String() + ")"
}

// Size returns a number of bytes in a unit that keeps it short: "7.6 MiB".
func Size(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	size, unit := float64(n), -1
	for size >= 1023.95 && unit < len("KMGTPE")-1 {
		size /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGTPE"[unit])
}

// Plural returns the number n >= 0 with the noun in its form for n: "1 file",
// "8,000,000 bytes".
func Plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s + " " + noun + "s"
}

// Count returns the number n with the noun in its form for n, without a mark
// between thousands: "1 file", "8000000 files".
func Count(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.FormatInt(n, 10) + " " + noun
}

// Payload returns at most max bytes of b fit for a terminal: printable ASCII
// stays, everything else is escaped as in a Go string. What was cut off is
// marked with "...".
func Payload(b []byte, max int) string {
	cut := len(b) > max
	if cut {
		b = b[:max]
	}
	var s strings.Builder
	for _, c := range b {
		switch {
		case c == '\\':
			s.WriteString(`\\`)
		case c >= 0x20 && c < 0x7f:
			s.WriteByte(c)
		case c == '\n':
			s.WriteString(`\n`)
		case c == '\r':
			s.WriteString(`\r`)
		case c == '\t':
			s.WriteString(`\t`)
		default:
			fmt.Fprintf(&s, `\x%02x`, c)
		}
	}
	if cut {
		s.WriteString("...")
	}
	return s.String()
}

// Quote returns path for a message. A path that is empty, is no UTF-8, begins
// or ends with a space, or holds a double quote, a backslash or an unprintable
// character is quoted as a Go string. Any other path is returned as it is.
func Quote(path string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == '"' || r == '\\' }
	if path == "" || !utf8.ValidString(path) || strings.ContainsFunc(path, odd) || path != strings.TrimSpace(path) {
		return strconv.Quote(path)
	}
	return path
}

// PerSecond returns n divided by the seconds of took; 0 if no time has passed.
func PerSecond(n int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}

// Rate returns the rate of n bytes in the time took, for people: "1.2 MiB/s".
func Rate(n int64, took time.Duration) string {
	return Bytes(PerSecond(n, took)) + "/s"
}

// Bytes returns a number of bytes for people, in powers of 1024 and with at
// most three digits: "1.2 MiB", "12 MiB".
func Bytes(n float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	unit := 0
	for n >= 999.5 && unit < len(units)-1 {
		n /= 1024
		unit++
	}
	if unit > 0 && n < 9.95 {
		return fmt.Sprintf("%.1f %s", n, units[unit])
	}
	return fmt.Sprintf("%.0f %s", n, units[unit])
}

// Duration rounds d to about three digits, for people.
func Duration(d time.Duration) time.Duration {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond)
	case d < 10*time.Second:
		return d.Round(10 * time.Millisecond)
	case d < 100*time.Second:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
