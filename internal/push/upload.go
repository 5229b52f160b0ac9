package push

import (
	"context"
	"errors"
	"io"
	"time"

	"purr/internal/store"
)

// An upload is a large file on its way, at the receiver. A goroutine of its own
// stores it; the stream's reader hands it lines and content.
type upload struct {
	*pipe
	offer *message
	path  string
	lines chan *message // proof, and the first block or done

	// Of the stream's reader, but for state.
	state      uploadState // under the transfer's mu
	offset     int64       // that the want named
	at         int64       // of the next block; -1: not known before the first
	begun      time.Time   // when its first byte was expected; of the storing goroutine
	digest     []byte      // from done; read by the storing goroutine after io.EOF
	stopped    bool        // done or abort has come; under the transfer's mu
	discounted bool        // it counts no longer as under way; under the transfer's mu
}

// An uploadState determines which lines may come next.
type uploadState int

const (
	uploadOffered uploadState = iota // nothing, not even abort
	uploadAsked                      // a proof
	uploadWanted                     // blocks
	uploadFailed                     // blocks to be dropped, up to done or abort
)

// offered starts the goroutine that stores a large file. It first waits for an
// earlier upload of the same path. The error is a Violation for a malformed
// path, an id that does not rise, content behind the line, or too many offers.
func (r *receiving) offered(st *stream, m *message) error {
	path, err := m.path()
	if err != nil {
		return err
	}
	u := &upload{pipe: newPipe(), offer: m, path: path, lines: make(chan *message, 3), at: -1}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := st.checkID(m.ID); err != nil {
		return err
	}
	if st.large++; st.large > maxLarge || m.N != 0 {
		return errorf(Violation, "more large files under way than the receiver takes")
	}
	st.uploads[m.ID] = u
	st.busy++
	earlier, own := r.turns[path], make(chan struct{})
	r.turns[path] = own
	r.running.Go(func() { r.upload(st, u, earlier, own) })
	return nil
}

// continued processes a line about an offered file: it checks that the line may
// come in the upload's state, and passes it and its content on to the storing
// goroutine. An error is a Violation or a failed read.
func (r *receiving) continued(st *stream, m *message) error {
	r.mu.Lock()
	u := st.uploads[m.ID]
	var state uploadState
	stopped := false
	if u != nil {
		state, stopped = u.state, u.stopped
	}
	r.mu.Unlock()
	switch {
	case u == nil && m.Op == opAbort: // behind a result that was no want's
		return nil
	case u == nil || stopped,
		m.Op == opAbort && state == uploadOffered,
		m.Op == opProof && (state != uploadAsked || len(m.Digest) == 0),
		(m.Op == opBlock || m.Op == opDone) && state != uploadWanted && state != uploadFailed,
		m.Op != opBlock && m.N != 0 || m.Op == opBlock && m.N == 0,
		m.Op == opDone && len(m.Digest) == 0:
		return errNoLine
	}
	switch m.Op {
	case opProof:
		return u.pass(m)
	case opAbort:
		r.stop(st, u, errAborted)
		return nil
	}
	if u.at < 0 { // the first
		if m.At != 0 && m.At != u.offset {
			return errorf(Violation, "a file that begins at an offset that was not asked for")
		}
		u.at = m.At
		if err := u.pass(m); err != nil {
			return err
		}
	}
	if m.At != u.at || m.At+int64(m.N) > u.offer.Size {
		return errorf(Violation, "a block in the wrong place")
	}
	u.at += int64(m.N)
	if m.Op == opDone {
		u.digest = m.Digest
		r.stop(st, u, io.EOF)
		return nil
	}
	return u.fill(st.in.Reader, m.N, r.o.Events.Moved)
}

// pass hands a line to the storing goroutine without waiting. The error is that
// of a sender with more lines than the protocol has.
func (u *upload) pass(m *message) error {
	select {
	case u.lines <- m:
		return nil
	default:
		return errNoLine
	}
}

// errAborted is the end of a file that the sender gave up. The reason follows
// in a line of its own.
var errAborted = errors.New("aborted")

// stop ends the content of an upload: err is io.EOF after done, errAborted
// after abort. An upload that has failed before is forgotten: no more of its
// lines may come.
func (r *receiving) stop(st *stream, u *upload, err error) {
	r.mu.Lock()
	u.stopped = true
	if err == errAborted || u.state == uploadFailed {
		st.discount(u)
	}
	if u.state == uploadFailed {
		delete(st.uploads, u.offer.ID)
		r.changed.Broadcast()
	}
	r.mu.Unlock()
	u.end(err)
}

// discount makes an upload no longer count as one of maxLarge under way. A
// second call does nothing. The caller holds mu.
func (b *inbox) discount(u *upload) {
	if !u.discounted {
		u.discounted = true
		b.large--
	}
}

// become sets the state of an upload. It is called before the line that asks
// the sender to go on is queued: the reply may come at once.
func (r *receiving) become(u *upload, state uploadState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u.state = state
}

// upload stores a large file and sends its result. First it waits until earlier
// is closed, which the previous upload of the same path does; nil: there is
// none. When it has stored the file or failed, it closes own, for which the
// next one waits.
func (r *receiving) upload(st *stream, u *upload, earlier, own chan struct{}) {
	if earlier != nil {
		<-earlier
	}
	s, offset, err := r.receiveLarge(st, u)
	u.close()
	if u.begun.IsZero() {
		r.outlook.meet(u.path, u.offer.Size, 0)
	}
	r.mu.Lock()
	if r.turns[u.path] == own {
		delete(r.turns, u.path)
	}
	close(own)
	aborted := err == errAborted || err == errCut
	// Blocks may still come of a file that has failed, and then done or abort.
	if u.state == uploadWanted && !u.stopped && !aborted {
		u.state = uploadFailed
	} else {
		st.discount(u)
		delete(st.uploads, u.offer.ID)
	}
	r.mu.Unlock()
	if !aborted {
		r.answer(st, u.offer.ID, u.path, s, offset, u.begun, err)
	}
	r.done(st)
}

// errCut is the end of a file whose transfer has ended, which was reported.
var errCut = errors.New("cut")

// receiveLarge stores a large file: it looks for a partial file, asks the
// sender for the rest, and commits the file. offset is the first byte that was
// received. The error is errAborted or errCut if no result is to be sent, else
// its reason.
func (r *receiving) receiveLarge(st *stream, u *upload) (s *store.Stored, offset int64, err error) {
	if !r.came.add(u.path) {
		return nil, 0, errTwice
	}
	defer func() {
		if err != nil { // it may be sent again
			r.came.remove(u.path)
		}
	}()
	if !r.blocks.acquire(largeMemory) {
		return nil, 0, r.cutShort(u, context.Cause(r.ctx))
	}
	defer r.blocks.release(largeMemory)
	defer openSlot()()
	f := u.offer.file(u.path)
	prefix, err := r.complete(st, u, &f)
	if err != nil {
		return nil, 0, err
	}
	up, there, err := r.dir.Begin(f)
	if there != nil || err != nil {
		return there, 0, err
	}
	u.offset = f.Offset
	r.become(u, uploadWanted)
	st.out.line(&message{Op: opWant, ID: u.offer.ID, At: f.Offset, Digest: prefix})
	first, err := r.await(u)
	if err == nil && first.At != f.Offset { // the sender's file begins in another way
		up.Abort()
		f.Offset = 0
		if up, there, err = r.dir.Begin(f); there != nil || err != nil {
			return there, 0, err
		}
	}
	if err == nil {
		u.begun = time.Now()
		r.outlook.meet(u.path, f.Size, f.Size-f.Offset)
		if f.Offset > 0 {
			r.o.Events.Resuming(u.path, f.Offset, f.Size)
		}
		err = u.receive(up.Blocks())
	}
	if err != nil {
		return nil, 0, r.broken(u, up, err)
	}
	s, err = up.Commit(u.digest)
	return s, f.Offset, err
}

// complete adds to f what the sender and the store know. If a file of that path
// and size exists, it asks the sender for the digest, and sets f.Digest. If
// there is a partial file, it sets f.Offset to its size, and prefix is its
// digest. The error is one for receiveLarge to return.
func (r *receiving) complete(st *stream, u *upload, f *store.File) (prefix []byte, err error) {
	if size, ok := r.dir.Existing(u.path); ok && size == f.Size {
		r.become(u, uploadAsked)
		st.out.line(&message{Op: opSame, ID: u.offer.ID})
		proof, err := r.await(u)
		if err != nil {
			return nil, r.cutShort(u, err)
		}
		f.Digest = proof.Digest
	}
	offset, prefix, err := r.dir.Partial(u.path)
	if err != nil || offset == 0 || offset > f.Size {
		return nil, err
	}
	f.Offset = offset
	return prefix, nil
}

// await waits for the sender's next line about an upload. The error is the
// reason that was passed to end, or the cause of the transfer's end.
func (r *receiving) await(u *upload) (*message, error) {
	select {
	case m := <-u.lines:
		return m, nil
	case <-u.ended:
	case <-r.ctx.Done():
		return nil, context.Cause(r.ctx)
	}
	select {
	case m := <-u.lines:
		return m, nil
	default:
		return nil, u.err
	}
}

// broken ends the upload up, whose content has ended early by err. After an
// abort or an error of the store it removes the partial file, and returns err.
// Otherwise it keeps that for a resume, reports the file as Cut once the
// transfer has ended, and returns errCut.
func (r *receiving) broken(u *upload, up *store.Upload, err error) error {
	if err == errAborted || errors.As(err, new(*store.Error)) {
		up.Abort()
		return err
	}
	e := FileEvent{Path: u.path, Size: u.offer.Size, Kind: Cut}
	e.Partial, e.Kept = up.Suspend()
	return r.cut(e)
}

// cutShort is broken for a file whose content was not asked for yet: there is
// nothing to keep.
func (r *receiving) cutShort(u *upload, err error) error {
	if err == errAborted {
		return err
	}
	return r.cut(FileEvent{Path: u.path, Size: u.offer.Size, Kind: Cut})
}

// cut waits for the end of the transfer, whose reason it adds to e, and reports
// e as failed. It returns errCut.
func (r *receiving) cut(e FileEvent) error {
	<-r.ctx.Done()
	e.Reason = r.reason()
	r.o.Events.Failed(e)
	return errCut
}
