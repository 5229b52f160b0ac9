package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"purr/internal/display"
)

// A bar is the last line of a terminal, drawn again and again. Messages pass
// through its Write, which puts them above it.
type bar struct {
	terminal *os.File

	painter *progressbar.ProgressBar
	size    int64 // that the painter was made for

	mu      sync.Mutex
	line    string // what stands there; empty: nothing
	restore func() // gives the messages back to the terminal; nil: not taken yet
}

func newBar(terminal *os.File) *bar { return &bar{terminal: terminal} }

// paint returns the line for the state, for the width that the terminal has
// now. It must be called at every tick: the painter takes the speed from that.
func (b *bar) paint(s progressState) string {
	if b.painter == nil || (s.size < 0) != (b.size < 0) {
		b.painter, b.size = newPainter(s.size), s.size
	}
	if s.size != b.size {
		b.size = s.size
		b.painter.ChangeMax64(s.size)
	}
	moved := s.moved
	if s.size > 0 {
		moved = min(moved, s.size-1) // a painter that has reached its end paints no more
	}
	name := display.Escape(s.name)
	columns := b.columns()
	left, known := s.left()
	about := ""
	if known {
		about = "ETA " + left.String()
	}
	paint := func(width int) string {
		if s.size > 0 {
			progressbar.OptionSetWidth(width)(b.painter)
		}
		progressbar.OptionSetDescription(about)(b.painter)
		_ = b.painter.Set64(moved) // it can only fail for want of a size
		return name + " " + strings.TrimSpace(b.painter.String())
	}
	const usual = 20
	line := paint(usual)
	if over := cells(line) - columns; over > 0 && s.size > 0 {
		line = paint(max(0, usual-over))
	}
	if over := cells(line) - columns; over > 0 { // a long name
		stats := strings.TrimPrefix(line, name)
		line = fit(name, columns-cells(stats)) + stats
	}
	return cut(line, columns)
}

// newPainter makes the library's bar, which paints into a string. It is plain
// ASCII, because nothing tells what the terminal can show.
func newPainter(size int64) *progressbar.ProgressBar {
	if size == 0 {
		size = -1
	}
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(io.Discard),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
		progressbar.OptionSpinnerCustom([]string{"|", "/", "-", "\\"}),
		progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionShowCount(),
		progressbar.OptionShowTotalBytes(true),
		progressbar.OptionSetPredictTime(false), // it says 0 s of a transfer that stalls
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionThrottle(time.Nanosecond),
	)
}

// columns is how wide a line may be without the cursor going to the next one.
func (b *bar) columns() int {
	width := 80
	if raw, err := b.terminal.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			if w, _, err := term.GetSize(int(fd)); err == nil && w > 1 {
				width = w
			}
		})
	}
	return width - 1
}

// draw shows a line in the place of the one before. From the first one on the
// messages of log go through the bar.
func (b *bar) draw(line string, log *logger) {
	if b.restore == nil {
		b.restore = log.redirect(b)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	_, _ = b.terminal.Write(append(b.erased(), line...))
	b.line = line
}

// Write puts a message above the bar.
func (b *bar) Write(message []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := append(b.erased(), message...)
	if _, err := b.terminal.Write(append(out, b.line...)); err != nil {
		return 0, err
	}
	return len(message), nil
}

// close takes the bar away and gives the messages back.
func (b *bar) close() {
	if b.restore == nil {
		return
	}
	b.erase()
	b.restore()
}

func (b *bar) erase() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, _ = b.terminal.Write(b.erased())
	b.line = ""
}

// erased is what makes the line empty: blanks, which every terminal knows. One
// that has become narrower than the line may have broken it: what is in the
// row above then stays.
func (b *bar) erased() []byte {
	if b.line == "" {
		return nil
	}
	blanks := bytes.Repeat([]byte(" "), min(cells(b.line), b.columns()))
	return append(append([]byte("\r"), blanks...), '\r')
}

// cells is how many columns s takes at most: whatever is no ASCII may be twice
// as wide.
func cells(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r >= 0x80 {
			n++
		}
	}
	return n
}

// fit is the path name in at most the given columns: all of it, or as much as
// there is room for of its last component, which tells more than how it begins.
func fit(name string, columns int) string {
	if cells(name) > columns {
		name = name[strings.LastIndexByte(name, '/')+1:]
	}
	return cut(name, columns)
}

// cut returns the beginning of s that takes at most the given columns.
func cut(s string, columns int) string {
	n := 0
	for i, r := range s {
		n++
		if r >= 0x80 {
			n++
		}
		if n > columns {
			return s[:i]
		}
	}
	return s
}
