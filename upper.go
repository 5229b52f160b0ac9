package main

import "encoding/binary"

// upper turns ASCII a-z into A-Z in place and leaves every other byte as it
// is, those from 0x80 up included, so that UTF-8 text and binary data pass
// unharmed. It works on eight bytes at a time without a branch.
func upper(b []byte) {
	const (
		ones = 0x0101010101010101
		high = 0x80 * ones
	)
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		// The high bit of each byte of the sums says whether its low seven
		// bits are at least 'a', and whether they are beyond 'z'. No sum
		// carries into the next byte: 0x7f + 0x1f < 0x100.
		low := x &^ high
		fromA := low + (0x80-'a')*ones
		beyondZ := low + (0x7f-'z')*ones
		lower := (fromA ^ beyondZ) & ^x & high
		binary.LittleEndian.PutUint64(b, x^lower>>2) // 0x80>>2 is the case bit, 0x20
		b = b[8:]
	}
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 0x20
		}
	}
}
