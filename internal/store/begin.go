package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
)

// Begin prepares for the content of a file. Exactly one result is not nil. The
// caller ends an Upload by Commit, Suspend or Abort. A Stored is a file of the
// same name, size and digest that was there already, also with Options.Force:
// it is on stable storage, and no content is received. The error is an *Error.
func (s *Store) Begin(f File) (*Upload, *Stored, error) {
	if err := s.options.checkName(f.Path); err != nil {
		return nil, nil, err
	}
	u := &Upload{want: f, store: s}
	u.dir, u.base = splitPath(f.Path)
	d, err := s.tree.cache.open(s.tree, u.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if d != nil {
		defer d.close()
		if same, err := u.lookup(d); same != nil || err != nil {
			return nil, same, err
		}
	}
	u.claimed = s.claims.acquire(f.Path)
	if !u.claimed && (!s.options.Rename || f.Offset > 0) {
		return nil, nil, errorf(Conflict, "being received already")
	}
	if err := u.prepare(d); err != nil {
		u.release()
		return nil, nil, diskError(err)
	}
	if u.claimed {
		u.charged += s.quota.resume(f.Path)
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
			return nil, u.store.options.avoidable(&Error{Kind: Exists, Text: "exists, as a symbolic link", Way: ByRemovedLink})
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
	u.store.tree.distrust(u.dir)
	found := &commit{part: &partialFile{file: f, info: info}, dir: u.dir, base: u.base, size: u.want.Size, identical: true}
	if err := u.store.commits.commit(found); err != nil {
		return nil, diskError(err)
	}
	return &Stored{Path: u.want.Path, Size: u.want.Size, Digest: u.want.Digest, Identical: true}, nil
}

// prepare checks the limits, and opens the partial file in d, which is nil if
// the directory does not exist. In this case, or if it was removed meanwhile,
// the first content will create it. Then prepare only checks the space, and the
// permissions of the deepest existing directory on the way.
func (u *Upload) prepare(d *dirHandle) error {
	s := u.store
	if err := u.chargeKept(); err != nil {
		return err
	}
	if d != nil {
		err := u.open(d)
		// Not fs.ErrNotExist: in a removed directory ext4 fails with EPERM.
		if err == nil || d.exists() {
			return err
		}
		s.tree.cache.evict(u.dir)
	}
	if u.want.Offset > 0 {
		return u.errNoPartial()
	}
	r, _, err := s.tree.nearest(u.dir)
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

// chargeKept charges the bytes before the offset, and fails if the file would
// exceed Options.MaxSize.
func (u *Upload) chargeKept() (err error) {
	q := u.store.quota
	var already int64
	if u.claimed {
		already = q.kept(u.want.Path)
	}
	u.charged, err = q.chargeKept(u.want.Offset, already, u.want.Size)
	return err
}

// ensureOpen opens the partial file with the first content, unless Begin has
// opened it. It creates the missing directories on the way.
func (u *Upload) ensureOpen() error {
	if u.part != nil {
		return nil
	}
	s := u.store
	s.tree.makeMu.RLock()
	defer s.tree.makeMu.RUnlock()
	d, err := s.tree.makeDirs(u.dir, u.want.DirsFollow)
	if err != nil {
		return err
	}
	defer d.close()
	return u.open(d)
}

// open opens the partial file in d, or creates one, and truncates it to the
// offset. A new small file has no name where the file system permits that. An
// existing partial file that this upload cannot use stays as it is, and the new
// one gets a random name. If there are no bytes up to the offset, it fails.
func (u *Upload) open(d *dirHandle) error {
	name := partialName(u.want.Path)
	if u.store.unnamed && u.want.Size >= 0 && u.want.Size <= SmallFile && u.want.Offset == 0 {
		// An existing partial file of an earlier, larger version is reused
		// instead.
		if _, err := d.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			if handled, err := u.openUnnamed(d); handled {
				return err
			}
		}
	}
	s := u.store
	f, info := s.partials.open(d, name)
	if u.want.Offset > 0 && (s.options.NoResume || f == nil || info.Size() < u.want.Offset || u.want.Size >= 0 && u.want.Size < u.want.Offset) {
		discard(d, name, f)
		return u.errNoPartial()
	}
	u.resumable = f != nil && !s.options.NoResume && s.partials.isOwn(info)
	if f == nil {
		name = randomPartial()
		var err error
		if f, err = openEntry(d, name, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
			return err
		}
		if info, err = f.Stat(); err != nil {
			discard(d, name, f)
			return err
		}
	}
	offset := u.want.Offset
	p := &partialFile{file: f, name: name, info: info, dataEnd: offset,
		space: allocation{reservations: &s.reservations, device: deviceOf(info), size: u.want.Size, secured: offset}}
	err := u.checkSpace(d.dir, p.space.device, max(allocated(info), offset))
	if err == nil && u.hash == nil {
		u.hash, err = s.partials.hash(u.want.Path, f, info, offset)
	}
	if err != nil {
		discard(d, name, f)
		return err
	}
	if err := p.allocate(d, offset); err != nil {
		_ = f.Truncate(offset)
		discard(d, name, f)
		return err
	}
	u.part, u.received = p, offset
	return nil
}

// errNoPartial returns the error for an offset at which no partial file can be
// continued.
func (u *Upload) errNoPartial() error {
	return errorf(Conflict, "no partial upload of %d bytes here", u.want.Offset)
}

// openUnnamed opens a file without a name in the file system of d. handled is
// false if the file system does not support this.
func (u *Upload) openUnnamed(d *dirHandle) (handled bool, err error) {
	f, err := openUnnamed(d.dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return true, err
	}
	u.part = &partialFile{file: f, info: info}
	if u.hash == nil {
		u.hash = sha256.New()
	}
	return true, nil
}

// checkSpace returns an error if the file system of f has no space for the rest
// of the file, of which have bytes are on disk. A small file needs none: it has
// arrived before the answer could be of use.
func (u *Upload) checkSpace(f *os.File, device uint64, have int64) error {
	if u.want.Size <= SmallFile || u.want.Size <= have {
		return nil
	}
	return u.store.reservations.check(f, device, u.want.Size-have)
}

// Partial returns the size in bytes of a suspended upload of path, from which
// File.Offset may continue, and its SHA-256. The offset is 0 if there is none,
// if another process writes it, with Options.NoResume, or if path exists and
// neither Options.Force nor Options.Rename is set. The error is an *Error about
// the name.
func (s *Store) Partial(path string) (offset int64, digest []byte, err error) {
	if err := s.options.checkName(path); err != nil {
		return 0, nil, err
	}
	if s.options.NoResume {
		return 0, nil, nil
	}
	dir, base := splitPath(path)
	d, err := s.tree.open(dir)
	if err != nil {
		return 0, nil, nil
	}
	defer d.close()
	if !s.options.Force && !s.options.Rename {
		if _, err := d.root.Lstat(base); !errors.Is(err, fs.ErrNotExist) {
			return 0, nil, nil
		}
	}
	f, info := s.partials.peek(d, partialName(path))
	if f == nil {
		return 0, nil, nil
	}
	defer f.Close()
	if info.Size() == 0 {
		return 0, nil, nil
	}
	if digest = s.partials.digest(path, f, info); digest == nil {
		return 0, nil, nil
	}
	return info.Size(), digest, nil
}
