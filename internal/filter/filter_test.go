package filter

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// inPieces runs a filter over s cut into pieces of n bytes.
func inPieces(f func([]byte) []byte, s string, n int) string {
	var out strings.Builder
	for b := []byte(s); len(b) > 0; {
		m := min(n, len(b))
		out.Write(f(b[:m:m]))
		b = b[m:]
	}
	return out.String()
}

func TestCRLF(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":             "",
		"a":            "a",
		"\n":           "\r\n",
		"\r\n":         "\r\n",
		"\r":           "\r",
		"\n\n":         "\r\n\r\n",
		"a\nb\r\nc\rd": "a\r\nb\r\nc\rd",
		"\r\r\n":       "\r\r\n",
		"\n\r":         "\r\n\r",
		"\r\n\n\r\n":   "\r\n\r\n\r\n",
	} {
		// However the reads cut it.
		for n := 1; n <= len(in)+1; n++ {
			if got := inPieces(NewCRLF(), in, n); got != want {
				t.Errorf("%q in pieces of %d: %q, want %q", in, n, got, want)
			}
		}
	}
	f := NewCRLF()
	if got := string(f([]byte("a\r"))) + string(f(nil)) + string(f([]byte("\n"))); got != "a\r\n" {
		t.Errorf("with an empty read between: %q", got)
	}
}

func FuzzCRLF(f *testing.F) {
	f.Add([]byte("a\nb\r\nc"), 1)
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		if n < 1 || n > 100 {
			n = 3
		}
		var want bytes.Buffer
		for i, c := range in {
			if c == '\n' && (i == 0 || in[i-1] != '\r') {
				want.WriteByte('\r')
			}
			want.WriteByte(c)
		}
		if got := inPieces(NewCRLF(), string(in), n); got != want.String() {
			t.Errorf("%q in pieces of %d: %q, want %q", in, n, got, want.String())
		}
	})
}

func TestTelnet(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, in, out, answer string }{
		{"no commands", "plain \r\n text \xfe\xf0", "plain \r\n text \xfe\xf0", ""},
		{"WILL is refused", "a\xff\xfb\x01b", "ab", "\xff\xfe\x01"},
		{"DO is refused", "a\xff\xfd\x18b", "ab", "\xff\xfc\x18"},
		{"a refusal is not answered", "a\xff\xfc\x01\xff\xfe\x02b", "ab", ""},
		{"a doubled 255 is data", "a\xff\xffb", "a\xffb", ""},
		{"two doubled ones", "\xff\xff\xff\xff", "\xff\xff", ""},
		{"other commands go", "a\xff\xf1\xff\xf9b", "ab", ""},
		{"a subnegotiation goes", "a\xff\xfa\x18\x01xyz\xff\xf0b", "ab", ""},
		{"with a doubled 255 in it", "a\xff\xfa\x18\xff\xff\xff\xf0b", "ab", ""},
		{"an option numbered 255", "a\xff\xfb\xffb", "ab", "\xff\xfe\xff"},
		{"several", "\xff\xfb\x01\xff\xfd\x01\xff\xfb\x03x", "x", "\xff\xfe\x01\xff\xfc\x01\xff\xfe\x03"},
		{"cut off", "a\xff\xfb", "a", ""},
	} {
		for n := 1; n <= len(test.in); n++ {
			var answer bytes.Buffer
			if got := inPieces(NewTelnet(&answer), test.in, n); got != test.out || answer.String() != test.answer {
				t.Errorf("%s, in pieces of %d: %q and the answer %q, want %q and %q", test.name, n, got, answer.String(), test.out, test.answer)
			}
		}
	}
}

// plainUpper is the reference implementation of upper, a byte at a time.
func plainUpper(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if 'a' <= c && c <= 'z' {
			out[i] = c - ('a' - 'A')
		}
	}
	return out
}

// Every byte at every place of a word, among neighbours of every kind.
func TestUpper(t *testing.T) {
	t.Parallel()
	for size := range 20 {
		for place := range size {
			for _, around := range []byte{0, 'a', 'z', '`', '{', 0x7f, 0x80, 0xe1, 0xff} {
				for c := range 256 {
					b := bytes.Repeat([]byte{around}, size)
					b[place] = byte(c)
					want := plainUpper(b)
					if Upper(b); !bytes.Equal(b, want) {
						t.Fatalf("size %d, place %d, %#x among %#x: %x, want %x", size, place, c, around, b, want)
					}
				}
			}
		}
	}
	b := []byte("straße é, zäöü")
	if Upper(b); string(b) != "STRAßE é, ZäöüZ"[:len("STRAßE é, Zäöü")] {
		t.Errorf("%s", b)
	}
}

func FuzzUpper(f *testing.F) {
	f.Add([]byte("Hello, World"), 0)
	f.Add([]byte("\xe1azAZ{`@[\x7f\x80\xff"), 3)
	f.Fuzz(func(t *testing.T, b []byte, skip int) {
		if skip < 0 || skip > len(b) {
			skip = 0
		}
		// Also where the slice does not begin at a word of memory; what stands
		// around it stays.
		whole := bytes.Clone(b)
		want := append(bytes.Clone(b[:skip]), plainUpper(b[skip:])...)
		if Upper(whole[skip:]); !bytes.Equal(whole, want) {
			t.Errorf("%x from %d: %x, want %x", b, skip, whole, want)
		}
	})
}

func BenchmarkUpper(b *testing.B) {
	buf := bytes.Repeat([]byte("The quick brown fox. "), 64<<10/21)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		Upper(buf)
	}
}

// A LineWriter pauses between two lines, however they are cut, and not before
// the first or after the last.
func TestLineWriter(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 12; n++ {
		var out strings.Builder
		w := &LineWriter{Writer: &out, Pause: func() error { out.WriteString("|"); return nil }}
		for b := []byte("one\ntwo\n\nend"); len(b) > 0; b = b[min(n, len(b)):] {
			if m, err := w.Write(b[:min(n, len(b))]); m != min(n, len(b)) || err != nil {
				t.Fatal(m, err)
			}
		}
		if got := out.String(); got != "one\n|two\n|\n|end" {
			t.Errorf("in pieces of %d: %q", n, got)
		}
	}
	over := errors.New("over")
	var out strings.Builder
	w := &LineWriter{Writer: &out, Pause: func() error { return over }}
	if n, err := w.Write([]byte("one\ntwo\n")); n != 4 || err != over || out.String() != "one\n" {
		t.Errorf("%d bytes, %v, wrote %q", n, err, out.String())
	}
}
