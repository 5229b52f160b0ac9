package web

import (
	"strings"
	"time"
)

// isMethod reports whether b may be the beginning of a request's method, behind
// which a space follows (RFC 9112, section 3).
func isMethod(b []byte) bool {
	for _, c := range b {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

func speaksHTTP(first string) bool {
	method, rest, ok := strings.Cut(first, " ")
	return ok && len(method) >= 3 && isMethod([]byte(method)) && (rest == "" || rest[0] == '/' || rest[0] == '*' || rest[0] == 'h')
}

// admit reports whether there is room for a connection that begins like this.
// The head's first bytes were charged for by Read.
func (c *client) admit(first string) bool {
	if strings.HasPrefix(first, "PRI ") {
		c.answers.Store(true) // heads of HTTP/2 are in http2Memory
		return c.take(http2Memory)
	}
	return c.take(connMemory)
}

// rejectTime is how long a client may go on sending after it was rejected.
const rejectTime = time.Second
