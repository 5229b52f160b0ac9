package lineedit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"purr/internal/testkit"
)

// A fakeTerminal has what a screen uses of a terminal. A cell that a wide
// character fills beside its first one holds "".
type fakeTerminal struct {
	t             testing.TB
	columns, rows int
	lines         [][]string
	x, y          int
}

// newFake returns a screen on a fake terminal of that size.
func newFake(t testing.TB, columns, rows int) (*screen, *fakeTerminal) {
	f := &fakeTerminal{t: t, columns: columns, rows: rows, lines: make([][]string, rows)}
	s := newScreen(f)
	s.resize(columns, rows)
	return s, f
}

// newline moves the cursor down, and scrolls if need be.
func (f *fakeTerminal) newline() {
	if f.y++; f.y == f.rows {
		f.lines = append(f.lines[1:], nil)
		f.y--
	}
}

// put shows one rune.
func (f *fakeTerminal) put(r rune) {
	wide := runeWidth(r)
	if wide == 0 {
		if f.x > 0 {
			line := f.lines[f.y]
			at := f.x - 1
			for line[at] == "" {
				at--
			}
			line[at] += string(r)
		}
		return
	}
	if f.x+wide > f.columns {
		f.x = 0
		f.newline()
	}
	for len(f.lines[f.y]) < f.x+wide {
		f.lines[f.y] = append(f.lines[f.y], " ")
	}
	f.lines[f.y][f.x] = string(r)
	if wide == 2 {
		f.lines[f.y][f.x+1] = ""
	}
	f.x += wide
}

func (f *fakeTerminal) Write(b []byte) (int, error) {
	for rest := string(b); rest != ""; {
		switch r, size := utf8.DecodeRuneInString(rest); {
		case r == '\r':
			f.x, rest = 0, rest[1:]
		case r == '\n':
			f.newline()
			rest = rest[1:]
		case r == escape:
			end := 2 + strings.IndexFunc(rest[2:], func(r rune) bool { return r >= 0x40 })
			f.control(rest[2:end], rest[end])
			rest = rest[end+1:]
		default:
			f.put(r)
			rest = rest[size:]
		}
	}
	return len(b), nil
}

// control obeys a control sequence.
func (f *fakeTerminal) control(parameter string, last byte) {
	n := 1
	_, _ = fmt.Sscan(parameter, &n)
	switch last {
	case 'A':
		f.y = max(0, f.y-n)
	case 'C':
		f.x = min(f.columns-1, f.x+n)
	case 'H':
		f.x, f.y = 0, 0
	case 'J':
		if parameter == "2" {
			f.lines = make([][]string, f.rows)
			return
		}
		f.lines[f.y] = f.lines[f.y][:min(f.x, len(f.lines[f.y]))]
		for i := f.y + 1; i < f.rows; i++ {
			f.lines[i] = nil
		}
	case 'm':
	default:
		f.t.Errorf("the terminal does not know ESC [ %s %c", parameter, last)
	}
}

// text returns the lines down to the last one that is not empty, with the
// cursor as an underline in front of a cell.
func (f *fakeTerminal) text() string {
	var b strings.Builder
	for y, line := range f.lines {
		cells := slices.Clone(line)
		if y == f.y {
			for len(cells) <= f.x {
				cells = append(cells, " ")
			}
			cells[f.x] = "_" + cells[f.x]
		}
		b.WriteString(strings.TrimRight(strings.Join(cells, ""), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// typed types keys.
func typed(s *screen, keys string) {
	e := &editor{screen: s, keys: []byte(keys), suspend: func() {}}
	for {
		if line, err := e.edit(); line == nil || err != nil {
			return
		}
	}
}

// What is typed stands at the bottom, with the cursor where it belongs, and
// what comes stands above it.
func TestScreen(t *testing.T) {
	t.Parallel()
	const left = "\x1b[D"
	s, f := newFake(t, 10, 5)
	step := func(what, want string) {
		t.Helper()
		if got := f.text(); got != want {
			t.Errorf("%s: the terminal shows\n%s\nwant\n%s", what, got, want)
		}
	}
	step("at first", "> _")
	typed(s, "你好世"+left+left)
	step("wide", "> 你_好世")
	typed(s, "X\x7f\x7f")
	step("erased", "> _好世")
	typed(s, "\x05abcd")
	step("a full row", "> 好世abcd\n_")
	typed(s, "界")
	step("two rows", "> 好世abcd\n界_")
	testkit.WriteString(t, s, "news\n")
	step("news", "news\n> 好世abcd\n界_")
	typed(s, "\x01")
	step("home", "news\n> _好世abcd\n界")
	testkit.WriteString(t, s, "a long line\n")
	step("a long line", "news\na long lin\ne\n> _好世abcd\n界")
	typed(s, "\r")
	step("Enter", "a long lin\ne\n> 好世abcd\n界\n> _")
	typed(s, "a世世世世") // the last one does not fit into the first row
	step("a wide one at the margin", "e\n> 好世abcd\n界\n> a世世世\n世_")
	f.columns = 20
	s.resize(20, 5)
	typed(s, "b")
	step("wider", "e\n> 好世abcd\n界\n> a世世世世b_")
	typed(s, "\x0c")
	step("cleared", "> a世世世世b_")
	typed(s, "\x15"+strings.Repeat("0123456789", 12))
	step("larger than the terminal", "89012345678901234567\n89012345678901234567\n89012345678901234567\n89012345678901234567\n89_")
	typed(s, "\x15e\u0301\x7f")
	step("an accent", "> _")
	typed(s, "draft")
	s.close()
	step("closed", "> draft\n_")
	testkit.WriteString(t, s, "late\n")
	step("late", "> draft\nlate\n_")
}

// An empty draft leaves nothing.
func TestScreenClosed(t *testing.T) {
	t.Parallel()
	s, f := newFake(t, 10, 3)
	testkit.WriteString(t, s, "bye\n")
	s.close()
	if got := f.text(); got != "bye\n_" {
		t.Errorf("%q", got)
	}
	s, f = newFake(t, 10, 3)
	typed(s, "\x04")
	testkit.WriteString(t, s, "after the end\n")
	if got := f.text(); strings.Contains(got, "> ") {
		t.Errorf("a prompt though nothing more is read: %q", got)
	}
}

// The history returns lines, and the draft behind them.
func TestHistory(t *testing.T) {
	t.Parallel()
	const up, down = "\x1b[A", "\x1b[B"
	s, _ := newFake(t, 40, 5)
	e := &editor{screen: s, suspend: func() {}}
	for _, test := range []struct{ keys, draft string }{
		{"one\rtwo\r\r", ""}, {"dra" + up, "two"}, {up, "one"}, {up, "one"}, {down, "two"}, {down, "dra"}, {down, "dra"},
		{up + "!\r", ""}, {up, "two!"}, {up, "two"}, {"\r", ""},
	} {
		e.keys = append(e.keys, test.keys...)
		for line, err := e.edit(); line != nil && err == nil; {
			line, err = e.edit()
		}
		if got := s.draft.String(); got != test.draft {
			t.Errorf("%q: %q, want %q", test.keys, got, test.draft)
		}
	}
}

// However a line is edited, on a terminal of whatever width, the terminal shows
// it, and the cursor is where the next character appears.
func FuzzScreen(f *testing.F) {
	f.Add("你好世界\x1b[D\x1b[DX\x7f\x05abc", 9)
	f.Add("e\u0301\u200d\x01\x1b[C\u0301世", 4)
	f.Fuzz(func(t *testing.T, keys string, columns int) {
		if len(keys) > 200 || strings.ContainsAny(keys, "\r\n\x03\x04\x0c") {
			return
		}
		columns = 4 + max(0, columns)%40
		s, terminal := newFake(t, columns, 100)
		for _, part := range []int{len(keys) / 2, len(keys)} {
			typed(s, keys[:part])
			testkit.WriteString(t, s, "above\n")
		}
		shown := strings.ReplaceAll(strings.ReplaceAll(terminal.text(), "\n", ""), "_", "")
		want := strings.ReplaceAll("aboveabove> "+s.draft.String(), "_", "")
		if strings.ReplaceAll(shown, " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%d columns show\n%s\nwant %q", columns, terminal.text(), want)
		}
	})
}
