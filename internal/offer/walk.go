package offer

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"purr/internal/relpath"
	"purr/internal/sys"
)

// An Entry describes a file, a symbolic link or a directory of a Set.
type Entry struct {
	Path    string      // components separated by slashes
	Mode    fs.FileMode // with its type bits: 0, fs.ModeSymlink or fs.ModeDir
	Size    int64       // in bytes; of a file
	ModTime time.Time
	Target  string // of a link, with slashes

	info fs.FileInfo // of a file: its identity
}

// newEntry returns the Entry of the path name with the type, mode and time of
// info. Size and identity are set for a regular file only.
func newEntry(name string, info fs.FileInfo) Entry {
	e := Entry{Path: name, Mode: info.Mode(), ModTime: info.ModTime()}
	if e.Mode.IsRegular() {
		e.Size, e.info = info.Size(), info
	}
	return e
}

// Walk reads each directory once. It calls visit with each file. For each path
// that is left out, it calls visit with the path alone, and with the reason in
// skipped. An error of visit ends the walk and is returned.
//
// rest holds the links, then the directories, each after those below it: a
// receiver sets the mode and time of a directory when everything in it is
// there. A second walk for them could find directories whose files the first
// one has not seen.
func (s *Set) Walk(visit func(e Entry, skipped error) error) (rest []Entry, err error) {
	w := &walker{set: s, visit: visit}
	for _, r := range s.roots {
		if r.isDir() {
			err = w.tree(r, r.name, ".")
		} else {
			info, infoErr := s.lstat(r.name)
			err = w.file(r.name, info, infoErr)
		}
		if err != nil {
			return nil, err
		}
	}
	return w.rest(), nil
}

// WalkTree is Walk for the directory name and everything below it. The error is
// ErrNotOffered if name belongs to no directory of the Set. A name in one of
// them that is no directory itself is visited as skipped.
func (s *Set) WalkTree(name string, visit func(e Entry, skipped error) error) (rest []Entry, err error) {
	r, inside := s.find(name)
	if r == nil || !r.isDir() {
		return nil, ErrNotOffered
	}
	w := &walker{set: s, visit: visit}
	if err := w.tree(r, name, filepath.ToSlash(inside)); err != nil {
		return nil, err
	}
	return w.rest(), nil
}

// A walker is one call of Walk or WalkTree. root is the directory of the
// operand that is being walked; links and dirs are collected for rest.
type walker struct {
	set   *Set
	root  *os.Root
	visit func(Entry, error) error
	links []Entry
	dirs  []Entry
}

// rest returns the links, then the directories, which Walk returns at its end.
func (w *walker) rest() []Entry { return append(w.links, w.dirs...) }

// tree visits a directory of the operand r and everything below it. name is the
// directory's path for the peer. The parameter inside is its path below r.
func (w *walker) tree(r *root, name, inside string) (err error) {
	if w.root, err = w.set.acquire(r); err != nil {
		return w.skip(name, err)
	}
	defer w.set.release(r)
	return w.dir(name, inside, 0)
}

// dir visits a directory and everything below it, then collects it for rest.
// name is the directory's path for the peer, and the parameter inside is its
// path below the operand. depth is 0 for the directory that tree was called
// with. The entries are read in batches: a million of them take no more memory
// than a hundred. A directory that cannot be read, or is nested too deeply, is
// skipped.
func (w *walker) dir(name, inside string, depth int) error {
	d, err := w.root.Open(filepath.FromSlash(inside))
	if err != nil {
		return w.skip(name, err)
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return w.skip(name, err)
	}
	// A link that has taken the directory's place would have been followed.
	if now, err := w.root.Lstat(filepath.FromSlash(inside)); err != nil || !os.SameFile(now, info) {
		return w.skip(name, cmp.Or(err, errReplaced))
	}
	if depth > relpath.MaxDepth {
		return w.skip(name, errors.New("nested too deeply"))
	}
	for {
		batch, err := d.ReadDir(256)
		for _, found := range batch {
			if err := w.found(found, path.Join(name, found.Name()), path.Join(inside, found.Name()), depth); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return w.skip(name, err)
		}
	}
	if name != "" {
		w.dirs = append(w.dirs, newEntry(name, info))
	}
	return nil
}

// found visits the entry d of a directory, by its type. name is the entry's
// path for the peer, and the parameter inside is its path below the operand.
// depth is that of the directory, as in dir.
func (w *walker) found(d fs.DirEntry, name, inside string, depth int) error {
	switch kind := d.Type(); {
	case kind.IsDir():
		return w.dir(name, inside, depth+1)
	case kind&fs.ModeSymlink != 0:
		return w.link(name, inside)
	case kind.IsRegular():
		info, err := d.Info() // it was read with the name, and costs nothing more
		return w.file(name, info, err)
	}
	return w.skip(name, errors.New("neither a file, a directory nor a link"))
}

// file passes a file with its description info to visit; if err, the error of
// its Lstat, is not nil, it skips the file for that reason.
func (w *walker) file(name string, info fs.FileInfo, err error) error {
	if err != nil {
		return w.skip(name, err)
	}
	return w.visit(newEntry(name, info), nil)
}

// link collects a symbolic link for rest. name is the link's path for the peer,
// and the parameter inside is its path below the operand. A link that cannot be
// read is skipped.
func (w *walker) link(name, inside string) error {
	target, err := w.root.Readlink(filepath.FromSlash(inside))
	if err != nil {
		return w.skip(name, err)
	}
	info, err := w.root.Lstat(filepath.FromSlash(inside))
	if err != nil {
		return w.skip(name, err)
	}
	e := newEntry(name, info)
	e.Target = filepath.ToSlash(target)
	w.links = append(w.links, e)
	return nil
}

// skip passes a path that is left out to visit, with err as the reason. The
// walk goes on if visit returns nil.
func (w *walker) skip(name string, err error) error {
	return w.visit(Entry{Path: name}, sys.Cause(err))
}
