package push

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"purr/internal/offer"
	"purr/internal/relpath"
)

// A sending is a transfer at the sender.
type sending struct {
	*Conn
	count counters
	set   *offer.Set
	large chan struct{}       // holds one for each large file under way
	small *semaphore.Weighted // the small files, links and directories without a result
	bytes *semaphore.Weighted // and the bytes of those files
	files sync.WaitGroup      // the senders of batches and large files

	unsaid atomic.Int64 // the sum of all files, for the next line; 0: none, or said

	batches chan struct{} // holds one for each batch of small files that is read
	batch   batch
}

// An outbox holds the files sent over one stream that have no result yet.
type outbox struct {
	order  sync.Mutex // held while a line with a new id is added: ids rise
	boxMu  sync.Mutex
	lastID int64
	sent   map[int64]*sent
	gone   map[int64]bool // aborted ids, whose result may be on its way
	load   int            // large files with blocks to send; under the transfer's mu
	totals bool           // ours were sent
	ending bool           // the receiver's have come; its reader's
}

// A sent file, link or directory.
type sent struct {
	offer.Entry
	sum     []byte        // its SHA-256; of a large file once it is known
	begun   time.Time     // zero: nothing of it was sent
	answers chan *message // to a large file; nil: the reader deals with the result
}

// add registers a file before it is sent, and returns its id, which is higher
// than all earlier ones. The caller holds order until the line with the id is
// queued.
func (b *outbox) add(f *sent) int64 {
	b.boxMu.Lock()
	defer b.boxMu.Unlock()
	if b.sent == nil {
		b.sent = make(map[int64]*sent)
	}
	b.lastID++
	b.sent[b.lastID] = f
	return b.lastID
}

// remove forgets a file of which no more is expected, because its result has
// come.
func (b *outbox) remove(id int64) {
	b.boxMu.Lock()
	defer b.boxMu.Unlock()
	delete(b.sent, id)
}

// abort forgets a file that is sent no further. Its result may be on its way:
// handle ignores that once.
func (b *outbox) abort(id int64) {
	b.boxMu.Lock()
	defer b.boxMu.Unlock()
	delete(b.sent, id)
	if b.gone == nil {
		b.gone = make(map[int64]bool)
	}
	b.gone[id] = true
}

// unused reports whether nothing was sent at all.
func (b *outbox) unused() bool {
	b.boxMu.Lock()
	defer b.boxMu.Unlock()
	return b.lastID == 0
}

// complete reports whether our totals were sent and every registered file has
// its result, so that the receiver may end.
func (b *outbox) complete() bool {
	b.boxMu.Lock()
	defer b.boxMu.Unlock()
	return b.totals && len(b.sent) == 0
}

// update calls change with the lock held that guards the fields of the outbox
// and of its sent files.
func (b *outbox) update(change func()) {
	b.boxMu.Lock()
	defer b.boxMu.Unlock()
	change()
}

// Send offers everything in set to the receiver, and returns when the outcome
// of each file is known. If the transfer fails, the error is an *Error or the
// context's cause, and every file under way was reported as Cut. Files that
// fail by themselves cause no error: the Summary counts them.
func (c *Conn) Send(ctx context.Context, set *offer.Set) (Summary, error) {
	defer c.watch(ctx)()
	s := &sending{Conn: c, set: set, large: make(chan struct{}, maxLarge), batches: make(chan struct{}, 16), small: semaphore.NewWeighted(maxSmall), bytes: semaphore.NewWeighted(maxContent)}
	defer s.sum()()
	c.run(s.start)
	rest, err := set.Walk(s.file)
	if err == nil {
		err = s.sendBatch()
	}
	s.files.Wait() // large files have their results then
	if err == nil {
		err = s.tail(rest)
	}
	if err == nil {
		s.end()
	}
	c.running.Wait()
	s.files.Wait()
	if err := context.Cause(c.ctx); err != nil {
		s.unconfirmed()
		return s.count.summary(), err
	}
	return s.count.summary(), nil
}

// end sends the totals over the first stream and each other one that carried
// something. It stops the others: they may be broken without notice, and the
// receiver does not wait for them. No stream joins from then on.
func (s *sending) end() {
	s.Conn.mu.Lock()
	defer s.Conn.mu.Unlock()
	s.ended = true
	var used []*stream
	for _, st := range s.streams {
		if st.first || !st.unused() {
			used = append(used, st)
		} else {
			st.stop()
		}
	}
	for i, st := range used {
		t := &totals{Worst: kindNames[s.count.summary().Worst]}
		if i == 0 {
			t.Streams = len(used)
		}
		st.update(func() { st.outbox.totals = true })
		st.out.line(&message{End: t})
	}
}

// unconfirmed reports as Cut each file that was sent, in whole or in part, and
// has no result. It is called after all readers have ended.
func (s *sending) unconfirmed() {
	for _, st := range s.streams {
		for _, id := range slices.Sorted(maps.Keys(st.sent)) {
			if f := st.sent[id]; !f.begun.IsZero() {
				s.o.Events.Failed(FileEvent{Path: f.Path, Size: f.Size, Kind: Cut, Reason: s.reason()})
			}
		}
	}
}

// start launches the reader of a stream. After the receiver's totals the stream
// may end in any way but a violation of the protocol: nothing is missing, and
// its FIN need not get through. A further stream is idle as long as nothing was
// sent on it.
func (s *sending) start(st *stream) {
	s.running.Go(func() {
		s.read(st, func(m *message) error { return s.handle(st, m) },
			func(err error) bool { return st.ending && !errors.As(err, new(*Error)) },
			func() bool { return st.unused() && !st.ending })
	})
}

// handle processes one line of the receiver: it counts the result of a small
// file, and passes the lines about a large file to its transmission. It never
// waits for the stream's writing. An error ends the transfer.
func (s *sending) handle(st *stream, m *message) error {
	switch {
	case st.ending:
		return errorf(Violation, "a line behind the end")
	case m.End != nil:
		if !st.complete() {
			return errorf(Violation, "an end without an answer about every file")
		}
		st.ending = true
		s.count.add(m.End)
		st.out.shutdown()
		st.in.limit(lingering) // for the receiver's FIN, which is right behind
		return nil
	case m.Op == opSingle:
		s.Conn.mu.Lock()
		defer s.Conn.mu.Unlock()
		s.single, s.opening = true, 0
		s.changed.Broadcast()
		return nil
	case m.Op != opWant && m.Op != opSame && m.Op != opResult:
		return errNoLine
	}
	st.boxMu.Lock()
	f, gone := st.sent[m.ID], st.gone[m.ID]
	if f != nil && f.answers == nil {
		delete(st.sent, m.ID)
	}
	delete(st.gone, m.ID)
	st.boxMu.Unlock()
	switch {
	case gone:
		return nil
	case f == nil:
		return errorf(Violation, "an answer about a file that was not sent")
	case f.answers == nil && m.Op == opResult:
		s.release(f.Size)
		s.result(f, m, 0)
		return nil
	case f.answers == nil:
		return errNoLine
	}
	select {
	case f.answers <- m:
		return nil
	default:
		return errorf(Violation, "too many answers about a file")
	}
}

// errNotSent is the failure of a result whose digest differs from the sent
// bytes.
var errNotSent = &Error{Kind: Damaged, Text: "digest mismatch: what is stored there is not what was sent"}

// result counts and reports the outcome m of the file f. A stored file whose
// digest differs from the sent one is Damaged. Of links and directories only
// failures count. offset is the byte from which a large file was sent.
func (s *sending) result(f *sent, m *message, offset int64) {
	e := FileEvent{Path: f.Path, As: f.Path, Size: f.Size, Digest: f.sum, Offset: offset}
	regular := f.Mode.IsRegular()
	if as, err := relpath.Unescape(m.As); err == nil && as != "" {
		e.As = as
	}
	var why *Error
	switch {
	case m.Result == resultFailed:
		why = m.failed()
	case m.Result != resultStored && m.Result != resultIdentical || regular && (f.sum == nil || !bytes.Equal(m.Digest, f.sum)):
		why = errNotSent
	case regular:
		e.Identical = m.Result == resultIdentical
		e.Begun = f.begun
		s.count.stored(f.Size)
		s.o.Events.Stored(e)
	}
	if why != nil {
		e.Kind, e.Reason = why.Kind, why.Text
		s.count.failed(e)
		s.o.Events.Failed(e)
	}
}

// A batch is small files that one goroutine sends: to start one for each takes
// as long as to send it.
type batch struct {
	files []offer.Entry
	bytes int64
}

// add appends a small file, and reports whether the batch is large enough to be
// sent.
func (b *batch) add(e offer.Entry) (full bool) {
	b.files = append(b.files, e)
	b.bytes += e.Size
	return len(b.files) >= 16 || b.bytes >= offer.SmallFile
}

// file begins to send an entry of the walk, or reports it as left out if
// skipped is not nil. A small file joins the batch, a large one gets a
// goroutine. An error ends the walk: the transfer has failed.
func (s *sending) file(e offer.Entry, skipped error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	switch {
	case skipped != nil:
		s.leave(e, skipped)
		return nil
	case e.Size > offer.SmallFile:
		return s.startLarge(e)
	}
	if full := s.batch.add(e); !full {
		return nil
	}
	return s.sendBatch()
}

// leave counts a file that is not sent as Abandoned, reports it with the
// reason, which is why, and sends the receiver a "left" line.
func (s *sending) leave(left offer.Entry, why error) {
	e := FileEvent{Path: left.Path, Kind: Abandoned, Reason: why.Error()}
	s.count.failed(e)
	s.o.Events.Failed(e)
	s.outlook.meet(left.Path, left.Size, 0)
	s.first.out.line(&message{Op: opLeft, Path: relpath.Escape(left.Path), Size: left.Size, Kind: kindNames[Abandoned], Error: why.Error()})
}

// sendBatch sends the collected small files in the background, and begins a new
// batch. It waits while too many batches are being sent. The error is the cause
// of the transfer's end.
func (s *sending) sendBatch() error {
	files := s.batch.files
	s.batch = batch{}
	if len(files) == 0 {
		return nil
	}
	select {
	case s.batches <- struct{}{}:
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	s.files.Go(func() {
		defer func() { <-s.batches }()
		for _, e := range files {
			if s.sendSmall(e) != nil {
				return
			}
		}
	})
	return nil
}

// acquire waits until the receiver's limits, maxSmall files and maxContent
// bytes without a result, and the memory admit another small file of size
// bytes. The error is the cause of the transfer's end.
func (s *sending) acquire(size int64) error {
	if s.small.Acquire(s.ctx, 1) != nil || s.bytes.Acquire(s.ctx, size) != nil || !s.memory.acquire(size+sentMemory) {
		<-s.ctx.Done()
		return context.Cause(s.ctx)
	}
	return nil
}

// release undoes acquire for a file of size bytes, when its result has come.
// The memory of its content was released when that was written.
func (s *sending) release(size int64) {
	s.bytes.Release(size)
	s.small.Release(1)
	s.memory.release(sentMemory)
}

// sendSmall sends a small file whole: one line with its digest, and its content
// behind that. A file that cannot be read is left out, and one that has grown
// is sent as a large one. An error means that the transfer has ended.
func (s *sending) sendSmall(listed offer.Entry) error {
	if err := s.acquire(listed.Size); err != nil { // released by the file's result
		return err
	}
	e, content, sum, err := s.readTwice(listed)
	if err != nil || content == nil || e.Size != listed.Size {
		s.release(listed.Size)
		s.memory.release(listed.Size)
		switch {
		case err != nil:
			s.leave(listed, err)
			return nil
		case content == nil: // it has grown
			return s.startLarge(listed)
		}
		if err := s.acquire(e.Size); err != nil {
			return err
		}
	}
	m := fileMessage(opFile, e)
	m.Digest, m.Total = sum, s.unsaid.Swap(0)
	s.outlook.meet(e.Path, e.Size, e.Size)
	err = s.first.sendFile(m, content, &sent{Entry: e, sum: sum, begun: time.Now()})
	if err == nil {
		s.o.Events.Moved(len(content))
	}
	return err
}

// readTwice reads a small file, and once more if it is written to meanwhile.
// content is nil if the file has grown beyond SmallFile. sum is its SHA-256.
func (s *sending) readTwice(listed offer.Entry) (e offer.Entry, content, sum []byte, err error) {
	defer openSlot()()
	for range 2 {
		if e, content, sum, err = s.set.Read(listed); !errors.As(err, new(offer.ChangedError)) {
			break
		}
	}
	return e, content, sum, err
}

// fileMessage returns a line of the kind what with the path, size, permissions
// and time of e.
func fileMessage(what op, e offer.Entry) *message {
	return &message{Op: what, Path: relpath.Escape(e.Path), Size: e.Size, Mode: uint32(e.Mode & fs.ModePerm), Mtime: mtime(e.ModTime)}
}

// tail sends the links and directories of the walk, which the receiver makes
// after all files before them. An error means that the transfer has ended.
func (s *sending) tail(rest []offer.Entry) error {
	for _, e := range rest {
		if err := s.acquire(0); err != nil {
			return err
		}
		m := fileMessage(opDir, e)
		if !e.Mode.IsDir() {
			m = &message{Op: opLink, Path: m.Path, Target: relpath.Escape(e.Target)}
		}
		s.first.sendLine(m, &sent{Entry: e})
	}
	return nil
}
