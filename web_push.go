package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
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
	"purr/internal/sys"
)

// A shelf is the site of a listener of --push: what can be fetched.
type shelf struct {
	p     *purr
	offer *offer
}

func (s *shelf) role() role { return roleSender }

func (s *shelf) track(*visit) *progress.Transfer {
	return s.p.track(s.p.offerName(), s.p.offerSize(s.offer))
}

func (s *shelf) close() error {
	s.offer.close()
	return nil
}

func (s *shelf) serve(w http.ResponseWriter, r *http.Request, v *visit) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "this end sends: nothing is stored here")
	case name == "" && strings.Contains(r.Header.Get("Accept"), "application/json"):
		s.list(w)
	case name == "":
		writeOfferPage(w, r, machineName(), s.pageFiles)
	default:
		s.file(w, r, name, v)
	}
}

// pageFiles are the entries of the page.
func (s *shelf) pageFiles(yield func(pageFile) bool) {
	stop := errors.New("enough")
	visit := func(e *entry, skipped error) error {
		if skipped != nil || e.Type == typeLink {
			return nil
		}
		name, _ := e.name()
		mtime, _ := parseMtime(e.Mtime)
		if !yield(pageFile{path: name, size: e.Size, modTime: mtime, dir: e.Type == typeDir}) {
			return stop
		}
		return nil
	}
	if _, err := s.offer.walk(walkFiles, visit); err == nil {
		_, _ = s.offer.walk(walkDirs, visit)
	}
}

// list writes what is offered as one JSON array.
func (s *shelf) list(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	separator := "[\n"
	_ = s.offer.all(func(e *entry, skipped error) error {
		if skipped != nil {
			return nil
		}
		line, err := json.Marshal(e)
		if err == nil {
			_, err = fmt.Fprintf(w, "%s%s", separator, line)
		}
		separator = ",\n"
		return err
	})
	if separator == "[\n" {
		_, _ = io.WriteString(w, separator)
	}
	_, _ = io.WriteString(w, "\n]\n")
}

// file answers with one file, or with a directory as a tar archive.
func (s *shelf) file(w http.ResponseWriter, r *http.Request, name string, v *visit) {
	f, info, err := s.offer.open(name)
	if err != nil {
		if dir, ok := strings.CutSuffix(name, ".tar"); ok && s.isDir(dir) {
			s.tar(w, r, dir, v)
			return
		}
		code := http.StatusNotFound
		if errors.Is(err, fs.ErrPermission) {
			code = http.StatusForbidden
		}
		refuse(w, code, err.Error())
		return
	}
	defer f.Close()
	if v.exchange.Load() != nil {
		s.send(w, r, name, f, info, v)
		return
	}
	s.serveContent(w, r, name, f, info, v)
}

// send answers a purr with a large file; the digest comes behind it.
func (s *shelf) send(w http.ResponseWriter, r *http.Request, name string, f *os.File, info fs.FileInfo, v *visit) {
	out, err := newOutgoing(f, info, s.offer.live)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set(headerMtime, mtimeField(info.ModTime()))
	if r.Method == http.MethodHead {
		sum := s.headDigest(w, r, out, v)
		v.exchange.Load().sent.is(relpath.Escape(name), sentFile{sum: sum})
		return
	}
	done := v.working(w, r)
	offset, d, err := s.resume(r, out)
	done()
	if err != nil {
		s.giveUp(w, name, err)
		return
	}
	begun := time.Now()
	v.exchange.Load().sent.is(relpath.Escape(name), sentFile{begun: begun})
	body := out.body(offset, d, s.p.limit, v.exchange.Load().bar.Add)
	defer body.Close()
	if lane := contactOf(r); lane != v.contact {
		body.lane = lane
	}
	if offset > 0 {
		s.p.sayResuming(display.Quote(name), offset, out.size())
		w.Header().Set(headerOffset, strconv.FormatInt(offset, 10))
	}
	w.Header().Set("Trailer", headerDigest+", "+headerError)
	w.Header().Set(headerLength, strconv.FormatInt(out.size(), 10))
	_, _ = body.WriteTo(w)
	if err := body.failure(); err != nil {
		w.Header().Set(headerError, err.Error())
	} else if sum := body.digest(); sum != nil {
		v.exchange.Load().sent.is(relpath.Escape(name), sentFile{begun, sum})
		w.Header().Set(headerDigest, digest.Field(sum))
	}
}

// giveUp answers that a file cannot be sent now.
func (s *shelf) giveUp(w http.ResponseWriter, name string, err error) {
	s.p.log.notef(1, "%s: %v: not sent", display.Quote(name), err)
	refuse(w, http.StatusConflict, err.Error())
}

// headDigest answers with the digest of a file, if it is asked for, and returns
// it.
func (s *shelf) headDigest(w http.ResponseWriter, r *http.Request, out *outgoing, v *visit) (sum []byte) {
	if r.Header.Get(headerWant) != "" {
		done := v.working(w, r)
		d, err := out.digest(out.size(), func(int) error { return r.Context().Err() })
		done()
		if err == nil {
			sum = d.Sum()
			w.Header().Set(headerDigest, digest.Field(sum))
		}
	}
	w.Header().Set("Content-Length", strconv.FormatInt(out.size(), 10))
	w.WriteHeader(http.StatusOK)
	return sum
}

// resume returns the offset that a receiver may go on from: what it has of the
// file must be how ours begins. The file stands there, hashed by d so far.
func (s *shelf) resume(r *http.Request, out *outgoing) (offset int64, d *digest.Hasher, err error) {
	at, err := parseOffset(r.Header.Get(headerOffset))
	prefix, digestErr := digest.Parse(r.Header.Values(headerPrefix))
	if err != nil || digestErr != nil || prefix == nil || at > out.size() || s.p.cfg.push.noResume {
		return 0, nil, nil
	}
	if d, err = out.digest(at, func(int) error { return r.Context().Err() }); err != nil {
		return 0, nil, err
	}
	if bytes.Equal(d.Mark(), prefix) {
		return at, d, nil
	}
	d.Sum()
	_, err = out.f.Seek(0, io.SeekStart)
	return 0, nil, err
}

// serveContent answers curl, wget or a browser. A download that came to its end
// ends a listener without -k; that it was stored nobody can know.
func (s *shelf) serveContent(w http.ResponseWriter, r *http.Request, name string, f *os.File, info fs.FileInfo, v *visit) {
	w.Header().Set("Content-Disposition", attachment(name))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size())) // strong: If-Range needs it
	if r.Header.Get(headerWant) != "" && r.Method == http.MethodHead {
		if out, err := newOutgoing(f, info, s.offer.live); err == nil {
			s.headDigest(w, r, out, v)
		}
		return
	}
	counted := s.newCountedAnswer(w, r, name, info.Size(), v)
	defer counted.bar.End()
	if r.Header.Get(headerWant) != "" && r.Header.Get("Range") == "" {
		s.serveDigested(counted, name, f, info, v)
		return
	}
	if out, err := newOutgoing(f, info, s.offer.live); err == nil {
		counted.check = out.check
	}
	http.ServeContent(counted, r, "", info.ModTime(), f)
	if r.Method != http.MethodHead && counted.code < 300 && reachesEnd(counted.Header(), info.Size()) {
		s.delivered(w, name, counted, v)
	}
	if counted.short() {
		panic(http.ErrAbortHandler) // an answer that ends in order would look whole
	}
}

// serveDigested answers with a file and, in a trailer, its digest: RFC 9530,
// section 6.5. HTTP/1.1 has trailers behind chunks only, so no length is told.
func (s *shelf) serveDigested(c *countedAnswer, name string, f *os.File, info fs.FileInfo, v *visit) {
	out, err := newOutgoing(f, info, s.offer.live)
	if err != nil {
		refuse(c, http.StatusInternalServerError, err.Error())
		return
	}
	body := out.body(0, nil, s.p.limit, func(int) {})
	defer body.Close()
	c.Header().Set("Trailer", headerDigest)
	_, _ = body.WriteTo(c)
	if c.failed == nil {
		c.failed = body.failure()
	}
	if c.failed == nil {
		c.Header().Set(headerDigest, digest.Field(body.digest()))
	}
	if s.delivered(c, name, c, v); c.failed != nil {
		panic(http.ErrAbortHandler) // an answer that ends in order would look whole
	}
}

// reachesEnd reports whether an answer goes up to the file's last byte: a part
// from the middle is not what a listener without -k is there for.
func reachesEnd(h http.Header, size int64) bool {
	part := h.Get("Content-Range")
	return part == "" || strings.HasSuffix(part, fmt.Sprintf("-%d/%d", size-1, size))
}

// delivered says how a download ended.
func (s *shelf) delivered(w http.ResponseWriter, name string, c *countedAnswer, v *visit) {
	err := c.failed
	if err == nil && c.wanted >= 0 && c.written < c.wanted {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = http.NewResponseController(w).Flush()
	}
	if err == nil {
		err = v.settle()
	}
	if err != nil {
		s.p.sayFailed(name, "failed", sys.Cause(err).Error(), "%s: not sent to %s: %v", display.Quote(name), v.name, sys.Cause(err))
		status := 1
		if errors.As(err, new(changedError)) {
			status = 4
		}
		v.web.finish(v, failure(exitStatus(status)))
		return
	}
	s.p.sayFile([]field{{"path", name}, {"size", c.written}, {"status", "sent"}},
		"%s: %d bytes sent to %s, not confirmed: its system has all of them, only another purr can tell that they are stored", display.Quote(name), c.written, v.name)
	v.web.finish(v, nil)
}

func (s *shelf) isDir(name string) bool {
	if relpath.Check(name, true) != nil {
		return false
	}
	item, inside := s.offer.find(name)
	if item == nil || item.file != "" {
		return false
	}
	info, err := item.root.Lstat(inside)
	return err == nil && info.IsDir()
}

// tar answers with a directory as an archive, files before links. An archive
// that cannot be finished is cut, and not closed in order.
func (s *shelf) tar(w http.ResponseWriter, r *http.Request, dir string, v *visit) {
	if err := s.packs(dir); err != nil {
		s.p.sayFailed(dir+".tar", "refused", err.Error(), "%s: not sent to %s: %v", display.Quote(dir+".tar"), v.name, err)
		refuse(w, http.StatusConflict, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set("Content-Disposition", attachment(dir+".tar"))
	if r.Method == http.MethodHead {
		return
	}
	counted := s.newCountedAnswer(w, r, dir+".tar", -1, v)
	defer counted.bar.End()
	archive := &archive{Writer: tar.NewWriter(counted), offer: s.offer, dir: dir}
	err := archive.write()
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		s.p.sayFailed(dir+".tar", "failed", sys.Cause(err).Error(), "%s: not sent to %s: %v", display.Quote(dir+".tar"), v.name, sys.Cause(err))
		v.web.finish(v, failure(1))
		panic(http.ErrAbortHandler)
	}
	s.delivered(w, dir+".tar", counted, v)
}

// packs returns why a directory cannot be an archive, before the first byte of
// one is sent: something in it that would be left out.
func (s *shelf) packs(dir string) error {
	item, inside := s.offer.find(dir)
	w := &walker{item: item, part: walkFiles, visit: func(e *entry, skipped error) error {
		if skipped == nil {
			return nil
		}
		name, _ := e.name()
		return fmt.Errorf("%s: %w: no archive without it", display.Quote(name), skipped)
	}}
	return w.dir(dir, inside, 0)
}

// converse lists everything to a purr that pulls, and reads what became of it.
func (s *shelf) converse(ctx context.Context, x *exchange, v *visit) error {
	listed := make(chan error, 1)
	go func() { listed <- s.listTo(ctx, x) }()
	err := s.results(x)
	if err != nil {
		_ = x.close() // ends the listing
	}
	if failed := <-listed; err == nil {
		err = failed
	}
	if err == nil && x.sent.any() {
		err = errors.New("an end without an answer about every file")
	}
	return err
}

// listTo sends every entry, small files with their bytes, and the account of
// what had to be left out.
func (s *shelf) listTo(ctx context.Context, x *exchange) error {
	var left account
	var files sync.WaitGroup
	var small fileBatch
	memory := semaphore.NewWeighted(pushMemory)
	start := func() error {
		entries, cost := small.take()
		if memory.Acquire(ctx, cost) != nil {
			return errLost
		}
		files.Go(func() {
			defer memory.Release(cost)
			for _, e := range entries {
				s.sendSmall(x, e)
			}
		})
		return nil
	}
	_, err := s.offer.walk(walkFiles, func(e *entry, skipped error) error {
		if skipped != nil {
			left.Status = 4
			return s.leaveOut(x, e, skipped)
		}
		if e.Size > store.SmallFile {
			x.sent.expect(e.Href, sentFile{})
			return x.send(e)
		}
		if full := small.add(e); !full {
			return nil
		}
		return start()
	})
	if err == nil {
		err = start()
	}
	files.Wait()
	for _, part := range []walkPart{walkLinks, walkDirs} {
		if err == nil {
			_, err = s.offer.walk(part, func(e *entry, skipped error) error { return x.send(e) })
		}
	}
	x.failed(left.Status)
	if err != nil {
		return err
	}
	left.Status = x.sum().Status
	return x.send(&entry{End: &left})
}

// leaveOut says that a file is not sent, here and there.
func (s *shelf) leaveOut(x *exchange, e *entry, why error) error {
	name, _ := e.name()
	s.p.sayFailed(name, "failed", why.Error(), "%s: %v: not sent", display.Quote(name), why)
	x.failed(4)
	return x.send(&entry{Href: e.Href, Result: resultFailed, Status: 4, Error: why.Error()})
}

// sendSmall sends a small file behind its line, read once more if it changed
// meanwhile; one that has grown large is for the receiver to fetch. A line that
// cannot be sent is the end of the exchange, which its reader finds.
func (s *shelf) sendSmall(x *exchange, e *entry) {
	name, err := e.name()
	for attempt := range 2 {
		if err != nil && attempt > 0 && !errors.As(err, new(changedError)) {
			break
		}
		var content []byte
		var sent *entry
		if sent, content, err = s.offer.read(name); err == nil {
			sum, _ := digest.Parse([]string{sent.Digest})
			f := sentFile{sum: sum}
			if content != nil {
				f.begun = time.Now()
			}
			x.sent.expect(e.Href, f)
			_ = x.sendFile(sent, content)
			return
		}
	}
	_ = s.leaveOut(x, e, err)
}

// results says what the receiver made of each file.
func (s *shelf) results(x *exchange) error {
	for {
		e, err := x.receive()
		if err != nil {
			return err
		}
		if e.End != nil {
			x.failed(e.End.Status)
			s.p.sayTotal("stored and verified", x.sum())
			return nil
		}
		name, err := e.name()
		if err != nil {
			return err
		}
		sum, err := digest.Parse([]string{e.Digest})
		sent, listed := x.sent.heardOf(e.Href)
		switch {
		case err != nil:
			return err
		case e.Result == resultFailed: // a link or a directory, too
			s.p.sayRefusedThere(name, exitStatus(e.Status), e.Error)
			x.failed(e.Status)
		case !listed || e.Result != resultStored && e.Result != resultIdentical:
			return errors.New("an answer about a file that was not sent")
		case sum == nil || !bytes.Equal(sum, sent.sum):
			s.p.sayRefusedThere(name, 5, notSent)
			x.failed(5)
		default:
			x.stored(e.Size)
			s.p.sayStored(name, &store.Stored{Path: storedAs(e.As, name), Size: e.Size, Digest: sum, Identical: e.Result == resultIdentical}, e.Resume, sent.begun)
		}
	}
}
