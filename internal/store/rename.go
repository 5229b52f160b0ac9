package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
)

// rename gives the file its final name in its directory d, and sets c.path. If
// the name is taken, it takes the first free number with Options.Rename. It
// fails if the partial file was moved or replaced.
func (c *commit) rename(d *dirHandle, o *Options) error {
	if c.part.name != "" && !d.refersTo(c.part.name, c.part.info) {
		return errMoved
	}
	for n := 0; n < 10_000; n++ {
		name := c.base
		if n > 0 {
			name = numbered(c.base, n)
		}
		err := c.part.rename(d, name, o)
		if err == nil {
			c.path = path.Join(c.dir, name)
			return nil
		}
		if !o.Rename || !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return errExists()
}

// rename gives the file the name in d. The error is fs.ErrExist if the
// name is taken and must not be replaced.
func (p *partialFile) rename(d *dirHandle, name string, o *Options) error {
	if p.name == "" {
		if err := linkUnnamed(p.file, d.dir, name); !o.Force || !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Only a file that has a name can replace another.
		part := randomPartial()
		if err := linkUnnamed(p.file, d.dir, part); err != nil {
			return err
		}
		p.name = part
		defer func() {
			if d.refersTo(part, p.info) {
				_ = remove(d.root, part)
			}
		}()
	}
	if o.Force {
		return d.renameForce(p.name, name)
	}
	handled, err := d.renameNew(p.name, name)
	if !handled {
		e := errorf(Forbidden, "the file system cannot rename without replacing (%v)", errors.Unwrap(err))
		e.Way = ByForce
		return o.avoidable(e)
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
		_ = remove(d.root, old)
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
		_ = remove(d.root, name)
		return err
	}
	return nil
}
