package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
)

// rename gives the file its final name in its directory d.
func (c *commit) rename(d *dirHandle) error {
	u := c.upload
	if u.partial != "" && !d.refersTo(u.partial, u.info) {
		return errMoved
	}
	for n := 0; n < 10_000; n++ {
		name := u.base
		if n > 0 {
			name = numbered(u.base, n)
		}
		err := u.rename(d, name)
		if err == nil {
			c.path = path.Join(u.dir, name)
			return nil
		}
		if !u.store.options.Rename || !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return errExists()
}

// rename gives the partial file the name in d. The error is fs.ErrExist if the
// name is taken and must not be replaced.
func (u *Upload) rename(d *dirHandle, name string) error {
	if u.partial == "" {
		if err := linkUnnamed(u.file, d.dir, name); !u.store.options.Force || !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Only a file that has a name can replace another.
		part := randomPartial()
		if err := linkUnnamed(u.file, d.dir, part); err != nil {
			return err
		}
		u.partial = part
		defer func() {
			if d.refersTo(part, u.info) {
				_ = d.root.Remove(part)
			}
		}()
	}
	if u.store.options.Force {
		return d.renameForce(u.partial, name)
	}
	handled, err := d.renameNew(u.partial, name)
	if !handled {
		e := errorf(Forbidden, "the file system cannot rename without replacing (%v)", errors.Unwrap(err))
		e.Way = ByForce
		return u.store.avoidable(e)
	}
	return err
}

// renameForce gives the file old the name, in the place of a regular file if
// there is one. The error is fs.ErrExist for anything else.
func (d *dirHandle) renameForce(old, name string) error {
	if there, err := d.root.Lstat(name); err == nil && !there.Mode().IsRegular() {
		return fs.ErrExist
	}
	return d.root.Rename(old, name)
}

// renameNew gives the file old the name, if that is free. The error is
// fs.ErrExist if it is taken. If handled is false nothing has happened, for the
// reason err: the file system has neither such a rename nor links.
func (d *dirHandle) renameNew(old, name string) (handled bool, err error) {
	if handled, err := renameNoReplace(d.dir, old, name); handled {
		return true, err
	}
	return d.renameByLink(old, name)
}

// renameByLink is renameNew for file systems that cannot rename without
// replacing: link(2) fails as well if the name is taken.
func (d *dirHandle) renameByLink(old, name string) (handled bool, err error) {
	err = d.root.Link(old, name)
	if err == nil {
		// The file has its name, whether or not it keeps the other one, too.
		_ = d.root.Remove(old)
		return true, nil
	}
	return errors.Is(err, fs.ErrExist), err
}

// renameOrReserve is renameNew for every file system. Without links an empty
// file reserves the name first, and is then replaced.
func (d *dirHandle) renameOrReserve(old, name string) error {
	handled, err := d.renameNew(old, name)
	if handled {
		return err
	}
	return d.renameReserved(old, name)
}

// renameReserved gives the file old the name by replacing an empty file, which
// it creates first. The error is fs.ErrExist if the name is taken. A crash in
// between leaves the empty file.
func (d *dirHandle) renameReserved(old, name string) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_ = f.Close()
	if err := d.root.Rename(old, name); err != nil {
		_ = d.root.Remove(name)
		return err
	}
	return nil
}
