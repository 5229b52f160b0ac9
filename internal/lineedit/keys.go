package lineedit

import (
	"unicode"
	"unicode/utf8"
)

// A key is a character that is typed, or one of the constants below.
type key rune

// The keys that edit, outside the range of characters. Those that terminals
// send as control characters have no other value here.
const (
	keyNone key = unicode.MaxRune + 1 + iota // nothing: a function key
	keyLeft
	keyRight
	keyUp
	keyDown
	keyHome
	keyEnd
	keyDelete
	keyWordLeft
	keyWordRight
	keyEraseWord  // to the left, Alt-Backspace
	keyDeleteWord // to the right, Alt-D
)

// control returns the character that a terminal sends for Ctrl and a letter.
func control(letter rune) key { return key(letter & 0x1f) }

const (
	escape    = 0x1b
	backspace = 0x7f
)

// nextKey returns the first key in b and its length in bytes. The length is 0
// if b ends before the key does. Sequences are those of xterm, tmux, screen,
// rxvt and the Linux console. An unknown sequence as a whole is keyNone, so
// that none of its characters is typed.
func nextKey(b []byte) (key, int) {
	if len(b) == 0 {
		return keyNone, 0
	}
	if b[0] != escape {
		if !utf8.FullRune(b) {
			return keyNone, 0
		}
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError {
			return keyNone, size
		}
		return key(r), size
	}
	if len(b) == 1 {
		return keyNone, 0
	}
	switch b[1] {
	case '[':
		return controlSequence(b)
	case 'O': // SS3: application mode
		if len(b) == 2 {
			return keyNone, 0
		}
		return final(b[2], false), 3
	case escape: // Alt with a key that is a sequence itself
		return keyNone, 1
	case 'b':
		return keyWordLeft, 2
	case 'f':
		return keyWordRight, 2
	case 'd':
		return keyDeleteWord, 2
	case backspace, byte(control('h')):
		return keyEraseWord, 2
	}
	_, size := nextKey(b[1:]) // Alt with a character
	if size == 0 {
		return keyNone, 0
	}
	return keyNone, 1 + size
}

// controlSequence is nextKey for a sequence that begins with ESC [ (ECMA-48,
// section 5.4).
func controlSequence(b []byte) (key, int) {
	n := 2
	if len(b) > n && b[n] == '[' { // the Linux console's F1 to F5: ESC [ [ A
		if len(b) == n+1 {
			return keyNone, 0
		}
		return keyNone, n + 2
	}
	for n < len(b) && b[n] >= 0x20 && b[n] < 0x40 {
		n++
	}
	if n == len(b) {
		return keyNone, 0
	}
	if b[n] < 0x40 || b[n] > 0x7e {
		return keyNone, n // broken off: the next byte is a key of its own
	}
	parameters := string(b[2:n])
	if b[n] != '~' {
		return final(b[n], len(parameters) > 1), n + 1
	}
	switch parameters {
	case "1", "7":
		return keyHome, n + 1
	case "4", "8":
		return keyEnd, n + 1
	case "3":
		return keyDelete, n + 1
	}
	return keyNone, n + 1
}

// final returns the key of a sequence by its last byte. modified is true if
// Ctrl, Alt or Shift is held: then left and right move by words.
func final(last byte, modified bool) key {
	switch last {
	case 'A':
		return keyUp
	case 'B':
		return keyDown
	case 'C':
		if modified {
			return keyWordRight
		}
		return keyRight
	case 'D':
		if modified {
			return keyWordLeft
		}
		return keyLeft
	case 'H':
		return keyHome
	case 'F':
		return keyEnd
	}
	return keyNone
}
