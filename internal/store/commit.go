package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync"
	"time"
)

// over ends the incoming whatever has become of it: its path may come again.
func (in *Upload) release() {
	s := in.store
	in.closeFile()
	s.unclaim(in.Path)
	s.refund(in.charged)
	in.unreserve(in.reserved)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.createdDirs[s.sum(in.dir)]; ok {
		s.emptyDirs[in.dir] = struct{}{}
	}
}

func (in *Upload) closeFile() {
	if in.file == nil {
		return
	}
	if in.partName != "" { // nobody else can have opened one without a name
		unlock(in.file)
	}
	_ = in.file.Close()
	in.file = nil
}

// commit gives the file its final name, after receive has returned nil. digest
// is what the sender says at the end, nil if it says nothing. When commit
// returns without an error, content and name are on stable storage; with a
// refusal, nothing is stored.
func (in *Upload) Commit(digest []byte) (*Stored, error) {
	if in.file == nil {
		return nil, errorf(Conflict, "given up before")
	}
	if err := in.check(digest); err != nil {
		in.Abort()
		return nil, err
	}
	if err := in.finish(); err != nil {
		in.Abort()
		return nil, writeError(err)
	}
	c := &commit{in: in, done: make(chan struct{})}
	in.store.commits.add(in.store, c)
	<-c.done
	if c.err != nil {
		in.Abort()
		return nil, diskError(c.err)
	}
	in.closeFile()
	in.store.unclaim(in.Path)
	return &Stored{Path: c.path, Size: in.received, Digest: in.sum()}, nil
}

// check compares what came with what was announced.
func (in *Upload) check(digest []byte) error {
	if in.Size >= 0 && in.received != in.Size {
		return errorf(Mismatch, "%d of %d bytes came", in.received, in.Size)
	}
	sum := in.sum()
	for _, want := range [][]byte{in.Digest, digest} {
		if want != nil && !bytes.Equal(want, sum) {
			return errorf(Mismatch, "digest mismatch: damaged on the way")
		}
	}
	return nil
}

// finish completes the partial file. A large one is on stable storage then;
// small ones are brought there together.
func (in *Upload) finish() error {
	if in.end < in.received { // it ends in a hole
		if err := in.file.Truncate(in.received); err != nil {
			return err
		}
	}
	mode := in.Mode
	if mode == 0 {
		mode = 0o666
	}
	if err := setMode(in.file, permissions(mode, in.store.umask)); err != nil {
		return err
	}
	if !in.ModTime.IsZero() {
		if err := in.setTime(); err != nil {
			return err
		}
	}
	if in.received >= keepFrom {
		return in.file.Sync()
	}
	return nil
}

// setTime sets the time of the last change, and leaves that of the last access.
func (in *Upload) setTime() error {
	if setOpenTime(in.file, in.ModTime) {
		return nil
	}
	d, err := in.store.folder(in.dir)
	if err != nil {
		return err
	}
	defer d.close()
	if !d.holds(in.partName, in.info) {
		return errMoved
	}
	return d.root.Chtimes(in.partName, time.Time{}, in.ModTime)
}

var errMoved = errorf(Conflict, "moved or replaced by somebody else while it was received")

// A commit is a complete file that waits for its final name.
type commit struct {
	in   *Upload
	path string // the final name, once it has it
	err  error
	done chan struct{} // closed when path or err is set
}

// A commitQueue brings files that are complete onto stable storage, all those
// together that wait while the ones before are brought there: a thousand small
// files cost a few journal commits, not a thousand.
type commitQueue struct {
	mu      sync.Mutex
	waiting []*commit
	running bool
	idle    sync.WaitGroup
}

// add hands c over; its end is told by c.done.
func (q *commitQueue) add(s *Store, c *commit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, c)
	if !q.running {
		q.running = true
		q.idle.Go(func() { q.run(s) })
	}
}

// run works until nothing waits.
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

// commitBatch syncs the content of the files, then gives them their names, then
// syncs the directories.
func (s *Store) commitBatch(batch []*commit) {
	var unsynced []*commit
	for _, c := range batch {
		if c.in.received < keepFrom {
			unsynced = append(unsynced, c)
		}
	}
	syncContents(unsynced)
	for _, c := range unsynced {
		if c.err != nil {
			c.err = writeError(c.err)
		}
	}

	folders := map[string]*folder{}
	for _, c := range batch {
		if c.err != nil {
			continue
		}
		d := folders[c.in.dir]
		if d == nil {
			if d, c.err = s.folder(c.in.dir); c.err != nil {
				continue
			}
			folders[c.in.dir] = d
		}
		c.err = c.place(d)
	}
	err := s.syncPlaces(folders)
	for _, d := range folders {
		d.close()
	}
	for _, c := range batch {
		if c.err == nil && err != nil {
			c.err = &Error{Unsynced, fmt.Sprintf("stored, but perhaps not on the disk: %v", err)}
		}
		close(c.done)
	}
}

// place gives the file its final name in d, which is its directory.
func (c *commit) place(d *folder) error {
	in := c.in
	if in.partName != "" && !d.holds(in.partName, in.info) {
		return errMoved
	}
	for n := 0; n < 10_000; n++ {
		name := in.base
		if n > 0 {
			name = numbered(in.base, n)
		}
		err := in.rename(d, name)
		if err == nil {
			c.path = path.Join(in.dir, name)
			return nil
		}
		if !in.store.Rename || !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return errExists()
}

// rename gives the partial file the name in d. The error is fs.ErrExist if that
// is taken and not to be replaced.
func (in *Upload) rename(d *folder, name string) error {
	if in.partName == "" {
		if err := linkUnnamed(in.file, d.dir, name); !in.store.Force || !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Only a file that has a name can replace one.
		part := randomPartial()
		if err := linkUnnamed(in.file, d.dir, part); err != nil {
			return err
		}
		in.partName = part
		defer func() {
			if d.holds(part, in.info) {
				_ = d.root.Remove(part)
			}
		}()
	}
	if in.store.Force {
		return d.renameForce(in.partName, name)
	}
	handled, err := d.renameNew(in.partName, name)
	if !handled {
		return errorf(Forbidden, "the file system cannot rename without replacing (%v): only with --force", errors.Unwrap(err))
	}
	return err
}

// syncTogetherFrom is how many files are synced by one call for their whole
// file system, which may have to write what others have written there, too.
const syncTogetherFrom = 16

// syncContents brings the content of files onto stable storage and tells each
// what has failed.
func syncContents(files []*commit) {
	if len(files) >= syncTogetherFrom && syncTogether(files[0].in.file) {
		for _, c := range files {
			if sameDisk(c.in.info, files[0].in.info) {
				c.err = written(c.in.file)
			} else {
				c.err = c.in.file.Sync()
			}
		}
		return
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, syncTogetherFrom)
	for _, c := range files {
		slots <- struct{}{}
		all.Go(func() {
			c.err = c.in.file.Sync()
			<-slots
		})
	}
	all.Wait()
}

// syncPlaces brings the names in the folders onto stable storage, and those of
// the directories on the way to them that were created.
func (s *Store) syncPlaces(folders map[string]*folder) error {
	var above []string
	s.mu.Lock()
	for created := range s.unsynced {
		for dir := range folders {
			if folders[created] == nil && within(dir, created) {
				above = append(above, created)
				break
			}
		}
	}
	s.mu.Unlock()
	return s.syncFolders(append(above, slices.Collect(maps.Keys(folders))...), folders)
}

// syncFolders brings the names in the directories onto stable storage. Those
// that are open are in the map.
func (s *Store) syncFolders(dirs []string, open map[string]*folder) error {
	// First of all, because what is created from now on is to be synced again.
	s.mu.Lock()
	for _, dir := range dirs {
		delete(s.unsynced, dir)
	}
	s.mu.Unlock()
	together := len(dirs) >= syncTogetherFrom && syncTogether(s.top.dir)
	var failed error
	for i, dir := range dirs {
		if err := s.syncFolder(dir, open[dir], together && i > 0); err != nil {
			s.mu.Lock()
			s.unsynced[dir] = struct{}{}
			s.mu.Unlock()
			failed = err
		}
	}
	return failed
}

// syncFolder brings the names in one directory onto stable storage; d is it, if
// it is open. With together, that was done for the store's whole file system.
func (s *Store) syncFolder(dir string, d *folder, together bool) error {
	if d == nil {
		var err error
		if d, err = s.folder(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		defer d.close()
	}
	if info, err := d.dir.Stat(); together && err == nil && sameDisk(info, s.info) {
		return nil
	}
	return syncFolder(d.dir)
}
