package web

import (
	"strings"
	"time"
)

// isMethod reports whether b has only capital letters, and so may be the
// beginning of a request method (RFC 9112, section 3).
func isMethod(b []byte) bool {
	for _, c := range b {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

// speaksHTTP reports whether first, the bytes that sniff has read, begins like
// a request of HTTP/1 or the preface of HTTP/2: a method, a space, and /, * or
// the h of an absolute URL.
func speaksHTTP(first string) bool {
	method, rest, ok := strings.Cut(first, " ")
	return ok && len(method) >= 3 && isMethod([]byte(method)) && (rest == "" || rest[0] == '/' || rest[0] == '*' || rest[0] == 'h')
}

// admit charges the memory of a connection whose first bytes are first, and
// reports whether there is room. HTTP/2 ("PRI ") is charged more, but from then
// on Read charges nothing for its heads.
func (c *client) admit(first string) bool {
	if strings.HasPrefix(first, "PRI ") {
		c.answers.Store(true) // heads of HTTP/2 are in http2Memory
		return c.take(http2Memory)
	}
	return c.take(connMemory)
}

// rejectTime limits the time for which the bytes of a rejected client are read,
// so that it sees the answer before the connection closes.
const rejectTime = time.Second
