package store

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"strconv"
	"sync"
	"time"

	"purr/internal/sys"
)

// Commit gives the file its final name, after Receive has returned nil. digest
// is the SHA-256 that the sender has sent behind the content, nil if none. When
// it returns nil, content and name are on stable storage. The error is an
// *Error: nothing is stored, except for the kind Unsynced.
func (u *Upload) Commit(digest []byte) (*Stored, error) {
	if u.ended {
		return nil, errorf(Conflict, "given up before")
	}
	c := &commit{upload: u}
	err := u.verify(digest)
	if err == nil {
		err = u.complete()
	}
	if err == nil {
		err = u.store.commit(c)
	}
	if err != nil {
		u.Abort()
		return nil, diskError(err)
	}
	u.closeFile()
	u.unclaim()
	return &Stored{Path: c.path, Size: u.received, Digest: u.sum()}, nil
}

// verify compares the received content with the announced size and digest, and
// with digest, which came behind the content; nil if none came.
func (u *Upload) verify(digest []byte) error {
	if u.want.Size >= 0 && u.received != u.want.Size {
		return errorf(Mismatch, "%d of %d bytes came", u.received, u.want.Size)
	}
	sum := u.sum()
	for _, want := range [][]byte{u.want.Digest, digest} {
		if want != nil && !bytes.Equal(want, sum) {
			return errorf(Mismatch, "digest mismatch: damaged on the way")
		}
	}
	return nil
}

// complete makes the partial file ready for its name: it exists also without
// content, counts with its real size, and has its permissions and time.
func (u *Upload) complete() error {
	if u.received == 0 {
		if err := u.store.charge(0, 1); err != nil {
			return err
		}
		u.entries = 1
	}
	u.store.refund(u.charged-u.received, 0) // of a longer partial file
	u.charged = u.received
	if err := u.ensureOpen(); err != nil {
		return err
	}
	if err := u.setAttributes(); err != nil {
		return writeError(err)
	}
	return nil
}

// setAttributes gives the partial file its size, permissions and time.
func (u *Upload) setAttributes() error {
	if u.dataEnd < u.received { // it ends in a hole
		if err := u.file.Truncate(u.received); err != nil {
			return err
		}
	}
	mode := u.want.Mode
	if mode == 0 {
		mode = 0o666
	}
	if err := setMode(u.file, permissions(mode, u.store.umask)); err != nil {
		return err
	}
	if !u.want.ModTime.IsZero() {
		return u.setTime()
	}
	return nil
}

// setTime sets the time of the last modification, but not of the last access,
// unless the file system does not permit it.
func (u *Upload) setTime() error {
	err := setOpenTime(u.file, representable(u.want.ModTime))
	if err != nil && u.partial != "" {
		err = u.setNamedTime()
	}
	return u.store.timeSet(u.want.Path, err)
}

// timeSet handles err, the result of setting the time of path. If the file
// system does not permit that, as some of phones and of Windows servers, it
// calls Options.TimeLost and returns nil; any other error is returned.
func (s *Store) timeSet(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if s.options.TimeLost != nil {
		s.options.TimeLost(path, sys.Cause(err))
	}
	return nil
}

// setNamedTime is setTime for systems where it needs a name.
func (u *Upload) setNamedTime() error {
	d, err := u.store.openDir(u.dir)
	if err != nil {
		return err
	}
	defer d.close()
	if !d.refersTo(u.partial, u.info) {
		return errMoved
	}
	return d.root.Chtimes(u.partial, time.Time{}, representable(u.want.ModTime))
}

// representable returns t, or on 32-bit processors the nearest time that a
// timespec of utimensat(2) holds there: the conversion would wrap around.
func representable(t time.Time) time.Time {
	if strconv.IntSize == 64 {
		return t
	}
	return time.Unix(max(math.MinInt32, min(math.MaxInt32, t.Unix())), int64(t.Nanosecond()))
}

var errMoved = errorf(Conflict, "moved or replaced by somebody else while it was received")

// A commit is a complete file that waits for its final name.
type commit struct {
	upload    *Upload
	identical bool   // it has its final name already, and is only synced
	path      string // the final name, once the file has it
	err       error
	done      chan struct{} // closed when path or err is set
}

// commit puts the content of c onto stable storage and gives it its final name,
// then syncs the directory. It waits for that and returns the error. Files of
// at least minSuspended bytes are synced here, smaller ones together by
// commitBatch.
func (s *Store) commit(c *commit) error {
	if c.upload.received >= minSuspended {
		if err := s.syncFile(c.upload.file); err != nil {
			return c.contentError(err)
		}
	}
	c.done = make(chan struct{})
	s.commits.add(s, c)
	<-c.done
	return c.err
}

// contentError returns err, with which syncing the content has failed, as an
// Error: Unsynced if the file has its name already, else that of a failed
// write.
func (c *commit) contentError(err error) error {
	if c.identical {
		return unsynced(err)
	}
	return writeError(err)
}

// A commitQueue collects complete files while earlier ones are being synced,
// and then syncs them together: a thousand small files cost a few commits of
// the file system's journal.
type commitQueue struct {
	mu      sync.Mutex
	waiting []*commit
	running bool
	idle    sync.WaitGroup
}

// add queues c, and starts run if no goroutine works on the queue. c.done is
// closed at the end.
func (q *commitQueue) add(s *Store, c *commit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, c)
	if !q.running {
		q.running = true
		q.idle.Go(func() { q.run(s) })
	}
}

// run commits batches until the queue is empty.
func (q *commitQueue) run(s *Store) {
	for {
		q.mu.Lock()
		batch := q.waiting
		q.waiting = nil
		q.running = len(batch) > 0
		q.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		s.commitBatch(batch)
	}
}

// commitBatch syncs the content of the files, renames them, and syncs their
// directories.
func (s *Store) commitBatch(batch []*commit) {
	var small []*commit
	for _, c := range batch {
		if c.upload.received < minSuspended {
			small = append(small, c)
		}
	}
	s.syncContents(small)
	for _, c := range small {
		if c.err != nil {
			c.err = c.contentError(c.err)
		}
	}

	dirs := map[string]*dirHandle{}
	for _, c := range batch {
		if c.err == nil {
			c.err = s.place(c, dirs)
		}
	}
	err := unsynced(s.syncNames(dirs))
	for _, d := range dirs {
		d.close()
	}
	for _, c := range batch {
		if c.err == nil {
			c.err = err
		}
		close(c.done)
	}
}

// place gives the file of c its final name, unless it has it. dirs holds the
// directories of the batch, to which it may add one.
func (s *Store) place(c *commit, dirs map[string]*dirHandle) error {
	s.dirMu.RLock()
	defer s.dirMu.RUnlock()
	u := c.upload
	d := dirs[u.dir]
	if d == nil || !d.exists() {
		opened, err := s.openDir(u.dir)
		if u.partial == "" && errors.Is(err, fs.ErrNotExist) {
			opened, err = s.makeDirs(u.dir, u.want.DirsFollow) // removed while it was empty
		}
		if err != nil {
			return err
		}
		if d != nil {
			d.close()
		}
		d, dirs[u.dir] = opened, opened
	}
	if c.identical {
		return nil
	}
	return c.rename(d)
}
