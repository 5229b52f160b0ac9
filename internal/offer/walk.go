package offer

import (
	"errors"
	"io"
	"io/fs"
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
}

func newEntry(name string, info fs.FileInfo) Entry {
	e := Entry{Path: name, Mode: info.Mode(), ModTime: info.ModTime()}
	if e.Mode.IsRegular() {
		e.Size = info.Size()
	}
	return e
}

// A Part selects the entries that one walk visits. A receiver sets the mode and
// time of a directory when everything in it has its name, so directories come
// last.
type Part int

// The parts, in the order in which a receiver needs them.
const (
	Files Part = iota
	Links
	Dirs // from the deepest up
)

// Walk calls visit for each entry of one part, and, in the walk of Files, for
// each path that must be left out: with the path alone, and the reason. An
// error of visit ends the walk and is returned. links reports whether there are
// any links, which saves the walk for them.
func (s *Set) Walk(part Part, visit func(e Entry, skipped error) error) (links bool, err error) {
	for _, r := range s.roots {
		w := &walker{root: r, part: part, visit: visit}
		if r.file != "" {
			if part == Files {
				info, infoErr := r.dir.Lstat(r.file)
				err = w.file(r.name, info, infoErr)
			}
		} else {
			err = w.dir(r.name, ".", 0)
		}
		links = links || w.links
		if err != nil {
			return links, err
		}
	}
	return links, nil
}

// WalkTree is Walk for the directory name and everything below it.
func (s *Set) WalkTree(name string, part Part, visit func(e Entry, skipped error) error) error {
	r, inside := s.find(name)
	if r == nil || r.file != "" {
		return ErrNotOffered
	}
	w := &walker{root: r, part: part, visit: visit}
	return w.dir(name, inside, 0)
}

type walker struct {
	root  *root
	part  Part
	visit func(Entry, error) error
	links bool
}

// dir visits the entries of a directory in batches, so that a directory of a
// million names takes no more memory than one of a hundred. name is the
// directory's path for the peer, inside its path in the root.
func (w *walker) dir(name, inside string, depth int) error {
	d, err := w.root.dir.Open(filepath.FromSlash(inside))
	if err != nil {
		return w.skip(name, err)
	}
	defer d.Close()
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
	if w.part != Dirs || name == "" {
		return nil
	}
	info, err := d.Stat()
	if err != nil {
		return w.skip(name, err)
	}
	return w.visit(newEntry(name, info), nil)
}

// found visits one name of a directory.
func (w *walker) found(d fs.DirEntry, name, inside string, depth int) error {
	switch kind := d.Type(); {
	case kind.IsDir():
		return w.dir(name, inside, depth+1)
	case kind&fs.ModeSymlink != 0:
		w.links = true
		if w.part == Links {
			return w.link(name, inside)
		}
	case w.part != Files:
	case kind.IsRegular():
		info, err := d.Info() // it was read with the name, and costs nothing more
		return w.file(name, info, err)
	default:
		return w.skip(name, errors.New("neither a file, a directory nor a link"))
	}
	return nil
}

// file visits a file, or skips it because of the error of its Lstat.
func (w *walker) file(name string, info fs.FileInfo, err error) error {
	if err != nil {
		return w.skip(name, err)
	}
	return w.visit(newEntry(name, info), nil)
}

func (w *walker) link(name, inside string) error {
	target, err := w.root.dir.Readlink(filepath.FromSlash(inside))
	if err != nil {
		return w.skip(name, err)
	}
	info, err := w.root.dir.Lstat(filepath.FromSlash(inside))
	if err != nil {
		return w.skip(name, err)
	}
	e := newEntry(name, info)
	e.Target = filepath.ToSlash(target)
	return w.visit(e, nil)
}

// skip reports an entry that is left out, once: in the walk of Files, which is
// the first.
func (w *walker) skip(name string, err error) error {
	if w.part != Files {
		return nil
	}
	return w.visit(Entry{Path: name}, sys.Cause(err))
}
