package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"purr/internal/digest"
	"purr/internal/push"
	"purr/internal/relpath"
	"purr/internal/store"
	"purr/internal/sys"
)

// An uploadHandler stores the files that clients upload by PUT, PATCH or a
// form, and serves the page that has the form.
type uploadHandler struct {
	s     *Server
	store *store.Store
	files budget // files that are open to be written
}

// newUploadHandler returns the handler of s, which stores files in dir. Uploads
// at once are limited to maxUploads, or fewer if the process may open few
// descriptors.
func newUploadHandler(s *Server, dir *store.Store) *uploadHandler {
	const perFile = 8 // descriptors, with the directories on the way to it
	most := maxUploads
	if n := sys.DescriptorLimit(); n > 0 {
		most = min(most, max(1, n/perFile))
	}
	return &uploadHandler{s: s, store: dir, files: budget{most: int64(most)}}
}

// admit charges c for one more upload, as an open file and in memory. It
// reports whether there is room; the caller then calls leave.
func (u *uploadHandler) admit(c *client) bool {
	if !u.files.take(c.host, 1) {
		return false
	}
	if !c.s.memory.take(c.host, uploadMemory) {
		u.files.give(c.host, 1)
		return false
	}
	return true
}

// leave undoes admit after the upload.
func (u *uploadHandler) leave(c *client) {
	u.files.give(c.host, 1)
	c.s.memory.give(c.host, uploadMemory)
}

// serve answers a request. The path / is the page with the form. Any other path
// names a file: PUT and PATCH store it, and HEAD asks for what is kept of it.
// GET of a file is refused.
func (u *uploadHandler) serve(w http.ResponseWriter, r *http.Request, c *client) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case name == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		writeReceivePage(w, r, machineName())
	case name == "" && r.Method == http.MethodPost:
		u.form(w, r, c)
	case name == "":
		refuse(w, http.StatusBadRequest, "name the file: PUT /NAME (curl -T FILE http://HOST:PORT/ does)")
	case r.Method == http.MethodHead:
		u.head(w, name)
	case r.Method == http.MethodPut,
		r.Method == http.MethodPatch && r.Header.Get("Content-Type") == typePartial:
		u.put(w, r, name, c)
	case r.Method == http.MethodGet:
		refuse(w, http.StatusForbidden, "this end receives: nothing can be fetched from it")
	default:
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH")
		refuse(w, http.StatusMethodNotAllowed, "PUT stores a file")
	}
}

// head answers HEAD with the size of a partial upload of name, and the digest
// of that prefix, for a client that resumes. It reveals nothing else, not even
// whether name exists.
func (u *uploadHandler) head(w http.ResponseWriter, name string) {
	offset, sum, err := u.store.Partial(name)
	var refused *store.Error
	switch {
	case errors.As(err, &refused):
		w.WriteHeader(statusCode(refused.Kind))
	case err != nil || offset == 0:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set(headerOffset, strconv.FormatInt(offset, 10))
		w.Header().Set(headerWhole, "?0")
		w.Header().Set(headerDigest, digest.Field(sum))
		w.WriteHeader(http.StatusNoContent)
	}
}

// put stores the body of a PUT or PATCH as the file name, answers, and reports
// the outcome. A server without Keep then ends, or waits for the next upload if
// Purr-More announces one.
func (u *uploadHandler) put(w http.ResponseWriter, r *http.Request, name string, c *client) {
	if lacksLength(r) {
		refuse(w, http.StatusLengthRequired, "a body needs a Content-Length, or Transfer-Encoding: chunked")
		return
	}
	if !u.admit(c) {
		refuseFull(w, r)
		return
	}
	defer u.leave(c)
	if !u.s.acquire(c, c.visit(r)) {
		refuse(w, http.StatusServiceUnavailable, busy)
		return
	}
	defer u.s.leave()
	begun := time.Now()
	f, err := uploadOf(r, name)
	var stored *store.Stored
	if err != nil {
		err = &store.Error{Kind: store.Invalid, Text: err.Error()}
	} else {
		stored, err = u.receive(w, r, f, c)
	}
	worst := push.OK
	if err != nil {
		worst = u.answerFailure(w, r, name, err, c)
	} else {
		answerStored(w, r, name, stored)
		u.s.o.Events.Stored(storedEvent(name, stored, f.Offset, begun))
	}
	failure := filesFailed(c, worst)
	switch {
	case u.s.o.Keep:
	case r.Header.Get(headerMore) == "?1":
		u.s.goOn(c, failure)
	default:
		u.s.finish(c, failure)
	}
}

// receive stores the body of a request as the file f, once its preconditions
// hold and its digest, in the header or the trailer, matches. The rest of a
// file, by PATCH, needs a digest; if that is missing or malformed, the part
// stays. The result may be an identical file that existed. The error is a
// *store.Error, a *cutError or errAbandoned.
func (u *uploadHandler) receive(w http.ResponseWriter, r *http.Request, f store.File, c *client) (*store.Stored, error) {
	if err := u.checkPreconditions(r, f.Path); err != nil {
		return nil, err
	}
	in, same, err := u.store.Begin(f)
	if same != nil || err != nil {
		return same, err
	}
	// Now no other upload takes the name, but one may have just before.
	if err := u.checkPreconditions(r, f.Path); err != nil {
		in.Abort()
		return nil, err
	}
	if f.Offset > 0 && f.Digest == nil && r.ProtoMajor == 1 && r.ContentLength >= 0 { // no trailer can follow
		_, _ = in.Suspend()
		return nil, errNoDigest
	}
	if f.Offset > 0 {
		u.s.o.Events.Resuming(f.Path, f.Offset, f.Size)
	}
	progress := u.s.o.Events.Began(f.Path, f.Size)
	defer progress.End()
	if err := in.Receive(u.body(w, r.Body), progress.Add); err != nil {
		return nil, u.broken(in, f.Size, err, c)
	}
	sum := f.Digest
	if sum == nil {
		sum, err = digest.Parse(r.Trailer.Values(headerDigest)) // RFC 9530, section 6.5
		if err != nil {
			err = &store.Error{Kind: store.Invalid, Text: err.Error()}
		}
	}
	if err == nil && sum == nil && f.Offset > 0 {
		err = errNoDigest
	}
	switch {
	case err != nil && f.Offset > 0: // a digest in another request may still prove it
		_, _ = in.Suspend()
		return nil, err
	case err != nil:
		in.Abort()
		return nil, err
	}
	return in.Commit(sum)
}

// errNoDigest refuses the rest of a file without a digest: what is here may be
// the beginning of another file. The part stays.
var errNoDigest = &store.Error{Kind: store.Invalid, Text: "the rest of a file needs the " + headerDigest + " of the whole"}

// checkPreconditions calls the function of that name. exists is whether the
// store has the file name at present.
func (u *uploadHandler) checkPreconditions(r *http.Request, name string) error {
	_, exists := u.store.Existing(name)
	return checkPreconditions(r, exists)
}

// body wraps the body r of the request that w answers: a read fails if the
// client pauses for Options.Silence, or is below leastRate.
func (u *uploadHandler) body(w http.ResponseWriter, r io.Reader) io.Reader {
	return newTimedReader(w, r, u.s.o.Silence)
}

// A cutError is an upload whose connection has ended in the middle.
type cutError struct {
	reason  string
	partial string // the file that a later PATCH continues; "": nothing was kept
	kept    int64  // bytes in it
	size    int64  // of the whole; -1: not known
}

// Error returns the reason, without the file.
func (e *cutError) Error() string { return e.reason }

// errAbandoned is an upload that the client has cancelled, on a connection that
// goes on.
var errAbandoned = errors.New("the sender gave up")

// broken ends the upload in after Receive has failed with err, and returns the
// error to report: err if the store has failed, or errAbandoned if the client
// has cancelled. Otherwise it returns a *cutError: the part is kept for a later
// PATCH if Suspend can keep it, and the Ending of c is Broken. size is that of
// the whole file; -1: not known.
func (u *uploadHandler) broken(in *store.Upload, size int64, err error, c *client) error {
	if errors.As(err, new(*store.Error)) {
		in.Abort()
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, errTooSlow) {
		c.ended(err)
	}
	if !c.lost() && isCancelled(err) {
		in.Abort()
		return errAbandoned
	}
	c.fail()
	e := &cutError{reason: c.reason(), size: size}
	e.partial, e.kept = in.Suspend()
	return e
}

// isCancelled reports whether err, the error of a body, ends its request only:
// a reset of the stream, or a body that ends early. That the connection is
// still open does not prove this: an unanswered PING ends the bodies, with
// other errors, before HTTP/2 closes the connection.
func isCancelled(err error) bool {
	return errors.As(err, new(streamError)) || errors.Is(err, io.ErrUnexpectedEOF)
}

// A streamError is a reset of one stream of HTTP/2 (RFC 9113, section 5.4.2).
// errors.As of net/http's own error fills any type of this name and shape.
type streamError struct {
	StreamID, Code uint32
	Cause          error
}

// Error returns the code (RFC 9113, section 7).
func (e streamError) Error() string { return fmt.Sprintf("HTTP/2 error %d", e.Code) }

// answerStored answers the request r that the file is stored: 201, or 204 for
// an identical one that existed. name is the path that r has asked for;
// Location names the file if it is stored under another.
func answerStored(w http.ResponseWriter, r *http.Request, name string, f *store.Stored) {
	w.Header().Set(headerDigest, digest.Field(f.Digest))
	if r.Header.Get(headerMtime) != "" {
		w.Header().Set(headerMtime, "accepted")
	}
	code := http.StatusCreated
	if f.Identical {
		code = http.StatusNoContent
	}
	if f.Path != name {
		w.Header().Set("Location", "/"+relpath.Escape(f.Path)) // RFC 9110, section 15.3.2
	}
	w.WriteHeader(code)
}

// storedEvent returns the event of a stored file. name is the path in the
// request, offset the byte at which the upload has resumed, and begun the time
// of its beginning.
func storedEvent(name string, f *store.Stored, offset int64, begun time.Time) push.FileEvent {
	return push.FileEvent{Path: name, As: f.Path, Size: f.Size, Digest: f.Digest, Identical: f.Identical, Offset: offset, Begun: begun}
}

// answerFailure answers the request r that name is not stored because of err,
// and reports it to Events. It returns the outcome for filesFailed.
func (u *uploadHandler) answerFailure(w http.ResponseWriter, r *http.Request, name string, err error, c *client) push.Kind {
	code := http.StatusInternalServerError
	text := err.Error()
	var refused *store.Error
	var cut *cutError
	switch {
	case errors.As(err, &refused):
		code = statusCode(refused.Kind)
		if text == errPart.Error() {
			kept, _, _ := u.store.Partial(name)
			text += "; " + howToGoOn(r, kept)
		}
	case !errors.As(err, &cut):
	case c.silent(): // but may still read
		code, text = http.StatusRequestTimeout, text+"; "+howToGoOn(r, cut.kept)
	default:
		code, text = http.StatusBadRequest, "the body did not come to its end; "+howToGoOn(r, cut.kept)
	}
	worst := u.reportFailure(name, err)
	refuseUpload(w, r, code, text)
	return worst
}

// reportFailure reports to Events that name is not stored because of err, one
// of the errors of receive. It returns the outcome for filesFailed.
func (u *uploadHandler) reportFailure(name string, err error) push.Kind {
	e := push.FileEvent{Path: name, Size: -1, Kind: push.Failed, Reason: err.Error()}
	var refused *store.Error
	var cut *cutError
	switch {
	case errors.As(err, &refused):
		e.Kind = outcome(refused.Kind)
	case errors.As(err, &cut):
		e.Kind = push.Cut
		e.Size, e.Partial, e.Kept = cut.size, cut.partial, cut.kept
	case errors.Is(err, errAbandoned):
		e.Kind, e.Reason = push.Abandoned, ""
	}
	u.s.o.Events.Failed(e)
	return e.Kind
}

// statusCode returns the HTTP status code for the kind of a store error; 500 if
// there is no closer one.
func statusCode(k store.Kind) int {
	switch k {
	case store.Invalid:
		return http.StatusBadRequest
	case store.Forbidden:
		return http.StatusForbidden
	case store.Conflict:
		return http.StatusConflict
	case store.Exists:
		return http.StatusPreconditionFailed
	case store.TooLarge:
		return http.StatusRequestEntityTooLarge
	case store.NoSpace:
		return http.StatusInsufficientStorage
	case store.Mismatch:
		return http.StatusUnprocessableEntity
	}
	return http.StatusInternalServerError
}

// refuseUpload is refuse for a client that may still be sending its body. It
// reads the body for rejectTime: with unread bytes, the close of HTTP/1 or the
// stream reset of HTTP/2 could overtake the answer. net/http itself reads the
// rest of a small body.
func refuseUpload(w http.ResponseWriter, r *http.Request, code int, text string) {
	rc := http.NewResponseController(w)
	small := r.ContentLength >= 0 && r.ContentLength <= store.SmallFile
	if small || r.ProtoMajor == 1 && rc.EnableFullDuplex() != nil {
		refuse(w, code, text)
		return
	}
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	refuse(w, code, text)
	if rc.Flush() != nil {
		return
	}
	_ = rc.SetReadDeadline(time.Now().Add(rejectTime))
	_, _ = io.Copy(io.Discard, r.Body)
}
