package main

import (
	"bytes"
	"testing"
)

// plainUpper is what upper does, a byte at a time.
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
					if upper(b); !bytes.Equal(b, want) {
						t.Fatalf("size %d, place %d, %#x among %#x: %x, want %x", size, place, c, around, b, want)
					}
				}
			}
		}
	}
	b := []byte("straße é, zäöü")
	if upper(b); string(b) != "STRAßE é, ZäöüZ"[:len("STRAßE é, Zäöü")] {
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
		if upper(whole[skip:]); !bytes.Equal(whole, want) {
			t.Errorf("%x from %d: %x, want %x", b, skip, whole, want)
		}
	})
}

func BenchmarkUpper(b *testing.B) {
	buf := bytes.Repeat([]byte("The quick brown fox. "), 64<<10/21)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		upper(buf)
	}
}
