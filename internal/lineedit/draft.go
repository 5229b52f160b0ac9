package lineedit

import (
	"slices"
	"unicode"

	"golang.org/x/text/width"
)

// A draft is the line being edited. Its elements are characters as the cursor
// moves over them: a rune with the combining ones behind it.
type draft struct {
	text []string
	at   int // the cursor is in front of text[at]
	size int // of the text in bytes
}

// String returns the text.
func (d *draft) String() string {
	var text []byte
	for _, c := range d.text {
		text = append(text, c...)
	}
	return string(text)
}

// set replaces the text, with the cursor behind it.
func (d *draft) set(text string) {
	*d = draft{}
	for _, r := range text {
		d.insert(r)
	}
}

// insert adds r at the cursor: a combining rune to the character in front of
// the cursor, any other as a character of its own. A rune that cannot be shown
// is dropped, and so is every rune once the text has maxLine bytes.
func (d *draft) insert(r rune) {
	joiner := r == '\u200c' || r == '\u200d'
	if !unicode.IsGraphic(r) && !joiner || d.size >= maxLine {
		return
	}
	d.size += len(string(r))
	if d.at > 0 && runeWidth(r) == 0 {
		d.text[d.at-1] += string(r)
		return
	}
	d.text = slices.Insert(d.text, d.at, string(r))
	d.at++
}

// remove deletes the characters text[from:to], and moves the cursor to their
// place.
func (d *draft) remove(from, to int) {
	for _, c := range d.text[from:to] {
		d.size -= len(c)
	}
	d.text = slices.Delete(d.text, from, to)
	d.at = from
}

// wordLeft returns the index of the beginning of the word left of the cursor.
// Spaces between that word and the cursor are skipped. Without such a word it
// returns 0.
func (d *draft) wordLeft() int {
	i := d.at
	for i > 0 && !d.inWord(i-1) {
		i--
	}
	for i > 0 && d.inWord(i-1) {
		i--
	}
	return i
}

// wordRight returns the index behind the word right of the cursor. Spaces
// between the cursor and that word are skipped. Without such a word it returns
// the end of the text.
func (d *draft) wordRight() int {
	i := d.at
	for i < len(d.text) && !d.inWord(i) {
		i++
	}
	for i < len(d.text) && d.inWord(i) {
		i++
	}
	return i
}

// inWord reports whether the character i belongs to a word: it is no space.
func (d *draft) inWord(i int) bool {
	return !unicode.IsSpace([]rune(d.text[i])[0])
}

// edit changes the draft as a key asks for. Unknown keys do nothing.
func (d *draft) edit(k key) {
	end := len(d.text)
	switch k {
	case keyLeft, control('b'):
		d.at = max(d.at-1, 0)
	case keyRight, control('f'):
		d.at = min(d.at+1, end)
	case keyHome, control('a'):
		d.at = 0
	case keyEnd, control('e'):
		d.at = end
	case keyWordLeft:
		d.at = d.wordLeft()
	case keyWordRight:
		d.at = d.wordRight()
	case backspace, control('h'):
		d.remove(max(d.at-1, 0), d.at)
	case keyDelete, control('d'):
		d.remove(d.at, min(d.at+1, end))
	case keyEraseWord, control('w'):
		d.remove(d.wordLeft(), d.at)
	case keyDeleteWord:
		d.remove(d.at, d.wordRight())
	case control('k'):
		d.remove(d.at, end)
	case control('u'):
		d.remove(0, d.at)
	default:
		if k <= unicode.MaxRune {
			d.insert(rune(k))
		}
	}
}

// runeWidth returns the columns that a terminal gives a rune: 2 for wide ones
// (Unicode Standard Annex 11), 0 for combining ones.
func runeWidth(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// A row is one row of the screen with a part of a drawn line.
type row struct {
	text  string
	width int // in columns
}

// rows lays prompt and text out on rows of the given number of columns. It
// returns the rows and the position of the cursor, counted from 0. A wide
// character is never divided. The last row has a free column for the cursor
// behind the text.
func (d *draft) rows(prompt string, columns int) (rows []row, cursorRow, cursorColumn int) {
	rows = []row{{prompt, len(prompt)}}
	for i := 0; i <= len(d.text); i++ {
		last := &rows[len(rows)-1]
		wide, c := 1, ""
		if i < len(d.text) {
			c = d.text[i]
			wide = runeWidth([]rune(c)[0])
		}
		if last.width+wide > columns {
			rows = append(rows, row{})
			last = &rows[len(rows)-1]
		}
		if i == d.at {
			cursorRow, cursorColumn = len(rows)-1, last.width
		}
		last.text += c
		if c != "" {
			last.width += wide
		}
	}
	return rows, cursorRow, cursorColumn
}
