package store

import (
	"bytes"
	"fmt"
	"sync"
	"time"
)

// Commit gives the file its final name, after Receive has returned nil. digest
// is the SHA-256 that the sender has sent behind the content, nil if none. When
// it returns nil, content and name are on stable storage. The error is an
// *Error: nothing is stored, except for the kind Unsynced.
func (u *Upload) Commit(digest []byte) (*Stored, error) {
	if u.file == nil {
		return nil, errorf(Conflict, "given up before")
	}
	if err := u.verify(digest); err != nil {
		u.Abort()
		return nil, err
	}
	if err := u.complete(); err != nil {
		u.Abort()
		return nil, writeError(err)
	}
	c := &commit{upload: u, done: make(chan struct{})}
	u.store.commits.add(u.store, c)
	<-c.done
	if c.err != nil {
		u.Abort()
		return nil, diskError(c.err)
	}
	u.closeFile()
	u.store.unclaim(u.want.Path)
	return &Stored{Path: c.path, Size: u.received, Digest: u.sum()}, nil
}

// verify compares the received content with the announcement and the digest.
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

// complete gives the partial file its size, permissions and time. Files of at
// least minSuspended bytes are synced here, smaller ones together by
// commitBatch.
func (u *Upload) complete() error {
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
		if err := u.setTime(); err != nil {
			return err
		}
	}
	if u.received >= minSuspended {
		return u.file.Sync()
	}
	return nil
}

// setTime sets the time of the last modification, but not of the last access.
func (u *Upload) setTime() error {
	if setOpenTime(u.file, u.want.ModTime) {
		return nil
	}
	d, err := u.store.openDir(u.dir)
	if err != nil {
		return err
	}
	defer d.close()
	if !d.refersTo(u.partial, u.info) {
		return errMoved
	}
	return d.root.Chtimes(u.partial, time.Time{}, u.want.ModTime)
}

var errMoved = errorf(Conflict, "moved or replaced by somebody else while it was received")

// A commit is a complete file that waits for its final name.
type commit struct {
	upload *Upload
	path   string // the final name, once the file has it
	err    error
	done   chan struct{} // closed when path or err is set
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

// add queues c, whose channel done is closed at the end.
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
	var unsynced []*commit
	for _, c := range batch {
		if c.upload.received < minSuspended {
			unsynced = append(unsynced, c)
		}
	}
	syncContents(unsynced)
	for _, c := range unsynced {
		if c.err != nil {
			c.err = writeError(c.err)
		}
	}

	dirs := map[string]*dirHandle{}
	for _, c := range batch {
		if c.err != nil {
			continue
		}
		d := dirs[c.upload.dir]
		if d == nil {
			if d, c.err = s.openDir(c.upload.dir); c.err != nil {
				continue
			}
			dirs[c.upload.dir] = d
		}
		c.err = c.rename(d)
	}
	err := s.syncNames(dirs)
	for _, d := range dirs {
		d.close()
	}
	for _, c := range batch {
		if c.err == nil && err != nil {
			c.err = &Error{Unsynced, fmt.Sprintf("stored, but perhaps not on the disk: %v", err)}
		}
		close(c.done)
	}
}
