package web

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// This file has the deadlines of requests. Every phase of a connection has one:
//
//   - HelloTimeout: the first bytes, and the head of each request
//   - Silence: each piece of a body; all of a body that no handler reads, which
//     net/http does before the answer and behind it; the pause between requests
//   - unreadSilences times Silence: each write
//
// A body must also reach leastRate.

// unreadSilences is how many times Options.Silence a client may accept nothing.
const unreadSilences = 4

// limitTimes sets the deadline for a body that stays unread. Without a body
// there must be none: it would end the read by which net/http notices the end
// of a client during the answer. limitTimes returns the writer for the answer:
// for HTTP/2 one that limits each write to a stream, else w, since client.Write
// has the limit.
func limitTimes(w http.ResponseWriter, r *http.Request, silence time.Duration) http.ResponseWriter {
	rc := http.NewResponseController(w)
	if r.Body != http.NoBody {
		_ = rc.SetReadDeadline(time.Now().Add(silence))
	}
	if r.ProtoMajor == 2 { // a client can hold up one stream, and accept all others
		return &streamWriter{w, timedWriter{w, rc.SetWriteDeadline, unreadSilences * silence}}
	}
	return w
}

// A timedWriter limits the time of each write.
type timedWriter struct {
	io.Writer
	setDeadline func(time.Time) error
	limit       time.Duration
}

// Write renews the deadline to limit from now, and writes b.
func (t timedWriter) Write(b []byte) (int, error) {
	_ = t.setDeadline(time.Now().Add(t.limit))
	return t.Writer.Write(b)
}

// A streamWriter is the answer on a stream of HTTP/2, with a deadline for each
// write.
type streamWriter struct {
	http.ResponseWriter
	timed timedWriter
}

// Write fails if the client accepts nothing on this stream until the deadline.
func (s *streamWriter) Write(b []byte) (int, error) { return s.timed.Write(b) }

// Unwrap gives http.ResponseController access to the writer underneath.
func (s *streamWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// A timedReader limits the time of each read of a body, and all of it by the
// least rate.
type timedReader struct {
	r     io.Reader
	rc    *http.ResponseController
	limit time.Duration
	pace  pacer
}

// newTimedReader returns a reader of the body r that limits each read to limit,
// and the average to leastRate. w is the answer to the same request: deadlines
// are set through it.
func newTimedReader(w http.ResponseWriter, r io.Reader, limit time.Duration) *timedReader {
	return &timedReader{r, http.NewResponseController(w), limit, pacer{grace: graceSilences * limit}}
}

// errTooSlow is the end of a body that is below the least rate.
var errTooSlow = fmt.Errorf("less than %d bytes per second", leastRate)

// Read renews the deadline and reads. At the end of the body it clears the
// deadline, so that the connection can serve further requests. Below leastRate
// it returns errTooSlow, and sets a past deadline, so that net/http does not
// read the rest of the body.
func (t *timedReader) Read(b []byte) (int, error) {
	begun := time.Now()
	_ = t.rc.SetReadDeadline(begun.Add(t.limit))
	n, err := t.r.Read(b)
	switch {
	case err == io.EOF: // the connection may serve for more
		_ = t.rc.SetReadDeadline(time.Time{})
	case err == nil && !t.pace.add(n, time.Since(begun)):
		_ = t.rc.SetReadDeadline(begun) // net/http reads no rest
		err = errTooSlow
	}
	return n, err
}
