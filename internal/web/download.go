package web

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"purr/internal/digest"
	"purr/internal/offer"
	"purr/internal/push"
	"purr/internal/sys"
)

// A downloadHandler answers GET and HEAD with the files of an offer, or with
// their list.
type downloadHandler struct {
	s     *Server
	set   *offer.Set
	parts deliveries
}

// serve answers GET and HEAD, and any other method with 405. For / and for DIR/
// of an offered directory the answer is the list or the page. Any other path
// names a file, or DIR.tar, the archive of a directory.
func (d *downloadHandler) serve(w http.ResponseWriter, r *http.Request, c *client) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	dir, isDir := strings.CutSuffix(name, "/")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "this end sends: nothing is stored here")
	case name == "", isDir && d.set.IsDir(dir):
		d.overview(w, r, dir, c)
	default:
		d.file(w, r, name, c)
	}
}

// file answers with the offered file name. If there is none and name is
// DIR.tar, it answers with the offered directory DIR as an archive.
// Want-Repr-Digest adds the digest to an answer to HEAD, or to one with the
// whole file.
func (d *downloadHandler) file(w http.ResponseWriter, r *http.Request, name string, c *client) {
	f, err := d.set.Open(name)
	if err != nil {
		if dir, ok := strings.CutSuffix(name, ".tar"); ok && d.set.IsDir(dir) {
			d.tar(w, r, dir, c)
			return
		}
		code, text := http.StatusNotFound, err.Error()
		switch {
		case errors.Is(err, fs.ErrPermission):
			code = http.StatusForbidden
		case d.set.IsDir(name):
			text = "a directory: its archive is " + pagePath(name) + ".tar, its list " + pagePath(name) + "/"
		}
		refuse(w, code, text)
		return
	}
	defer f.Close()
	if !d.begin(w, r, c) {
		return
	}
	defer d.end(c)
	w.Header().Set("Content-Disposition", attachment(name))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, f.ModTime.UnixNano(), f.Size)) // strong: If-Range needs it
	dropOddRange(r.Header)
	wanted := r.Header.Get(headerWant) != ""
	switch {
	case wanted && r.Method == http.MethodHead:
		d.headDigest(w, r, f)
	case wanted && r.Header.Get("Range") == "":
		d.sendDigested(w, r, f, c)
	default:
		d.send(w, r, f, c)
	}
}

// begin charges c for a download, and counts it as under way. If it returns
// true, the caller calls end. If it returns false, it has answered 503.
func (d *downloadHandler) begin(w http.ResponseWriter, r *http.Request, c *client) bool {
	if !c.s.memory.take(c.host, downloadMemory) {
		refuseFull(w, r)
		return false
	}
	if !d.s.enter() {
		c.s.memory.give(c.host, downloadMemory)
		refuse(w, http.StatusServiceUnavailable, served)
		return false
	}
	return true
}

// end undoes begin after the answer.
func (d *downloadHandler) end(c *client) {
	d.s.leave()
	c.s.memory.give(c.host, downloadMemory)
}

// headDigest answers HEAD with the size and the digest of f. The digest may
// take a read of the whole file, and is omitted if that fails.
func (d *downloadHandler) headDigest(w http.ResponseWriter, r *http.Request, f *offer.File) {
	if sum, err := d.set.Digest(r.Context(), f); err == nil {
		w.Header().Set(headerDigest, digest.Field(sum))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(f.Size, 10))
	w.WriteHeader(http.StatusOK)
}

// send answers with f, or with the ranges of it that the request asks for, and
// passes the parts sent to delivered. If f shrinks or changes meanwhile, or a
// write fails, it cuts the connection.
func (d *downloadHandler) send(w http.ResponseWriter, r *http.Request, f *offer.File, c *client) {
	a := d.newAnswer(w, r, f.Path, f.Size)
	defer a.progress.End()
	a.check = f.Check
	content := &partReader{ReadSeeker: f.Content()}
	http.ServeContent(a, r, "", f.ModTime, content)
	if r.Method != http.MethodHead && a.code < 300 {
		d.delivered(a, f, c, d.sent(a, r, f, content))
	}
	if a.short() {
		panic(http.ErrAbortHandler) // an answer that ends in order would look whole
	}
}

// An extent is the parts of a file in one answer, as arguments of
// deliveries.add.
type extent struct {
	spans   []span
	written int64 // of the one span, see deliveries.add
	tail    bool
}

// sent returns the parts of f that the answer a holds. If the answer is short,
// it returns the parts that were to be sent: all of f if there were several
// ranges. content has recorded the reads of an answer with several ranges,
// which has no Content-Range of its own.
func (d *downloadHandler) sent(a *answer, r *http.Request, f *offer.File, content *partReader) extent {
	one, isPart := contentRange(a.Header().Get("Content-Range"))
	switch {
	case isPart:
		return extent{[]span{one}, a.written, asksForTail(r.Header.Get("Range"))}
	case a.code == http.StatusOK:
		return extent{[]span{{0, f.Size}}, a.written, false}
	case a.short():
		return extent{[]span{{0, f.Size}}, -1, false}
	}
	return extent{content.spans(), -1, false}
}

// sendDigested answers with f and its digest in a trailer (RFC 9530, section
// 6.5). There is no Content-Length, since HTTP/1.1 has trailers behind chunks
// only. If the answer fails, the connection is cut.
func (d *downloadHandler) sendDigested(w http.ResponseWriter, r *http.Request, f *offer.File, c *client) {
	a := d.newAnswer(w, r, f.Path, f.Size)
	defer a.progress.End()
	body, err := f.Body(0, nil, 0)
	if err != nil {
		refuse(a, http.StatusInternalServerError, err.Error())
		return
	}
	defer body.Close()
	a.Header().Set("Trailer", headerDigest)
	for {
		block, err := body.Next(d.s.o.Rate.Chunk(digest.BlockSize))
		if err != nil {
			break
		}
		_, err = a.Write(block)
		body.Put(block)
		if err != nil {
			break
		}
	}
	sum, err := body.Sum()
	if a.failed == nil {
		a.failed = err
	}
	if a.failed == nil {
		a.Header().Set(headerDigest, digest.Field(sum))
	}
	whole := extent{[]span{{0, f.Size}}, a.written, false}
	if d.delivered(a, f, c, whole); a.failed != nil {
		panic(http.ErrAbortHandler)
	}
}

// delivered waits until the answer a, which holds the parts o of f, is
// acknowledged. It passes an error to failed. It reports a success to Events if
// a reaches the end of f. A server without Keep ends once c has had every byte
// of f, in however many answers; that is reported, too.
func (d *downloadHandler) delivered(a *answer, f *offer.File, c *client, o extent) {
	err := a.arrived(c)
	key := deliveryKey{c.host, f.Path, a.Header().Get("ETag")}
	complete := !d.s.o.Keep && d.parts.add(key, f.Size, o.spans, o.written, err != nil, o.tail)
	e := Download{Path: f.Path, Client: c.name, Size: a.written, Err: err}
	last := o.spans[len(o.spans)-1:]
	switch {
	case err != nil:
		d.failed(e, a, c)
	case complete:
		d.s.o.Events.Downloaded(e)
		d.s.finish(c, nil)
	case len(last) == 1 && last[0].to == f.Size:
		d.s.o.Events.Downloaded(e)
	}
}

// arrived flushes the answer and waits until the client's system has
// acknowledged it. The error is that of a write or of the file,
// io.ErrUnexpectedEOF if the answer is shorter than its Content-Length, or that
// of the flush or the wait. An error of the flush or the wait also sets
// brokenOff.
func (a *answer) arrived(c *client) error {
	err := a.failed
	if err == nil && a.wanted >= 0 && a.written < a.wanted {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if err = a.rc.Flush(); err == nil {
		err = c.awaitAck()
	}
	a.brokenOff = err != nil
	return err
}

// failed reports the download e, whose answer a was cut, to Events. If the
// client has cut it, the server goes on, so that the client can retry.
// Otherwise a server without Keep ends with the failure; a server with Keep
// reports it to Events.ClientFailed.
func (d *downloadHandler) failed(e Download, a *answer, c *client) {
	worst := push.Cut
	if errors.As(e.Err, new(offer.ChangedError)) {
		worst = push.Abandoned
	}
	e.Err = sys.Cause(e.Err)
	d.s.o.Events.Downloaded(e)
	failure := &ClientError{c.name, &FilesError{Worst: worst, Download: true}}
	if a.brokenOff {
		d.s.brokeOff(failure)
	} else {
		d.s.finish(c, failure)
	}
}

// An answer is a ResponseWriter that counts the bytes of a download and records
// its first failure.
type answer struct {
	http.ResponseWriter
	rc       *http.ResponseController
	buffer   int // bytes to write at once
	progress Progress
	bodiless bool // HEAD
	endless  bool // without Content-Length
	code     int
	wanted   int64        // Content-Length; -1: not known
	check    func() error // called before the last byte; nil: nothing is
	written  int64
	failed   error

	brokenOff bool // by the client
}

// newAnswer returns the writer for an answer with the file name, of size bytes
// or -1 if that is not known, and reports Events.Began. The caller ends its
// progress.
func (d *downloadHandler) newAnswer(w http.ResponseWriter, r *http.Request, name string, size int64) *answer {
	return &answer{
		ResponseWriter: w, rc: http.NewResponseController(w),
		buffer: d.s.o.Rate.Chunk(256 << 10), progress: d.s.o.Events.Began(name, size), wanted: -1,
		bodiless: r.Method == http.MethodHead, endless: r.ProtoMajor == 2 && r.Method != http.MethodHead,
	}
}

// WriteHeader records the status code and the Content-Length. Under HTTP/2 it
// omits that field: a client that knows the length may close the connection
// behind the last byte, before the server knows that everything has left.
// Without it the client waits for the end of the stream (RFC 9113, section
// 8.1), which follows when the handler returns.
func (a *answer) WriteHeader(code int) {
	a.code = code
	a.wanted = -1
	if n, err := strconv.ParseInt(a.Header().Get("Content-Length"), 10, 64); err == nil {
		a.wanted = n
	}
	if a.endless && code < 300 {
		a.Header().Del("Content-Length")
	}
	a.ResponseWriter.WriteHeader(code)
}

// short reports whether the answer lacks bytes. It is the only sign of a file
// that has shrunk or cannot be read: http.ServeContent returns no error.
func (a *answer) short() bool {
	return a.failed != nil || !a.bodiless && a.written < a.wanted
}

// Write sends b. Before the last byte of Content-Length it calls check, so that
// a file that has changed never arrives whole.
func (a *answer) Write(b []byte) (int, error) {
	if a.check != nil && a.wanted >= 0 && a.written+int64(len(b)) >= a.wanted && a.failed == nil {
		if a.failed = a.check(); a.failed != nil {
			return 0, a.failed
		}
	}
	n, err := a.ResponseWriter.Write(b)
	a.written += int64(n)
	a.progress.Add(n)
	if err != nil && a.failed == nil {
		a.failed, a.brokenOff = err, true
	}
	return n, err
}

// ReadFrom copies r in blocks of the size buffer, larger than those of io.Copy.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(onlyWriter{a}, r, make([]byte, a.buffer))
}

// onlyWriter hides the ReadFrom of an answer from io.CopyBuffer, which would
// call it again.
type onlyWriter struct{ io.Writer }

// Unwrap gives http.ResponseController access to the writer underneath.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// attachment returns a Content-Disposition that makes a client store the answer
// under the last component of path. The name is in both forms of RFC 6266; curl
// -J reads the first one, as plain UTF-8. A name that is unsafe in quotes is
// left out: then the client uses the escaped name in the URL.
func attachment(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == '"' || r == '\\' || r == '%' }
	if !utf8.ValidString(name) || strings.ContainsFunc(name, odd) {
		return "attachment"
	}
	return `attachment; filename="` + name + `"; filename*=UTF-8''` + url.PathEscape(name)
}
