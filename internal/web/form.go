package web

import (
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"time"

	"purr/internal/push"
	"purr/internal/store"
)

// form stores the files of a multipart form (RFC 7578), which a browser without
// scripts sends from the page, and answers with a page of results. A file that
// fails does not stop the next ones.
func (u *uploadHandler) form(w http.ResponseWriter, r *http.Request, c *client) {
	r.Body = io.NopCloser(&formReader{Reader: u.body(w, r.Body)})
	parts, err := r.MultipartReader()
	if err != nil {
		refuse(w, http.StatusBadRequest, "POST takes the form of this page; PUT /NAME stores a file")
		return
	}
	if !u.admit(c) {
		refuseFull(w, r)
		return
	}
	defer u.leave(c)
	if !u.s.acquire(c, c.host) {
		refuse(w, http.StatusServiceUnavailable, busy)
		return
	}
	defer u.s.leave()
	results := formResults{c: c}
	defer results.free()
	worst, code := push.OK, http.StatusCreated
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			u.s.o.Events.FormCut(c.name, err)
			worst, code = max(worst, push.Cut), http.StatusBadRequest
			break
		}
		if part.FileName() == "" { // the submit button, or no file was chosen
			continue
		}
		result, kind := u.part(part, c)
		results.add(result)
		if worst = max(worst, kind); kind != push.OK {
			code = http.StatusConflict
		}
	}
	if results.files == 0 && worst == push.OK { // a server without Keep has not served yet
		u.s.release(c)
		refuse(w, http.StatusBadRequest, "no file was chosen")
		return
	}
	writeResultPage(w, r, code, &results)
	u.s.finish(c, filesFailed(c, worst))
}

// formResults are the outcomes of the files of one form: those that fit into
// listMemory and the budget of the client, and the number of all.
type formResults struct {
	c             *client
	rows          []pageResult
	files, stored int64
	memory        int64 // of the budget
}

// add counts a result, and keeps it if there is room: a form has any number of
// files, and names of any length.
func (f *formResults) add(r pageResult) {
	f.files++
	if r.refusal == "" {
		f.stored++
	}
	n := rowMemory + int64(len(r.name)+len(r.digest)+len(r.refusal))
	if f.memory+n > listMemory || !f.c.s.memory.take(f.c.host, n) {
		return
	}
	f.memory += n
	f.rows = append(f.rows, r)
}

// free returns the memory of the rows to the budget.
func (f *formResults) free() { f.c.s.memory.give(f.c.host, f.memory) }

// part stores one file of a form and reports it to Events. It returns the file
// for the page of results, and its outcome.
func (u *uploadHandler) part(part *multipart.Part, c *client) (pageResult, push.Kind) {
	name, begun := formName(part), time.Now()
	f, err := u.receivePart(part, name, c)
	if err != nil {
		return pageResult{name: name, refusal: err.Error()}, u.reportFailure(name, err)
	}
	u.s.o.Events.Stored(storedEvent(name, f, 0, begun))
	return pageResult{name: f.Path, size: f.Size, digest: fmt.Sprintf("%x", f.Digest)}, push.OK
}

// receivePart stores the body of part under name, and returns the stored file,
// which may be an identical one that existed. The size is not known before its
// end.
func (u *uploadHandler) receivePart(part *multipart.Part, name string, c *client) (*store.Stored, error) {
	in, same, err := u.store.Begin(store.File{Path: name, Size: -1})
	if same != nil || err != nil {
		return same, err
	}
	progress := u.s.o.Events.Began(name, -1)
	defer progress.End()
	if err := in.Receive(part, progress.Add); err != nil {
		return nil, u.broken(in, -1, err, c)
	}
	return in.Commit(nil)
}

// A formReader turns the end of a form body into io.ErrUnexpectedEOF: package
// multipart takes an end within the head of a part for the end of the form. A
// line end is inserted before that error, since the last line of the form may
// lack its own.
type formReader struct {
	io.Reader
	rest string // before the error; "" until the body has ended
	over bool
}

// Read returns the body, a line end, and then io.ErrUnexpectedEOF.
func (f *formReader) Read(b []byte) (int, error) {
	if !f.over {
		n, err := f.Reader.Read(b)
		if err != io.EOF {
			return n, err
		}
		f.rest, f.over = "\r\n", true
		if n > 0 {
			return n, nil
		}
	}
	n := copy(b, f.rest)
	if f.rest = f.rest[n:]; n == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return n, nil
}
