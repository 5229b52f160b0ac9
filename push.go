package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"purr/internal/digest"
	"purr/internal/display"
	"purr/internal/relpath"
	"purr/internal/store"
	"purr/internal/sys"
)

// pushTo sends what --push offers to a receiver that listens, and returns nil
// once all of it is stored there and checked.
func (p *purr) pushTo(ctx context.Context, conn net.Conn) error {
	defer p.holdExit()()
	o, err := openOffer(p.cfg.push.paths, p.cfg.push.live)
	if err != nil {
		return err
	}
	defer o.close()
	pr, err := p.newPeer(ctx, conn)
	if err != nil {
		return err
	}
	defer pr.close()
	ctx, cancel := pr.work(ctx)
	defer cancel(nil)
	x, end, err := pr.begin(ctx, roleSender)
	if err != nil {
		return err
	}
	x.bar = p.track(p.offerName(), p.offerSize(o))
	defer x.bar.End()
	push := &pushing{peer: pr, exchange: x, offer: o, cancel: cancel, memory: semaphore.NewWeighted(pushMemory)}
	return push.run(ctx, end)
}

const (
	pushMemory = 9 << 20        // for all files that are in memory at once, in whole or in part
	largeCost  = pushMemory / 3 // a digester
)

// smallCost is what a small file counts for beside its bytes, so that no more
// are under way than there are descriptors for. One always fits, with its bytes.
func smallCost() int64 { return (pushMemory - store.SmallFile) / int64(openFiles()) }

// openFiles is how many files of a push or pull may be open at once: enough to
// fill a long way, and never more than a part of the descriptors.
var openFiles = sync.OnceValue(func() int {
	const perFile = 8 // with the directories on the way to it
	most := 512
	if n := sys.DescriptorLimit(); n > 0 {
		most = min(most, max(1, n/perFile))
	}
	return most
})

// A fileBatch is small files that one goroutine sends: to start one for each takes
// as long as to send it.
type fileBatch struct {
	files []*entry
	cost  int64 // of their content and descriptors, as pushMemory counts it
}

// add reports whether the batch is to be sent now.
func (b *fileBatch) add(e *entry) (full bool) {
	b.files = append(b.files, e)
	b.cost += e.Size + smallCost()
	return len(b.files) >= 16 || b.cost >= store.SmallFile
}

// take empties the batch.
func (b *fileBatch) take() (files []*entry, cost int64) {
	files, cost = b.files, b.cost
	*b = fileBatch{}
	return files, cost
}

// A pushing is a push under way at the sender that dialled.
type pushing struct {
	*peer
	*exchange
	offer  *offer
	cancel context.CancelCauseFunc
	memory *semaphore.Weighted // bounds what is sent at once: small files by the hundred, large ones by the few
	files  sync.WaitGroup

	batch fileBatch // small files that the walk has found
}

// run sends everything: the files side by side, the small ones behind their
// lines and each large one in a request of its own, and then, in lines, the
// links and the directories.
func (s *pushing) run(ctx context.Context, end io.WriteCloser) error {
	results := make(chan error, 1)
	go func() { results <- s.readResults() }()
	go s.beat(ctx)
	links, err := s.offer.walk(walkFiles, func(e *entry, skipped error) error { return s.file(ctx, e, skipped) })
	if err == nil {
		err = s.startBatch(ctx)
	}
	s.files.Wait()
	if err == nil {
		err = s.tail(links)
	}
	if err == nil && context.Cause(ctx) == nil {
		sum := s.sum()
		if err = s.send(&entry{End: &sum}); err == nil {
			err = s.exchange.close()
		}
	}
	if err == nil {
		_ = end.Close()
		if err = <-results; err == nil && s.sent.any() {
			err = errLost
		}
	}
	if err == nil && s.sent.any() { // also after an account that came too early
		err = errLost
	}
	return s.ended(ctx, err)
}

// tail sends the links, if there are any, and the directories.
func (s *pushing) tail(links bool) error {
	visit := func(e *entry, skipped error) error {
		if skipped != nil {
			return s.giveUp(e, skipped)
		}
		return s.send(e)
	}
	if links {
		if _, err := s.offer.walk(walkLinks, visit); err != nil {
			return err
		}
	}
	_, err := s.offer.walk(walkDirs, visit)
	return err
}

// readResults reads what the receiver says about the lines that it was sent,
// and its account.
func (s *pushing) readResults() error {
	for {
		e, err := s.receive()
		if err != nil {
			return err
		}
		if e.End != nil {
			s.failed(e.End.Status)
			// The answer ends when the receiver has sent off all of it: to
			// close before would look to it as if we were lost. Whatever comes
			// instead, everything is stored.
			_, _ = s.in.ReadByte()
			return nil
		}
		name, err := e.name()
		if err != nil {
			return err
		}
		s.confirm(e, name)
	}
}

// ended returns how the push ended, in one error.
func (s *pushing) ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil || cause != nil {
		s.p.sayUnconfirmed(s.exchange, s.contact)
		if cause != nil && !errors.Is(cause, errLost) {
			return cause
		}
		return s.lost()
	}
	s.contact.becomes(contactFinished)
	sum := s.sum()
	s.p.sayTotal("stored and verified", sum)
	return failure(exitStatus(sum.Status))
}

// file starts to send one file, as soon as there is room; small ones by the
// batch.
func (s *pushing) file(ctx context.Context, e *entry, skipped error) error {
	switch {
	case skipped != nil:
		return s.giveUp(e, skipped)
	case e.Size > store.SmallFile:
		return s.start(ctx, []*entry{e}, largeCost)
	}
	if full := s.batch.add(e); !full {
		return nil
	}
	return s.startBatch(ctx)
}

// startBatch starts to send the small files that were found so far.
func (s *pushing) startBatch(ctx context.Context) error {
	files, cost := s.batch.take()
	return s.start(ctx, files, cost)
}

func (s *pushing) start(ctx context.Context, files []*entry, cost int64) error {
	if err := s.memory.Acquire(ctx, cost); err != nil {
		return errLost
	}
	s.files.Add(1)
	go func() {
		defer s.files.Done()
		defer s.memory.Release(cost)
		for _, e := range files {
			if err := s.sendTwice(ctx, e); err != nil {
				s.cancel(err)
				return
			}
		}
	}()
	return nil
}

// giveUp tells the user and the other end of what is not sent, and goes on.
func (s *pushing) giveUp(e *entry, why error) error {
	name, _ := e.name()
	s.p.sayFailed(name, "failed", why.Error(), "%s: %v: not stored", display.Quote(name), why)
	s.failed(4)
	return s.send(&entry{Href: e.Href, Result: resultFailed, Status: 4, Error: why.Error()})
}

// sendTwice sends a file, and once more if it changed meanwhile. An error ends
// the push; a failure of the one file does not.
func (s *pushing) sendTwice(ctx context.Context, e *entry) error {
	name, err := e.name()
	if err != nil {
		return err
	}
	err = s.sendOne(ctx, name, e.Size)
	if errors.As(err, new(changedError)) {
		err = s.sendOne(ctx, name, e.Size)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errLost) || ctx.Err() != nil || s.contact.lost():
		return errLost
	}
	return s.giveUp(e, err)
}

// sendOne sends a file as its size wants it. A nil error says that the file's
// outcome is booked, or will be with the results.
func (s *pushing) sendOne(ctx context.Context, name string, size int64) error {
	if size <= store.SmallFile {
		e, content, err := s.offer.read(name)
		if err != nil {
			return err
		}
		if content != nil {
			return s.sendSmall(e, content)
		}
	}
	f, info, err := s.offer.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	out, err := newOutgoing(f, info, s.offer.live)
	if err != nil {
		return err
	}
	return s.sendLarge(ctx, name, out)
}

// sendSmall sends a file behind its line. What became of it comes as a line,
// too.
func (s *pushing) sendSmall(e *entry, content []byte) error {
	sum, err := digest.Parse([]string{e.Digest})
	if err != nil {
		return err
	}
	s.sent.expect(e.Href, sentFile{time.Now(), sum})
	return s.sendFile(e, content)
}

// confirm books what the receiver says of a small file.
func (s *pushing) confirm(e *entry, name string) {
	f, sent := s.sent.heardOf(e.Href)
	switch theirs, err := digest.Parse([]string{e.Digest}); {
	case e.Result == resultFailed:
		s.refused(name, e.Status, e.Error)
	case !sent || err != nil || f.sum == nil || !bytes.Equal(theirs, f.sum):
		s.refused(name, 5, notSent)
	default:
		s.stored(e.Size)
		s.p.sayStored(name, &store.Stored{Path: storedAs(e.As, name), Size: e.Size, Digest: f.sum, Identical: e.Result == resultIdentical}, 0, time.Time{})
	}
}

// put prepares the request that stores a file. Its body has no Content-Length,
// so that it can end early, in order, with a trailer that says why.
func (s *pushing) put(ctx context.Context, name string, out *outgoing, body io.ReadCloser) *http.Request {
	req := s.request(ctx, http.MethodPut, name, body, -1)
	req.Header.Set(headerLength, strconv.FormatInt(out.size(), 10))
	req.Header.Set(headerMode, modeField(out.info.Mode()))
	req.Header.Set(headerMtime, mtimeField(out.info.ModTime()))
	return req
}

// sendLarge asks first what the receiver has. A partial upload whose bytes are
// the file's own is continued; a file of the same size is proved to be the
// same, or sent after all if the receiver wants it.
func (s *pushing) sendLarge(ctx context.Context, name string, out *outgoing) error {
	offset, d, sum, err := s.compare(ctx, name, out)
	if err != nil {
		return err
	}
	begun := time.Now()
	s.sent.expect(relpath.Escape(name), sentFile{begun, sum})
	body := out.body(offset, d, s.p.limit, s.bar.Add)
	defer body.Close()
	req := s.put(ctx, name, out, body)
	if offset > 0 {
		s.p.sayResuming(display.Quote(name), offset, out.size())
		req.Method = http.MethodPatch
		req.Header.Set("Content-Type", typePartial)
		req.Header.Set(headerOffset, strconv.FormatInt(offset, 10))
	}
	if sum != nil {
		req.Header.Set(headerDigest, digest.Field(sum))
	}
	req.Trailer = http.Header{headerDigest: nil, headerError: nil}
	body.ended = func(sum []byte, err error) {
		if err != nil {
			req.Trailer.Set(headerError, err.Error())
		} else {
			req.Trailer.Set(headerDigest, digest.Field(sum))
		}
	}
	req.Header.Set("Expect", "100-continue") // a refusal comes before the first byte
	resp, over, err := s.ask(req)
	if failed := body.failure(); failed != nil {
		if err == nil {
			drop(resp)
		}
		s.sent.heardOf(relpath.Escape(name))
		return failed
	}
	if err == nil && resp.StatusCode == http.StatusRequestTimeout { // it has given us up
		drop(resp)
		err = errors.New(resp.Status)
	}
	if err != nil {
		return s.broken(over, err)
	}
	s.sent.heardOf(relpath.Escape(name))
	if sum == nil {
		sum = body.digest()
	}
	s.book(name, out.size(), sum, offset, begun, resp)
	return nil
}

// compare asks the receiver what it has of a file. It returns the offset to go
// on from, with what the file's beginning was hashed to; or, where the receiver
// has a file of that size, the digest of ours.
func (s *pushing) compare(ctx context.Context, name string, out *outgoing) (offset int64, d *digest.Hasher, sum []byte, err error) {
	resp, over, err := s.ask(s.request(ctx, http.MethodHead, name, nil, 0))
	if err != nil {
		return 0, nil, nil, s.broken(over, err)
	}
	drop(resp)
	prefix, _ := digest.Parse(resp.Header.Values(headerDigest))
	at, atErr := parseOffset(resp.Header.Get(headerOffset))
	partial := atErr == nil && at > 0 && at <= out.size() && prefix != nil && !s.p.cfg.push.noResume
	same := resp.StatusCode == http.StatusOK && resp.ContentLength == out.size()
	if !partial && !same {
		return 0, nil, nil, nil
	}
	n := out.size()
	if partial {
		n = at
	}
	if d, err = out.digest(n, func(int) error { return context.Cause(ctx) }); err != nil {
		return 0, nil, nil, err
	}
	if partial {
		mark := d.Mark()
		if bytes.Equal(mark, prefix) {
			return at, d, nil, nil
		}
	} else {
		sum = d.Sum()
		d = nil
	}
	if d != nil {
		d.Sum()
	}
	_, err = out.f.Seek(0, io.SeekStart)
	return 0, nil, sum, err
}

// broken is what a request that came to no answer means: the end of the
// exchange, whether the connection is gone or not, for nobody knows what became
// of the file. over is the connection that it went over.
func (s *pushing) broken(over *contact, err error) error {
	s.contact.loseLane(over)
	if !s.contact.lost() && !errors.Is(err, context.Canceled) { // else that is said
		s.p.log.notef(1, "%s: %v", s.name, err)
	}
	return errLost
}

// book says and counts what the receiver answered. begun is when the first
// byte was sent, zero where that does not matter.
func (s *pushing) book(name string, size int64, sum []byte, offset int64, begun time.Time, resp *http.Response) {
	defer drop(resp)
	switch resp.StatusCode {
	case http.StatusCreated, http.StatusNoContent:
	case http.StatusUnprocessableEntity:
		s.refused(name, 5, bodyLine(resp))
		return
	default:
		s.refused(name, 4, bodyLine(resp))
		return
	}
	if theirs, err := digest.Parse(resp.Header.Values(headerDigest)); err != nil || sum == nil || !bytes.Equal(theirs, sum) {
		s.refused(name, 5, notSent)
		return
	}
	s.stored(size)
	as := storedAs(strings.TrimPrefix(resp.Header.Get("Location"), "/"), name)
	s.p.sayStored(name, &store.Stored{Path: as, Size: size, Digest: sum, Identical: resp.StatusCode == http.StatusNoContent}, offset, begun)
}

// refused says and counts what the receiver did not store.
func (s *pushing) refused(name string, status int, why string) {
	s.failed(status)
	s.p.sayRefusedThere(name, exitStatus(status), why)
}
