package main

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"purr/internal/display"
	"purr/internal/progress"
)

// Answers that clients without purr take files from.

// A countedAnswer knows how much of an answer was written, and gives each write
// so much time.
type countedAnswer struct {
	http.ResponseWriter
	timed    *http.ResponseController
	limit    time.Duration
	buffer   int // bytes to write at once
	bar      *progress.Transfer
	bodiless bool // HEAD
	endless  bool // without a length
	code     int
	wanted   int64        // Content-Length
	check    func() error // asked before the last byte whether all of them are one file's; nil: nobody asks
	written  int64
	failed   error
}

// newCountedAnswer counts what is written of name, whose size may be -1, in
// answer to a request. The caller ends the bar.
func (s *shelf) newCountedAnswer(w http.ResponseWriter, r *http.Request, name string, size int64, v *visit) *countedAnswer {
	return &countedAnswer{
		ResponseWriter: w, timed: http.NewResponseController(w), limit: 4 * v.silence,
		buffer: s.p.limit.Chunk(256 << 10), bar: s.p.track(display.Quote(name), size), wanted: -1,
		bodiless: r.Method == http.MethodHead, endless: r.ProtoMajor == 2 && r.Method != http.MethodHead,
	}
}

// WriteHeader leaves the length out where the client may go before the answer
// is known to have left: one that speaks HTTP/2 and knows it closes the
// connection behind the last byte, and net/http, which notices that first, tells
// that the write failed. Without a length it waits for the end of the stream (RFC
// 9113, section 8.1), which follows when the handler is done.
func (c *countedAnswer) WriteHeader(code int) {
	c.code = code
	c.wanted = -1
	if n, err := strconv.ParseInt(c.Header().Get("Content-Length"), 10, 64); err == nil {
		c.wanted = n
	}
	if c.endless && code < 300 {
		c.Header().Del("Content-Length")
	}
	c.ResponseWriter.WriteHeader(code)
}

// short reports whether the answer has not come to its end: a file that has
// become shorter, or cannot be read, ends what is copied of it without a word.
func (c *countedAnswer) short() bool {
	return c.failed != nil || !c.bodiless && c.written < c.wanted
}

func (c *countedAnswer) Write(b []byte) (int, error) {
	if c.check != nil && c.wanted >= 0 && c.written+int64(len(b)) >= c.wanted && c.failed == nil {
		if c.failed = c.check(); c.failed != nil {
			return 0, c.failed
		}
	}
	_ = c.timed.SetWriteDeadline(time.Now().Add(c.limit))
	n, err := c.ResponseWriter.Write(b)
	c.written += int64(n)
	c.bar.Add(n)
	if err != nil && c.failed == nil {
		c.failed = err
	}
	return n, err
}

// ReadFrom copies with a buffer that is fast for files.
func (c *countedAnswer) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(onlyWriter{c}, r, make([]byte, c.buffer))
}

// onlyWriter hides the ReadFrom of an answer.
type onlyWriter struct{ io.Writer }

func (c *countedAnswer) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// attachment asks a client to store an answer under a name, in both forms of RFC
// 6266. curl -J takes the first, with UTF-8 as it stands; without a name it would
// store the URL's own, escapes and all.
func attachment(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == '"' || r == '\\' || r == '%' }) {
		return "attachment"
	}
	return `attachment; filename="` + name + `"; filename*=UTF-8''` + url.PathEscape(name)
}
