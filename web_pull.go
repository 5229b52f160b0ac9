package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"purr/internal/digest"
	"purr/internal/display"
	"purr/internal/progress"
	"purr/internal/relpath"
	"purr/internal/store"
)

// The site of a listener of --pull: what comes in.

func (b *inbox) role() role { return roleReceiver }

func (b *inbox) track(v *visit) *progress.Transfer { return b.p.track("from "+v.name, 0) }

func (b *inbox) close() error { return b.store.Close() }

func (b *inbox) serve(w http.ResponseWriter, r *http.Request, v *visit) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case name == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		writeReceivePage(w, r, machineName())
	case name == "" && r.Method == http.MethodPost:
		b.form(w, r, v)
	case name == "":
		refuse(w, http.StatusBadRequest, "name the file: PUT /NAME (curl -T FILE http://HOST:PORT/ does)")
	case r.Method == http.MethodHead:
		b.head(w, r, name, v)
	case r.Method == http.MethodPut:
		b.put(w, r, name, v)
	case r.Method == http.MethodPatch && r.Header.Get("Content-Type") == typePartial:
		b.put(w, r, name, v)
	case r.Method == http.MethodGet:
		refuse(w, http.StatusForbidden, "this end receives: nothing can be fetched from it")
	default:
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH")
		refuse(w, http.StatusMethodNotAllowed, "PUT stores a file")
	}
}

// head tells what is here of a file: a part that may be continued, with its
// digest, or that there is one of some size. The digest of what did not come
// in here is nobody's business.
func (b *inbox) head(w http.ResponseWriter, r *http.Request, name string, v *visit) {
	if size, ok := b.store.Existing(name); ok {
		if v.exchange.Load() == nil {
			refuse(w, http.StatusForbidden, "this end receives: nothing can be fetched from it")
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		w.WriteHeader(http.StatusOK)
		return
	}
	done := v.working(w, r)
	offset, sum, err := b.store.Partial(name)
	done()
	var refused *store.Error
	switch {
	case errors.As(err, &refused):
		w.WriteHeader(httpCode(refused.Kind))
	case err != nil || offset == 0:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set(headerOffset, strconv.FormatInt(offset, 10))
		w.Header().Set(headerWhole, "?0")
		w.Header().Set(headerDigest, digest.Field(sum))
		w.WriteHeader(http.StatusNoContent)
	}
}

// put stores the body of a request as a file.
func (b *inbox) put(w http.ResponseWriter, r *http.Request, name string, v *visit) {
	if !v.web.claim(v) {
		refuse(w, http.StatusServiceUnavailable, busy)
		return
	}
	begun := time.Now()
	a, err := readArrival(name, r)
	if err == nil && (r.Header.Get("Content-Range") != "" || r.Header.Get(headerWhole) == "?0") {
		err = errors.New("a part of a file is not a file: send it whole") // RFC 9110, section 14.4
	}
	var f *store.Stored
	if err == nil {
		f, err = b.receive(w, r, a, v)
	} else {
		err = &store.Error{Kind: store.Invalid, Text: err.Error()}
	}
	if errors.Is(err, errLost) {
		v.contact.loseLane(contactOf(r))
	}
	status := b.answer(w, r, name, f, err, v)
	if err == nil {
		b.p.sayReceived(name, f, a.Offset, begun)
	}
	b.finished(r, status, v)
}

// receive takes the body in.
func (b *inbox) receive(w http.ResponseWriter, r *http.Request, a store.File, v *visit) (f *store.Stored, err error) {
	done := v.working(w, r)
	defer func() { done() }()
	defer v.turn(a.Path)()
	if x := v.exchange.Load(); x != nil {
		if !x.came.add(a.Path) {
			return nil, errTwice
		}
		defer func() {
			if err != nil { // it may be sent again
				x.came.remove(a.Path)
			}
		}()
	}
	b.files <- struct{}{}
	defer func() { <-b.files }()
	in, same, err := b.store.Begin(a)
	if same != nil || err != nil {
		return same, err
	}
	done()
	done = func() {}
	if a.Offset > 0 {
		b.p.sayResuming(strconv.Quote(a.Path), a.Offset, a.Size)
	}
	bar := b.uploadBar(a, v)
	if v.exchange.Load() == nil {
		defer bar.End()
	}
	return b.take(a.Path, in, a.Size, v.body(w, r), func() ([]byte, error) {
		done = v.working(w, r)
		if why := r.Trailer.Get(headerError); why != "" {
			return nil, givenUp(why)
		}
		if a.Digest != nil {
			return a.Digest, nil
		}
		sum, err := digest.Parse(r.Trailer.Values(headerDigest))
		if err == nil && sum == nil && a.Offset > 0 {
			// What is here may be the beginning of another file.
			err = &store.Error{Kind: store.Invalid, Text: "the rest of a file needs the " + headerDigest + " of the whole"}
		}
		return sum, err
	}, contactOf(r), bar)
}

// uploadBar is what shows an upload: the exchange's, or one of its own.
func (b *inbox) uploadBar(a store.File, v *visit) *progress.Transfer {
	if x := v.exchange.Load(); x != nil {
		x.bar.Grow(max(0, a.Size-a.Offset))
		return x.bar
	}
	return b.p.track(display.Quote(a.Path), a.Size)
}

// body is a request's body, of which something must come now and then. On the
// connection of an exchange PINGs find out whether the other end lives, so there
// it may be long: a disk can be slow.
func (v *visit) body(w http.ResponseWriter, r *http.Request) io.Reader {
	limit := v.silence
	if v.exchange.Load() != nil && contactOf(r) == v.contact {
		limit *= 10
	}
	return &timedReader{r.Body, http.NewResponseController(w), limit}
}

// answer tells the client what became of its file, and returns the status that
// makes. To a purr it says why a file was given up in a line of the exchange,
// so that is for there to say.
func (b *inbox) answer(w http.ResponseWriter, r *http.Request, name string, f *store.Stored, err error, v *visit) int {
	if err == nil {
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
		if x := v.exchange.Load(); x != nil {
			x.stored(f.Size)
		}
		return 0
	}
	if errors.Is(err, errGivenUp) && v.exchange.Load() != nil {
		return 0
	}
	status, why := b.sayRefused(name, err)
	var refused *store.Error
	switch {
	case errors.As(err, &refused):
		refuseUpload(w, r, httpCode(refused.Kind), why, v)
	case errors.Is(err, errLost) && contactOf(r).silent(): // but may still listen
		refuseUpload(w, r, http.StatusRequestTimeout, contactOf(r).why(), v)
	case errors.Is(err, errLost):
		refuseUpload(w, r, http.StatusBadRequest, "the body did not come to its end", v)
	default:
		refuseUpload(w, r, http.StatusInternalServerError, why, v)
	}
	if x := v.exchange.Load(); x != nil {
		x.failed(status)
	}
	return status
}

// refuseUpload answers while the client may still be sending, and takes that in
// for a moment: a close with bytes unread would reset the answer away before
// curl has seen it, and so would HTTP/2's way to stop an upload. A purr waits for
// leave to send, and net/http takes in small rests.
func refuseUpload(w http.ResponseWriter, r *http.Request, code int, text string, v *visit) {
	rc := http.NewResponseController(w)
	small := r.ContentLength >= 0 && r.ContentLength <= store.SmallFile
	if small || v.exchange.Load() != nil || r.ProtoMajor == 1 && rc.EnableFullDuplex() != nil {
		refuse(w, code, text)
		return
	}
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	refuse(w, code, text)
	if rc.Flush() != nil {
		return
	}
	_ = rc.SetReadDeadline(time.Now().Add(turnAwayTime))
	_, _ = io.Copy(io.Discard, r.Body)
}

// finished ends a listener without -k after the upload of a client that is no
// purr, unless the client says that another one follows.
func (b *inbox) finished(r *http.Request, status int, v *visit) {
	switch {
	case v.exchange.Load() != nil:
	case b.p.cfg.keep:
	case r.Header.Get(headerMore) == "?1":
		v.web.book(failure(exitStatus(status)))
		v.web.release(v)
	default:
		v.web.finish(v, failure(exitStatus(status)))
	}
}

// form stores the files of a page's form, for a browser without script.
func (b *inbox) form(w http.ResponseWriter, r *http.Request, v *visit) {
	parts, err := r.MultipartReader()
	if err != nil {
		refuse(w, http.StatusBadRequest, "POST takes the form of this page; PUT /NAME stores a file")
		return
	}
	if !v.web.claim(v) {
		refuse(w, http.StatusServiceUnavailable, busy)
		return
	}
	var results []pageResult
	worst, code := 0, http.StatusCreated
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			b.p.log.warnf("%s: transfer cut: %v", v.name, err)
			worst, code = max(worst, 3), http.StatusBadRequest
			break
		}
		if part.FileName() == "" { // the submit button, or no file chosen
			continue
		}
		result, status := b.part(w, part, v)
		results = append(results, result)
		if worst = max(worst, status); status != 0 {
			code = http.StatusConflict
		}
	}
	if len(results) == 0 && worst == 0 { // nothing that a listener without -k would be there for
		v.web.release(v)
		refuse(w, http.StatusBadRequest, "no file was chosen")
		return
	}
	writeResultPage(w, r, code, results)
	v.web.finish(v, failure(exitStatus(worst)))
}

// part stores one file of a form.
func (b *inbox) part(w http.ResponseWriter, part *multipart.Part, v *visit) (pageResult, int) {
	name, begun := part.FileName(), time.Now()
	b.files <- struct{}{}
	defer func() { <-b.files }()
	in, _, err := b.store.Begin(store.File{Path: name, Size: -1})
	var f *store.Stored
	if err == nil {
		body := &timedReader{part, http.NewResponseController(w), v.silence}
		bar := b.p.track(display.Quote(name), -1)
		f, err = b.take(name, in, -1, body, func() ([]byte, error) { return nil, nil }, v.contact, bar)
		bar.End()
	}
	if err != nil {
		status, why := b.sayRefused(name, err)
		return pageResult{name: name, refusal: why}, status
	}
	b.p.sayReceived(name, f, 0, begun)
	return pageResult{name: f.Path, size: f.Size, digest: fmt.Sprintf("%x", f.Digest)}, 0
}

// converse reads the lines of a purr that pushes: what it gave up, links,
// directories, and its account, to which this end's is the answer.
func (b *inbox) converse(ctx context.Context, x *exchange, v *visit) error {
	var files sync.WaitGroup
	defer files.Wait()
	memory := semaphore.NewWeighted(pushMemory)
	for {
		e, err := x.receive()
		if err != nil {
			return err
		}
		if !e.Body {
			files.Wait() // links and directories come last
		}
		if e.End != nil {
			v.finish() // a file that was given up may not be gone yet
			x.failed(e.End.Status)
			b.settle(x)
			sum := x.sum()
			b.p.sayTotal("stored", sum)
			return x.send(&entry{End: &sum})
		}
		name, err := e.name()
		switch {
		case err != nil:
			return err
		case e.Result == resultFailed:
			b.sayGivenUp(name, givenUp(e.Error))
			x.failed(e.Status)
		case e.Body:
			if err := b.keepLater(ctx, x, e, name, memory, &files); err != nil {
				return err
			}
		case e.Type == typeLink || e.Type == typeDir:
			if err := b.finish(e, name); err != nil {
				if err := b.refuse(x, e.Href, name, err); err != nil {
					return err
				}
			}
		default:
			return fmt.Errorf("%s: not a line of a push", v.name)
		}
	}
}
