package broker

import (
	"bytes"
	"strconv"
	"strings"

	"purr/internal/display"
)

// longestLine is the most bytes of a chat's line that are kept until it ends.
const longestLine = 8 << 10

// lines are those of one sender in a chat. A line is sent when it is complete,
// so that the lines of several senders are not mixed.
type lines struct {
	user int // 0: stdin
	rest []byte
}

// name returns the number of the sender as text.
func (l *lines) name() string { return strconv.Itoa(l.user) }

// take returns the lines that b completes, each with the sender in front. The
// rest is kept for the next call, unless end is true or it is too long.
func (l *lines) take(b []byte, end bool) (text []byte) {
	for len(b) > 0 || end && len(l.rest) > 0 {
		line, after, whole := bytes.Cut(b, []byte("\n"))
		l.rest = append(l.rest, line...)
		if b = after; !whole && !end && len(l.rest) < longestLine {
			break
		}
		text = append(text, "<user"+l.name()+"> "...)
		text = append(text, clean(string(bytes.TrimSuffix(l.rest, []byte("\r"))))...)
		text = append(text, '\n')
		l.rest = l.rest[:0]
	}
	return text
}

// clean escapes everything in a line that could act on a terminal. A tab stays.
func clean(line string) string {
	parts := strings.Split(line, "\t")
	for i, part := range parts {
		parts[i] = display.Escape(part)
	}
	return strings.Join(parts, "\t")
}

// announcement returns a line of the broker itself, in Ncat's words.
func announcement(text string) []byte { return []byte("<announce> " + clean(text) + "\n") }
