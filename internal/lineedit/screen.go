package lineedit

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// prompt is in front of the own lines, which are bold: together they
// distinguish them from the peer's, in which nothing is bold.
const (
	prompt = "> "
	bold   = "\x1b[1m"
	plain  = "\x1b[0m"
)

// A screen draws a draft at the bottom of a terminal, and text above it. Any
// goroutine may use it.
type screen struct {
	out io.Writer

	mu            sync.Mutex
	columns, rows int
	draft         draft
	drawn         []row // of the draft, as they are on the terminal
	cursor        int   // index in drawn of the row with the cursor
	column        int   // of the cursor
	wiped         bool  // the terminal is to be cleared
	ended         bool  // there is no draft any more
	closed        bool
}

// newScreen returns a screen of 80 columns and 24 rows.
func newScreen(out io.Writer) *screen { return &screen{out: out, columns: 80, rows: 24} }

// Write shows text above the draft, and adds a newline if text lacks one at its
// end. After close it adds none and draws no draft.
func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	s.erase(&b)
	b.Write(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))
	if !s.closed {
		if len(text) > 0 && text[len(text)-1] != '\n' {
			b.WriteString("\r\n")
		}
		s.draw(&b)
	}
	if _, err := s.out.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(text), nil
}

// update calls change, which edits the draft, and draws the result. If change
// returns true, the line is finished: it stays on the terminal, and an empty
// draft follows.
func (s *screen) update(change func(*draft) (finished bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	s.erase(&b)
	if change(&s.draft) {
		s.draft.at = len(s.draft.text)
		s.draw(&b)
		b.WriteString("\r\n")
		s.drawn, s.draft = nil, draft{}
	}
	s.draw(&b)
	_, _ = s.out.Write(b.Bytes()) // if the terminal is gone, reading fails as well
}

// resize sets the size of the screen, and draws the draft again. A terminal
// that has become narrower has wrapped the drawn rows by itself, so the cursor
// is further below their beginning than before.
func (s *screen) resize(columns, rows int) {
	if columns < 4 || rows < 1 {
		return // as of a terminal that does not know its size
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	if s.cursor < len(s.drawn) {
		moved := s.column / columns
		for _, r := range s.drawn[:s.cursor] {
			moved += max(0, r.width-1)/columns + 1
		}
		s.cursor = moved
	}
	s.erase(&b)
	s.columns, s.rows = columns, rows
	s.draw(&b)
	_, _ = s.out.Write(b.Bytes())
}

// close keeps the draft on the terminal, and leaves the cursor at the beginning
// of a row: below the draft, or in place of an empty one. Later writes draw no
// draft.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	s.erase(&b)
	if len(s.draft.text) > 0 {
		s.draft.at = len(s.draft.text)
		s.draw(&b)
		b.WriteString("\r\n")
	}
	s.drawn, s.closed = nil, true
	_, _ = s.out.Write(b.Bytes())
}

// erase appends to b the bytes that remove the drawn draft from the terminal,
// and leave the cursor where the draft began. The caller holds mu.
func (s *screen) erase(b *bytes.Buffer) {
	if s.drawn == nil {
		return
	}
	b.WriteByte('\r')
	if s.cursor > 0 {
		fmt.Fprintf(b, "\x1b[%dA", s.cursor)
	}
	b.WriteString("\x1b[J")
	s.drawn, s.cursor = nil, 0
}

// draw appends to b the bytes that draw the draft. The cursor must be at the
// beginning of a row. Of a draft with more rows than the terminal, it draws the
// rows around the cursor. If wiped is set, it clears the terminal first. The
// caller holds mu.
func (s *screen) draw(b *bytes.Buffer) {
	if s.wiped {
		b.WriteString("\x1b[H\x1b[2J")
		s.wiped = false
	}
	if s.ended {
		return
	}
	rows, cursor, column := s.draft.rows(prompt, s.columns)
	from := max(0, min(cursor-s.rows/2, len(rows)-s.rows))
	rows, cursor = rows[from:min(len(rows), from+s.rows)], cursor-from
	for i, r := range rows {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(bold + r.text + plain)
	}
	b.WriteByte('\r')
	if up := len(rows) - 1 - cursor; up > 0 {
		fmt.Fprintf(b, "\x1b[%dA", up)
	}
	if column > 0 {
		fmt.Fprintf(b, "\x1b[%dC", column)
	}
	s.drawn, s.cursor, s.column = rows, cursor, column
}
