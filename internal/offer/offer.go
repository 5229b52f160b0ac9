// Package offer holds the files and directory trees that a sender offers to a
// peer: it walks them, opens single files on the peer's request, and reads and
// hashes them while it watches for changes.
package offer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"purr/internal/relpath"
	"purr/internal/sys"
)

// A Set is the files and trees that are offered, each under the last component
// of the path that it was named by. They are reached through os.Root, so that
// no link leads outside. Its methods may be called from many goroutines.
type Set struct {
	roots []*root
	live  bool
	sums  sums
}

// A root is one operand: a directory, or the one that holds a single file.
type root struct {
	name string // in front of every path below it; "" for the contents of . or /
	dir  *os.Root
	file string // the file's name in dir; "" for a directory
}

// Open opens every path. With live, a file may grow while it is read. The
// error names the path that cannot be offered. The caller closes the Set.
func Open(paths []string, live bool) (*Set, error) {
	s := &Set{live: live}
	for _, p := range paths {
		r, err := openRoot(p)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("push %s: %w", p, sys.Cause(err))
		}
		s.roots = append(s.roots, r)
	}
	return s, nil
}

// openRoot follows a link that is named by the user, as cp does; links further
// down stay links.
func openRoot(p string) (*root, error) {
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, err
	}
	r := &root{name: NameOf(p)}
	dir := real
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return nil, ErrNotAFile
		}
		dir, r.file = filepath.Dir(real), filepath.Base(real)
	}
	r.dir, err = os.OpenRoot(dir)
	return r, err
}

// ErrNotAFile is the error for a path that is neither a file nor a directory.
var ErrNotAFile = errors.New("neither a file nor a directory: for a pipe or a device, say \"purr HOST PORT <PATH\"")

// NameOf returns the name under which Open offers the path p, its last
// component; "" if p has no name of its own, so that its contents have theirs.
func NameOf(p string) string {
	switch name := filepath.Base(p); name {
	case ".", "..", string(filepath.Separator):
		return ""
	default:
		return name
	}
}

// Close closes the directories. Files that are open stay open.
func (s *Set) Close() {
	for _, r := range s.roots {
		_ = r.dir.Close()
	}
}

// find returns the root that a path belongs to, and the path inside it ("." for
// a directory itself); nil if the path is not offered. A root with a name takes
// precedence over an entry of the same name in the contents of ".".
func (s *Set) find(name string) (*root, string) {
	var nameless *root
	for _, r := range s.roots {
		switch {
		case r.name == name && r.file != "":
			return r, r.file
		case r.file != "":
		case r.name == name:
			return r, "."
		case r.name == "":
			nameless = r
		default:
			if inside, ok := strings.CutPrefix(name, r.name+"/"); ok {
				return r, inside
			}
		}
	}
	if nameless != nil {
		return nameless, name
	}
	return nil, ""
}

// ErrNotOffered is the error for a path that is not offered, does not exist, or
// is no regular file. A peer learns no more.
var ErrNotOffered = errors.New("not offered")

// Open opens a regular file on the request of a peer. The name is checked like
// a receiver's, so that "../x" is not even looked for, and a link is not
// followed. The caller closes the File.
func (s *Set) Open(name string) (*File, error) {
	if relpath.Check(name, true) != nil {
		return nil, ErrNotOffered
	}
	r, inside := s.find(name)
	if r == nil || inside == "." {
		return nil, ErrNotOffered
	}
	inside = filepath.FromSlash(inside)
	info, err := r.dir.Lstat(inside)
	if err != nil {
		return nil, sys.Cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNotOffered
	}
	f, err := s.open(r, name, inside)
	if err == nil && !os.SameFile(info, f.info) { // something else has taken its place
		_ = f.Close()
		return nil, ErrNotOffered
	}
	return f, err
}

// OpenListed is Open for a path that Walk has returned just now, at fewer
// system calls. A link that has taken the file's place since is followed, but
// never outside of the offered trees.
func (s *Set) OpenListed(name string) (*File, error) {
	r, inside := s.find(name)
	if r == nil || inside == "." {
		return nil, ErrNotOffered
	}
	return s.open(r, name, filepath.FromSlash(inside))
}

func (s *Set) open(r *root, name, inside string) (*File, error) {
	f, err := r.dir.OpenFile(inside, os.O_RDONLY|sys.OpenNonblock, 0)
	if err != nil {
		return nil, sys.Cause(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotOffered
	}
	var opened state
	if err == nil {
		opened, err = stateOf(f)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &File{Entry: newEntry(name, info), f: f, info: info, opened: opened, live: s.live}, nil
}

// IsDir reports whether name is an offered directory.
func (s *Set) IsDir(name string) bool {
	if relpath.Check(name, true) != nil {
		return false
	}
	r, inside := s.find(name)
	if r == nil || r.file != "" {
		return false
	}
	info, err := r.dir.Lstat(inside)
	return err == nil && info.IsDir()
}
