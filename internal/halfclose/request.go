package halfclose

// A verdict is what the first bytes of a conversation are.
type verdict int

const (
	undecided verdict = iota
	request           // a request line of HTTP/1.x (RFC 9112, section 3)
	answer            // a status line of HTTP/1.x: an answer by hand
	neither
)

// version begins a status line and ends a request line.
const version = "HTTP/1."

// longestLine is the most that is looked at for the end of a request line, in
// bytes.
const longestLine = bulk

// A requestLine parses the first line of what is sent, in pieces of any size.
type requestLine struct {
	verdict verdict
	seen    int // bytes
	word    int // that the next byte belongs to: method, target, version
	at      int // bytes of that word
	version int // bytes of the first word that are version's
}

// look parses the next bytes, and reports whether it needs more.
func (l *requestLine) look(b []byte) (more bool) {
	for _, c := range b {
		if l.verdict != undecided {
			break
		}
		l.verdict = l.next(c)
		if l.seen++; l.seen == longestLine && l.verdict == undecided {
			l.verdict = neither
		}
	}
	return l.verdict == undecided
}

// next parses one byte and returns the verdict after it.
func (l *requestLine) next(c byte) verdict {
	switch {
	case l.word == 0 && l.at == 0 && (c == '\r' || c == '\n'): // RFC 9112, section 2.2: ignored
		return undecided
	case c == ' ' && l.word < 2 && l.at > 0:
		l.word, l.at = l.word+1, 0
		return undecided
	case l.word == 1 && c > ' ' && c != 0x7f:
		l.at++
		return undecided
	case l.word == 0:
		return l.first(c)
	case l.word == 2 && c == version[l.at]:
		if l.at++; l.at == len(version) {
			return request
		}
		return undecided
	}
	return neither
}

// first parses a byte of the first word and returns the verdict after it. The
// word is a method (RFC 9110, section 5.6.2), or the version of a status line.
func (l *requestLine) first(c byte) verdict {
	like := l.version == l.at // the word so far is how a status line begins
	l.at++
	switch {
	case like && c == version[l.version]:
		if l.version++; l.version == len(version) {
			return answer
		}
		return undecided
	case like && l.version > len("HTTP"): // no method has a slash
		return neither
	case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		return undecided
	}
	return neither
}
