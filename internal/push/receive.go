package push

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"golang.org/x/sync/semaphore"

	"purr/internal/offer"
	"purr/internal/relpath"
	"purr/internal/store"
)

// A receiving is a transfer at the receiver.
type receiving struct {
	*Conn
	count  counters
	dir    *store.Store
	came   pathSet                  // paths that are stored, or on their way
	turns  map[string]chan struct{} // the large files on their way, by path; under mu
	wanted int                      // the sender's streams; 0: not known yet; under mu
}

// An inbox is the part of one stream without an answer yet. Its fields are
// under the transfer's mu.
type inbox struct {
	last     int64 // the highest id
	used     bool  // whether anything has come
	uploads  map[int64]*upload
	large    int // without a result or an abort
	small    int // without a result, links and directories included
	content  int64
	busy     int         // files that are not answered
	files    []smallFile // that wait for a worker
	workers  int
	queue    []*message // links and directories
	tailing  bool       // whether the queue is being worked on
	end      *totals    // the sender's; nil: not come yet
	answered bool       // our totals were sent
}

// Receive stores the files that the sender offers in dir, and returns when the
// outcome of each is known. Its results are like those of Send.
func (c *Conn) Receive(ctx context.Context, dir *store.Store) (Summary, error) {
	defer c.watch(ctx)()
	r := &receiving{Conn: c, dir: dir, turns: make(map[string]chan struct{})}
	c.run(r.start)
	c.running.Wait()
	if err := context.Cause(c.ctx); err != nil {
		return r.count.summary(), err
	}
	return r.count.summary(), nil
}

// start launches the reader of a stream. When the stream ends, its unfinished
// uploads end as Cut. An end is in order once our totals were sent on the
// stream, and a further stream is idle until the first line.
func (r *receiving) start(st *stream) {
	st.uploads = make(map[int64]*upload)
	mayEnd := func(err error) bool {
		return err == io.EOF && r.locked(func() bool { return st.answered })
	}
	neverUsed := func() bool { return r.locked(func() bool { return !st.used }) }
	r.running.Go(func() {
		r.read(st, func(m *message) error { return r.handle(st, m) }, mayEnd, neverUsed)
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, u := range st.uploads {
			u.end(&Error{Kind: Cut, Text: r.reason()})
		}
		r.changed.Broadcast()
	})
}

// locked returns the result of check, which it calls with mu held.
func (r *receiving) locked(check func() bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return check()
}

// handle processes one line of the sender, and reads the content behind it. A
// slow disk may stall it. While many results are pending it waits until the
// sender has read some: a sender reads whatever it writes, so the two ends
// cannot block each other. An error ends the transfer.
func (r *receiving) handle(st *stream, m *message) error {
	if !st.out.settle(r.o.Silence) {
		return errorf(Cut, "the other end has read nothing for %v", r.o.Silence)
	}
	r.mu.Lock()
	ended := st.end != nil
	st.used = true
	r.mu.Unlock()
	switch {
	case ended:
		return errorf(Violation, "a line behind the end")
	case m.End != nil:
		r.finish(st, m.End)
		return nil
	}
	r.outlook.total(m.Total)
	switch m.Op {
	case opFile, opLink, opDir:
		if !st.first {
			return errNoLine
		}
		return r.accept(st, m)
	case opOffer:
		return r.offered(st, m)
	case opBlock, opDone, opAbort, opProof:
		return r.continued(st, m)
	case opLeft:
		return r.left(m)
	case opMore:
		r.more(st)
		return nil
	}
	return errNoLine
}

// more begins to dial a further connection, which the sender has asked for, or
// answers "single" if there can be none.
func (r *receiving) more(st *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.opening
	if r.growLocked(); r.opening == before {
		st.out.line(&message{Op: opSingle})
	}
}

// left counts and reports a file that the sender leaves out, with the sender's
// reason.
func (r *receiving) left(m *message) error {
	path, err := m.path()
	if err != nil {
		return err
	}
	r.outlook.meet(path, m.Size, 0)
	e := FileEvent{Path: path, Kind: Abandoned, Reason: m.Error}
	r.count.failed(e)
	r.o.Events.Failed(e)
	return nil
}

// accept processes the line of a small file, link or directory. It reads the
// content of a file, queues the file for the workers, and may start a worker. A
// link or directory is queued for tail, which makes it after the files. An
// error ends the transfer: it is a violation of the protocol, that of a failed
// read, or the cause of an end that has come already.
func (r *receiving) accept(st *stream, m *message) error {
	path, err := m.path()
	if err == nil {
		err = r.admit(st, m)
	}
	if err != nil {
		return err
	}
	if m.Op == opFile {
		r.outlook.meet(path, m.Size, m.Size)
	}
	if !r.memory.acquire(m.held()) {
		return context.Cause(r.ctx)
	}
	if m.Op != opFile {
		r.mu.Lock()
		defer r.mu.Unlock()
		st.queue = append(st.queue, m)
		if !st.tailing {
			st.tailing = true
			r.running.Go(func() { r.tail(st) })
		}
		return nil
	}
	content := make([]byte, m.N)
	if _, err := io.ReadFull(st.in, content); err != nil {
		return err
	}
	r.o.Events.Moved(len(content))
	r.mu.Lock()
	defer r.mu.Unlock()
	st.busy++
	st.files = append(st.files, smallFile{m, path, content})
	switch {
	case st.workers == 0:
		st.workers++
		r.running.Go(func() { r.work(st) })
	case st.workers < min(maxWorkers, cap(slots())) && furtherWorkers.TryAcquire(1):
		st.workers++
		r.running.Go(func() {
			defer furtherWorkers.Release(1)
			r.work(st)
		})
	}
	return nil
}

// maxWorkers is the largest number of goroutines that store the small files of
// one stream: files that wait for the disk are synced together. All streams of
// the process have one each, and together at most maxWorkers more.
const maxWorkers = 256

// furtherWorkers admits the workers beyond the first one of each stream.
var furtherWorkers = semaphore.NewWeighted(maxWorkers)

// A smallFile has arrived and is not stored yet.
type smallFile struct {
	line    *message
	path    string
	content []byte
}

// work stores and answers queued small files of a stream until the queue is
// empty. accept starts up to maxWorkers of it.
func (r *receiving) work(st *stream) {
	for {
		r.mu.Lock()
		if len(st.files) == 0 {
			st.workers--
			r.mu.Unlock()
			return
		}
		f := st.files[0]
		st.files = st.files[1:]
		r.mu.Unlock()
		s, err := r.receiveSmall(f.line, f.path, f.content)
		r.memory.release(f.line.held())
		r.locked(func() bool { r.releaseSmall(st, f.line); return true }) // before the sender can know
		r.answer(st, f.line.ID, f.path, s, 0, time.Time{}, err)
		r.done(st)
	}
}

// done counts a file of the stream as answered, and wakes tail and finish,
// which wait for that. It is called after the answer was queued.
func (r *receiving) done(st *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st.busy--
	r.changed.Broadcast()
}

// held is the memory in bytes that a small file, link or directory occupies
// until its result: the content, and the line, of which a peer chooses the
// length.
func (m *message) held() int64 { return m.Size + m.length }

// admit counts a small file, link or directory as under way. The error is a
// Violation for impossible lengths, a file without a digest, an id that does
// not rise, and more than maxSmall files or maxContent bytes without a result.
// A link or directory before the end of a large file is a Violation, too: the
// goroutine tail would wait for that file, and the reader of the file's blocks
// for memory that the queued link holds.
func (r *receiving) admit(st *stream, m *message) error {
	if m.Op == opFile && (int64(m.N) != m.Size || m.Size > offer.SmallFile || len(m.Digest) == 0) {
		return errorf(Violation, "a file of %d bytes behind its line", m.Size)
	}
	if m.Op != opFile && (m.N != 0 || m.Size != 0) {
		return errNoLine
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range st.uploads {
		if m.Op != opFile && !u.stopped {
			return errorf(Violation, "a link or directory before the end of a file")
		}
	}
	st.small++
	st.content += m.Size
	if st.small > maxSmall || st.content > maxContent {
		return errorf(Violation, "more files under way than the receiver takes")
	}
	return st.checkID(m.ID)
}

// releaseSmall undoes the counts of admit. It is called before the result is
// queued, because the sender may send more as soon as it has the result. The
// caller holds mu.
func (r *receiving) releaseSmall(st *stream, m *message) {
	st.small--
	st.content -= m.Size
}

// file returns what the line announces in the form of the store. path is the
// line's path, unescaped.
func (m *message) file(path string) store.File {
	return store.File{Path: path, Size: m.Size, Mode: fs.FileMode(m.Mode) | store.ModeGiven, ModTime: m.modTime(), Digest: m.Digest, DirsFollow: true}
}

// receiveSmall stores a small file, unless its path came before in the
// transfer. The path of a file that fails is forgotten: it may be sent again,
// and a peer could fill the memory with such paths.
func (r *receiving) receiveSmall(m *message, path string, content []byte) (s *store.Stored, err error) {
	if !r.came.add(path) {
		return nil, errTwice
	}
	defer func() {
		if err != nil {
			r.came.remove(path)
		}
	}()
	defer openSlot()()
	up, there, err := r.dir.Begin(m.file(path))
	if there != nil || err != nil {
		return there, err
	}
	if err := up.Receive(bytes.NewReader(content), func(int) {}); err != nil {
		up.Abort()
		return nil, err
	}
	return up.Commit(m.Digest)
}

// errTwice refuses a path that came before in the same transfer: which of the
// two is meant?
var errTwice = &Error{Kind: Refused, Text: "sent twice"}

// answer counts the outcome of a file, reports it as an event and sends it as a
// result. If err is nil, s is the stored file; else err is the reason of the
// failure. path is the sender's. offset and begun are where and when the
// transfer of a large file began, else 0 and zero.
func (r *receiving) answer(st *stream, id int64, path string, s *store.Stored, offset int64, begun time.Time, err error) {
	m := &message{Op: opResult, ID: id, Result: resultFailed}
	if err != nil {
		e := FileEvent{Path: path, Kind: Failed, Reason: err.Error()}
		var refused *store.Error
		var own *Error
		switch {
		case errors.As(err, &refused):
			e.Kind = storeKind(refused.Kind)
		case errors.As(err, &own):
			e.Kind = own.Kind
		}
		m.Kind, m.Error = kindNames[e.Kind], e.Reason
		r.count.failed(e)
		r.o.Events.Failed(e)
		st.out.line(m)
		return
	}
	m.Result = resultStored
	if s.Identical {
		m.Result = resultIdentical
	}
	if s.Path != path {
		m.As = relpath.Escape(s.Path)
	}
	m.Size, m.Digest = s.Size, s.Digest
	r.count.stored(s.Size)
	r.o.Events.Stored(FileEvent{Path: path, As: s.Path, Size: s.Size, Digest: s.Digest, Identical: s.Identical, Offset: offset, Begun: begun})
	st.out.line(m)
}

// storeKind returns the Kind for an error of the store: a mismatch is Damaged,
// and every reason without a kind of its own is Refused.
func storeKind(k store.Kind) Kind {
	switch k {
	case store.Mismatch:
		return Damaged
	case store.Unsynced:
		return Unsynced
	}
	return Refused
}

// tail makes the queued links and directories of a stream in order. Before each
// it waits until every file of the stream that has come is answered. accept
// starts it, and it ends with the queue or the transfer.
func (r *receiving) tail(st *stream) {
	for {
		r.mu.Lock()
		for st.busy > 0 {
			r.changed.Wait()
		}
		if len(st.queue) == 0 || r.ctx.Err() != nil {
			st.tailing = false
			r.changed.Broadcast()
			r.mu.Unlock()
			return
		}
		m := st.queue[0]
		st.queue = st.queue[1:]
		r.mu.Unlock()
		r.make(st, m)
	}
}

// make creates the link or directory of a line in the store, and sends its
// result. Only a failure is counted and reported as an event.
func (r *receiving) make(st *stream, m *message) {
	path, err := m.path()
	if m.Op == opLink {
		var target string
		if target, err = relpath.Unescape(m.Target); err == nil {
			err = r.dir.Symlink(path, target)
		}
	} else if err == nil {
		err = r.dir.Mkdir(path, fs.FileMode(m.Mode)|store.ModeGiven, m.modTime())
	}
	r.memory.release(m.held())
	r.locked(func() bool { r.releaseSmall(st, m); return true })
	if err != nil {
		r.answer(st, m.ID, path, nil, 0, time.Time{}, err)
		return
	}
	st.out.line(&message{Op: opResult, ID: m.ID, Result: resultStored})
}

// finish notes the sender's totals of a stream. A goroutine sends ours once
// everything on the stream is answered. For the first stream it waits for all
// others, syncs the store, and sends the sums of the transfer; further streams
// that carried nothing are then stopped.
func (r *receiving) finish(st *stream, end *totals) {
	r.mu.Lock()
	st.end = end
	if st.first {
		r.wanted = end.Streams
	}
	r.changed.Broadcast()
	r.mu.Unlock()
	r.running.Go(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for !r.finishable(st) && r.ctx.Err() == nil {
			r.changed.Wait()
		}
		if r.ctx.Err() != nil {
			return
		}
		r.count.add(end)
		totals := &totals{}
		if st.first {
			r.ended = true
			r.mu.Unlock()
			r.sync()
			r.mu.Lock()
			totals = r.count.totals()
		}
		st.answered = true
		st.out.line(&message{End: totals})
		st.out.shutdown()
		r.changed.Broadcast()
		for _, other := range r.streams {
			if st.first && !other.used { // the sender has no use for it
				other.stop()
			}
		}
	})
}

// finishable reports whether everything that came over a stream is answered.
// For the first stream, our totals must also have been sent on each other
// stream that the sender has used: as many as the sender has counted (wanted),
// since one of them may still have to join. The caller holds mu.
func (r *receiving) finishable(st *stream) bool {
	if st.busy > 0 || st.tailing || len(st.uploads) > 0 {
		return false
	}
	if !st.first {
		return true
	}
	answered := 0
	for _, other := range r.streams {
		if other == st || other.answered {
			answered++
		} else if other.used {
			return false
		}
	}
	return answered >= r.wanted
}

// sync puts the names of directories and links onto stable storage; those of
// files are there already. A failure is counted and reported without a path.
func (r *receiving) sync() {
	if err := r.dir.Sync(); err != nil {
		kind := Failed
		var unsynced *store.Error
		if errors.As(err, &unsynced) {
			kind = storeKind(unsynced.Kind)
		}
		r.count.worse(kind)
		r.o.Events.Failed(FileEvent{Kind: kind, Reason: err.Error()})
	}
}
