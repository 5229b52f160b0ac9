package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"purr/internal/digest"
	"purr/internal/relpath"
	"purr/internal/store"
)

// pullFrom fetches all that a sender which listens offers, and returns nil
// once all of it is stored here and checked.
func (p *purr) pullFrom(ctx context.Context, conn net.Conn) error {
	defer p.holdExit()()
	box, err := p.openInbox()
	if err != nil {
		return err
	}
	defer box.store.Close()
	pr, err := p.newPeer(ctx, conn)
	if err != nil {
		return err
	}
	defer pr.close()
	ctx, cancel := pr.work(ctx)
	defer cancel(nil)
	x, end, err := pr.begin(ctx, roleReceiver)
	if err != nil {
		return err
	}
	x.bar = p.track("from "+pr.name, 0)
	defer x.bar.End()
	pull := &pulling{peer: pr, exchange: x, inbox: box, cancel: cancel, memory: semaphore.NewWeighted(pushMemory)}
	return pull.run(ctx, end)
}

// A pulling is a pull under way at the receiver that dialled.
type pulling struct {
	*peer
	*exchange
	inbox  *inbox
	cancel context.CancelCauseFunc
	memory *semaphore.Weighted
	files  sync.WaitGroup
}

// run takes entry after entry: files are fetched side by side, links and
// directories are made when all files are there.
func (r *pulling) run(ctx context.Context, end io.WriteCloser) error {
	go r.beat(ctx)
	err := r.entries(ctx)
	r.files.Wait()
	if err == nil && context.Cause(ctx) == nil {
		r.inbox.settle(r.exchange)
		sum := r.sum()
		if err = r.exchange.send(&entry{End: &sum}); err == nil {
			err = r.exchange.close()
		}
	}
	if err == nil {
		_ = end.Close()
		// The answer ends when the sender has read all of that.
		if _, after := r.in.ReadByte(); after != io.EOF {
			err = errLost
		}
	}
	switch cause := context.Cause(ctx); {
	case cause != nil && !errors.Is(cause, errLost):
		return cause
	case err != nil || cause != nil:
		if !errors.Is(err, errLost) && err != nil {
			return statusError{6, fmt.Errorf("%s: %w", r.name, err)}
		}
		return r.contact.lostError(r.name + ": transfer cut")
	}
	r.contact.becomes(contactFinished)
	sum := r.sum()
	r.inbox.p.sayTotal("stored and verified", sum)
	return failure(exitStatus(sum.Status))
}

// entries reads what is offered, up to the sender's account.
func (r *pulling) entries(ctx context.Context) error {
	for {
		e, err := r.exchange.receive()
		if err != nil {
			return err
		}
		if e.End != nil {
			r.failed(e.End.Status)
			return nil
		}
		name, err := e.name()
		switch {
		case err != nil:
			return err
		case e.Result == resultFailed:
			r.inbox.sayGivenUp(name, givenUp(e.Error))
			r.failed(e.Status)
		case e.Body:
			if err := r.inbox.keepLater(ctx, r.exchange, e, name, r.memory, &r.files); err != nil {
				return err
			}
		case e.Type == "" && !r.came.add(name):
			if err := r.inbox.refuse(r.exchange, e.Href, name, errTwice); err != nil {
				return err
			}
		case e.Type == "":
			r.bar.Grow(e.Size)
			if err := r.file(ctx, name, e); err != nil {
				return err
			}
		default:
			r.files.Wait()
			if err := r.inbox.finish(e, name); err != nil {
				if err := r.inbox.refuse(r.exchange, e.Href, name, err); err != nil {
					return err
				}
			}
		}
	}
}

// file starts to fetch one file, as soon as there is room.
func (r *pulling) file(ctx context.Context, name string, e *entry) error {
	if err := r.memory.Acquire(ctx, largeCost); err != nil {
		return errLost
	}
	r.files.Add(1)
	go func() {
		defer r.files.Done()
		defer r.memory.Release(largeCost)
		if err := r.fetchTwice(ctx, name, e); err != nil {
			r.cancel(err)
		}
	}()
	return nil
}

// fetchTwice fetches a file, and once more if the sender found that it changed
// meanwhile. An error ends the pull.
func (r *pulling) fetchTwice(ctx context.Context, name string, e *entry) error {
	begun := time.Now()
	f, offset, err := r.fetch(ctx, name, e)
	if errors.Is(err, errGivenUp) {
		renewed := r.renew(ctx, name, e)
		if renewed == nil {
			f, offset, err = r.fetch(ctx, name, e)
		} else if renewed != errGivenUp { // it knows more
			err = renewed
		}
	}
	switch {
	case errors.Is(err, errLost) || ctx.Err() != nil || r.contact.lost() && err != nil:
		return errLost
	case err != nil:
		return r.inbox.refuse(r.exchange, e.Href, name, err)
	}
	return r.inbox.kept(r.exchange, e.Href, name, f, offset, begun)
}

// renew brings an entry up to date with a file that has changed since it was
// listed.
func (r *pulling) renew(ctx context.Context, name string, e *entry) error {
	resp, over, err := r.ask(r.request(ctx, http.MethodHead, name, nil, 0))
	if err != nil {
		r.contact.loseLane(over)
		return errLost
	}
	drop(resp)
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return givenUp(syscall.ENOENT.Error())
	case resp.StatusCode != http.StatusOK || resp.ContentLength < 0:
		return errGivenUp
	}
	e.Size, e.Mtime = resp.ContentLength, resp.Header.Get(headerMtime)
	return nil
}

// fetch fetches a file once. What is here already is not fetched: a file of
// the same size if its digest is the sender's, or the beginning that an
// earlier pull left, if the sender's begins in the same way.
func (r *pulling) fetch(ctx context.Context, name string, e *entry) (f *store.Stored, offset int64, err error) {
	a, err := e.arrival(name)
	if err != nil {
		return nil, 0, err
	}
	prefix, err := r.complete(ctx, &a)
	if err != nil {
		return nil, 0, err
	}
	var resp *http.Response
	over := r.contact
	defer func() {
		if errors.Is(err, errLost) {
			r.contact.loseLane(over)
		} else {
			r.idle(over)
		}
	}()
	if a.Offset > 0 {
		if resp, over, err = r.get(ctx, a, prefix); err != nil {
			return nil, 0, errLost
		}
		defer drop(resp)
		if resp.Header.Get(headerOffset) != strconv.FormatInt(a.Offset, 10) {
			a.Offset = 0 // the file there is another one by now
		}
	}
	r.inbox.files <- struct{}{}
	defer func() { <-r.inbox.files }()
	in, done, err := r.inbox.store.Begin(a)
	if done != nil || err != nil {
		return done, 0, err
	}
	if resp == nil {
		if resp, over, err = r.get(ctx, a, nil); err != nil {
			return nil, 0, r.inbox.broke(name, in, a.Size, err, over)
		}
		defer drop(resp)
	}
	if a.Offset > 0 {
		r.p.sayResuming(strconv.Quote(name), a.Offset, a.Size)
	}
	if resp.StatusCode != http.StatusOK {
		in.Abort()
		return nil, 0, &store.Error{Kind: store.Failed, Text: "the sender says: " + bodyLine(resp)}
	}
	if size, err := parseOffset(resp.Header.Get(headerLength)); err != nil || size != a.Size {
		in.Abort()
		return nil, 0, givenUp(changedError{a.Size, size}.Error())
	}
	f, err = r.inbox.take(name, in, a.Size, r.body(resp, over), func() ([]byte, error) { return trailerDigest(resp) }, over, r.bar)
	if why := resp.Trailer.Get(headerError); why != "" && err == errGivenUp { // before the last byte
		err = givenUp(why)
	}
	return f, a.Offset, err
}

// body is an answer's body. A lane has no PINGs that find out whether the other
// end lives, so something must come now and then.
func (pr *peer) body(resp *http.Response, over *contact) io.Reader {
	if over == pr.contact {
		return resp.Body
	}
	return &timedReader{resp.Body, over, over.silence}
}

// complete completes an arrival by what is here already: for a file of the same size
// the digest of the sender's, for the beginning of one the offset behind it and
// its digest.
func (r *pulling) complete(ctx context.Context, a *store.File) (prefix []byte, err error) {
	if relpath.Check(a.Path, true) != nil || a.Size < 0 {
		return nil, nil // begin refuses it
	}
	if size, ok := r.inbox.store.Existing(a.Path); ok {
		if size != a.Size {
			return nil, nil
		}
		req := r.request(ctx, http.MethodHead, a.Path, nil, 0)
		req.Header.Set(headerWant, wantSHA256)
		resp, over, err := r.ask(req)
		if err != nil {
			r.contact.loseLane(over)
			return nil, errLost
		}
		drop(resp)
		a.Digest, err = digest.Parse(resp.Header.Values(headerDigest))
		return nil, err
	}
	if r.p.cfg.push.noResume || a.Size <= store.SmallFile {
		return nil, nil
	}
	offset, prefix, err := r.inbox.store.Partial(a.Path)
	if err == nil && offset <= a.Size {
		a.Offset = offset
	}
	return prefix, err
}

// get asks for a file; behind an arrival's offset, if the sender's file begins
// with the prefix.
func (r *pulling) get(ctx context.Context, a store.File, prefix []byte) (*http.Response, *contact, error) {
	req := r.request(ctx, http.MethodGet, a.Path, nil, 0)
	req.Header.Set(headerWant, wantSHA256)
	if prefix != nil {
		req.Header.Set(headerOffset, strconv.FormatInt(a.Offset, 10))
		req.Header.Set(headerPrefix, digest.Field(prefix))
	}
	return r.ask(req)
}

// trailerDigest is what a sender says of a file behind its last byte, or before
// the first of a small one. A sender that says nothing has given the file up.
func trailerDigest(resp *http.Response) ([]byte, error) {
	if why := resp.Trailer.Get(headerError); why != "" {
		return nil, givenUp(why)
	}
	for _, values := range [][]string{resp.Trailer.Values(headerDigest), resp.Header.Values(headerDigest)} {
		if sum, err := digest.Parse(values); sum != nil || err != nil {
			return sum, err
		}
	}
	return nil, errGivenUp
}
