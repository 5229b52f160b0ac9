package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
)

// Begin prepares for the content of a file. It returns either an Upload, which
// the caller ends by Commit, Suspend or Abort; or the Stored file if size and
// digest show that the same file is there already, also with Options.Force, and
// it is on stable storage; or an *Error.
func (s *Store) Begin(f File) (*Upload, *Stored, error) {
	if err := s.checkName(f.Path); err != nil {
		return nil, nil, err
	}
	u := &Upload{want: f, store: s}
	u.dir, u.base = splitPath(f.Path)
	d, err := s.dirs.open(s, u.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if d != nil {
		defer d.close()
		if same, err := u.lookup(d); same != nil || err != nil {
			return nil, same, err
		}
	}
	u.claimed = s.claim(f.Path)
	if !u.claimed && (!s.options.Rename || f.Offset > 0) {
		return nil, nil, errorf(Conflict, "being received already")
	}
	if err := u.prepare(d); err != nil {
		u.release()
		return nil, nil, diskError(err)
	}
	if u.claimed {
		s.mu.Lock()
		defer s.mu.Unlock()
		u.charged += s.suspended[f.Path]
		delete(s.suspended, f.Path)
	}
	return u, nil, nil
}

// lookup examines the final name in d. It returns the file there if it is
// identical to the announced one, an error if the name is taken and the options
// permit neither Force nor Rename, and else nil and nil.
func (u *Upload) lookup(d *dirHandle) (*Stored, error) {
	info, err := d.root.Lstat(u.base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, diskError(err)
	case info.Mode()&fs.ModeSymlink != 0:
		switch {
		case u.store.options.Rename:
			return nil, nil
		case u.store.options.Force:
			return nil, u.store.avoidable(&Error{Kind: Exists, Text: "exists, as a symbolic link", Way: ByRemovedLink})
		}
		return nil, errExists()
	case !info.Mode().IsRegular():
		return nil, errorf(Conflict, "not a regular file there")
	}
	if u.want.Digest != nil && u.want.Size == info.Size() {
		if same, err := u.identical(d); same != nil || err != nil {
			return same, err
		}
	}
	if u.store.options.Force || u.store.options.Rename {
		return nil, nil
	}
	return nil, errExists()
}

// identical returns the file under the final name if it has the announced size
// and digest, else nil. It syncs that file: an earlier sync may have failed or
// never taken place. A peer learns nothing else about files that it has not
// sent.
func (u *Upload) identical(d *dirHandle) (*Stored, error) {
	f, err := openSyncable(d, u.base)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, nil
	}
	h := sha256.New()
	if n, err := hashFile(h, f, u.want.Size+1); err != nil || n != u.want.Size || !bytes.Equal(h.Sum(nil), u.want.Digest) {
		return nil, nil
	}
	u.store.distrustDirs(u.dir)
	found := &Upload{want: u.want, store: u.store, dir: u.dir, base: u.base, file: f, info: info, received: u.want.Size}
	if err := u.store.commit(&commit{upload: found, identical: true}); err != nil {
		return nil, diskError(err)
	}
	return &Stored{Path: u.want.Path, Size: u.want.Size, Digest: u.want.Digest, Identical: true}, nil
}

// prepare checks the limits and opens the partial file in d. If d is nil, the
// directory does not exist, and is created with the first content: prepare only
// checks the space and the permissions above it.
func (u *Upload) prepare(d *dirHandle) error {
	s := u.store
	if err := u.chargeKept(); err != nil {
		return err
	}
	if d != nil {
		err := u.open(d)
		if err == nil || d.exists() { // ext4 has EPERM for a directory that was removed
			return err
		}
		s.dirs.evict(u.dir)
	}
	if u.want.Offset > 0 {
		return u.errNoPartial()
	}
	r, _, err := s.nearest(u.dir)
	if err != nil {
		return err
	}
	above, err := newDirHandle(r)
	if err != nil {
		return err
	}
	defer above.close()
	if err := canCreate(above.dir); err != nil {
		return err
	}
	info, err := above.dir.Stat()
	if err != nil {
		return err
	}
	u.hash = sha256.New()
	return u.checkSpace(above.dir, deviceOf(info), 0)
}

// chargeKept charges the bytes before the offset, unless they were charged when
// they were received. It fails if the rest would exceed Options.MaxSize; write
// charges that as it comes.
func (u *Upload) chargeKept() error {
	s := u.store
	s.mu.Lock()
	defer s.mu.Unlock()
	var already int64
	if u.claimed {
		already = s.suspended[u.want.Path]
	}
	if err := s.checkMaxSizeLocked(max(u.want.Size, u.want.Offset)-already, 0); err != nil {
		return err
	}
	u.charged = max(0, u.want.Offset-already)
	s.charged += u.charged
	return nil
}

// ensureOpen opens the partial file with the first content, unless Begin has
// opened it. It creates the missing directories on the way.
func (u *Upload) ensureOpen() error {
	if u.file != nil {
		return nil
	}
	s := u.store
	s.dirMu.RLock()
	defer s.dirMu.RUnlock()
	d, err := s.makeDirs(u.dir, u.want.DirsFollow)
	if err != nil {
		return err
	}
	defer d.close()
	return u.open(d)
}
