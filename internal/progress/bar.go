package progress

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"purr/internal/display"
)

// A bar is the last line of a terminal, drawn again at every tick. It is plain
// ASCII with carriage returns, which every terminal shows. Messages are written
// to it and appear above it.
type bar struct {
	options *Options
	frame   int // of the spinner

	mu      sync.Mutex
	line    string // on the screen; empty: none
	restore func() // undoes Options.Redirect; nil: the bar was not drawn yet
}

// draw replaces the bar by one for the state s. The first call also redirects
// the messages of the program to b, by Options.Redirect, until close.
func (b *bar) draw(s State) {
	if b.restore == nil {
		b.restore = func() {}
		if b.options.Redirect != nil {
			b.restore = b.options.Redirect(b)
		}
	}
	b.frame++
	line := barLine(s, b.columns(), b.frame)
	b.mu.Lock()
	defer b.mu.Unlock()
	_, _ = b.options.Terminal.Write(append(b.erase(), line...))
	b.line = line
}

// Write shows a message above the bar. The message must end with a newline.
func (b *bar) Write(message []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.options.Terminal.Write(append(append(b.erase(), message...), b.line...)); err != nil {
		return 0, err
	}
	return len(message), nil
}

// close erases the bar, and undoes Options.Redirect. If the bar was never
// drawn, it does nothing.
func (b *bar) close() {
	if b.restore == nil {
		return
	}
	b.mu.Lock()
	_, _ = b.options.Terminal.Write(b.erase())
	b.line = ""
	b.mu.Unlock() // restore may wait for a message that is being written
	b.restore()
}

// erase returns the bytes that blank the bar, and a "^C" behind it. If the
// terminal has become narrower and has wrapped the bar, only its last row is
// blanked.
func (b *bar) erase() []byte {
	if b.line == "" {
		return nil
	}
	blanks := bytes.Repeat([]byte(" "), min(cells(b.line), b.columns())+echoed)
	return append(append([]byte("\r"), blanks...), '\r')
}

// columns returns how wide the bar may be. It leaves room for the "^C" that a
// terminal shows, and the last column free, in which the cursor would go on to
// the next line.
func (b *bar) columns() int {
	columns := defaultColumns
	if b.options.Columns != nil {
		columns = b.options.Columns()
	}
	return max(0, columns-1-echoed)
}

const (
	defaultColumns = 80
	echoed         = len("^C") // what a terminal shows for the key
)

// Columns returns the width of the terminal f, 80 if it is unknown.
func Columns(f *os.File) int {
	columns := defaultColumns
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			if width, _, err := term.GetSize(int(fd)); err == nil && width > 1 {
				columns = width
			}
		})
	}
	return columns
}

// barLine returns the state in at most the given columns. To fit, it first
// shortens the gauge, then the name. Without a size it has a spinner, whose
// position is frame, in place of the gauge.
func barLine(s State, columns, frame int) string {
	const gaugeWidth = 20
	name, moved, rate := display.Escape(s.Name), display.Bytes(float64(s.Moved)), ""
	if s.Speed > 0 {
		rate = ", " + display.Bytes(s.Speed) + "/s"
	}
	if s.Size <= 0 {
		return fit(name, fmt.Sprintf(" %c (%s%s)", `|/-\`[frame%4], moved, rate), columns)
	}
	size := display.Bytes(float64(s.Size))
	_, unit, _ := strings.Cut(size, " ")
	figures := fmt.Sprintf(" (%s/%s%s)", strings.TrimSuffix(moved, " "+unit), size, rate)
	if left, known := s.Left(); known {
		figures += " ETA " + left.String()
	}
	percent := min(s.percent(), 100)
	head := fmt.Sprintf(" %d%% ", percent)
	over := cells(name) + len(head) + len("[]") + gaugeWidth + len(figures) - columns
	width := min(gaugeWidth, max(0, gaugeWidth-over))
	return fit(name, head+gauge(percent, width)+figures, columns)
}

// gauge draws percent in width columns between brackets.
func gauge(percent, width int) string {
	filled := strings.Repeat("=", percent*width/100)
	if filled != "" && percent < 100 {
		filled = filled[1:] + ">"
	}
	return fmt.Sprintf("[%-*s]", width, filled)
}

// fit returns name and rest in at most the given columns. A name that is too
// long loses its directories first, then its end. Only then rest is cut.
func fit(name, rest string, columns int) string {
	room := columns - cells(rest)
	if cells(name) > room {
		name = name[strings.LastIndexByte(name, '/')+1:]
	}
	return cut(cut(name, room)+rest, columns)
}

// cells returns how many columns s takes at most: a rune beyond ASCII may be
// twice as wide.
func cells(s string) int {
	n := 0
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

// runeCells returns the columns reserved for r: 1 for ASCII, else 2, the most
// that a terminal uses.
func runeCells(r rune) int {
	if r < 0x80 {
		return 1
	}
	return 2
}

// cut returns the beginning of s that takes at most the given columns.
func cut(s string, columns int) string {
	n := 0
	for i, r := range s {
		if n += runeCells(r); n > columns {
			return s[:i]
		}
	}
	return s
}
