// Package offer holds the files and directory trees that a sender offers to a
// peer: it walks them, opens single files on the peer's request, and reads and
// hashes them while it watches for changes.
package offer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"purr/internal/relpath"
	"purr/internal/sys"
)

// A Set is the files and trees that are offered, each under the last component
// of the path that it was named by. What is read is what was there when the Set
// was opened, by device and inode: a file or directory that takes the place of
// an operand later is refused, whatever links lead to it. Below a directory,
// links are not followed. The methods may be called from many goroutines.
type Set struct {
	roots  []*root
	byName map[string]*root
	live   bool
	sums   sums

	mu     sync.Mutex
	opened []*root // directories with a descriptor, the last used one last
}

// A root is one operand.
type root struct {
	name string // in front of every path below it; "" for the contents of . or /
	path string // without links when the Set was opened
	info fs.FileInfo

	// Of a directory; under the Set's mu.
	dir   *os.Root // nil: to be opened
	users int
}

// maxOpenDirs is the number of operands whose descriptors are kept although
// they are not in use.
const maxOpenDirs = 8

// Open returns the Set of the files and directories at paths. If live is true,
// a file may grow while it is read. The error names the path that cannot be
// offered. The caller closes the Set.
func Open(paths []string, live bool) (*Set, error) {
	s := &Set{live: live, byName: make(map[string]*root)}
	for _, p := range paths {
		r, err := openRoot(p)
		if err == nil && r.isDir() {
			_, err = s.acquire(r)
		}
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("push %s: %w", p, sys.Cause(err))
		}
		if r.isDir() {
			s.release(r)
		}
		s.roots = append(s.roots, r)
		s.byName[r.name] = r
	}
	return s, nil
}

// openRoot describes the operand p without keeping it open. A link that the
// user names is followed, as cp does; links further down stay links. The error
// is ErrNotAFile for a pipe, device or socket.
func openRoot(p string) (*root, error) {
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(real)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, ErrNotAFile
	}
	os.SameFile(info, info) // Windows reads the identity at the first comparison
	return &root{name: NameOf(p), path: real, info: info}, nil
}

// isDir reports whether the operand was a directory when the Set was opened.
func (r *root) isDir() bool { return r.info.IsDir() }

// errReplaced is about an operand whose name is another file's by now.
var errReplaced = errors.New("replaced by another file since the start")

// acquire returns the open directory of an operand, and opens it if release has
// closed it. The error is errReplaced if its path leads to another directory by
// now. The caller calls release, and does not close the directory.
func (s *Set) acquire(r *root) (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.dir == nil {
		dir, err := os.OpenRoot(r.path)
		if err != nil {
			return nil, err
		}
		info, err := dir.Stat(".")
		if err == nil && !os.SameFile(info, r.info) {
			err = errReplaced
		}
		if err != nil {
			_ = dir.Close()
			return nil, err
		}
		r.dir = dir
	}
	s.opened = append(slices.DeleteFunc(s.opened, func(o *root) bool { return o == r }), r)
	r.users++
	return r.dir, nil
}

// release ends one use of an operand's directory, which acquire began. Beyond
// maxOpenDirs open directories, it closes those unused for longest.
func (s *Set) release(r *root) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.users--
	for i := 0; len(s.opened) > maxOpenDirs && i < len(s.opened); {
		if s.opened[i].users > 0 {
			i++
			continue
		}
		s.opened[i].close()
		s.opened = slices.Delete(s.opened, i, i+1)
	}
}

// close closes the directory of an operand; acquire opens it again. The caller
// holds the Set's mu, and the operand has no users.
func (r *root) close() {
	_ = r.dir.Close()
	r.dir = nil
}

// ErrNotAFile is the error for a path that is neither a file nor a directory.
var ErrNotAFile = errors.New("neither a file nor a directory: for a pipe or a device, say \"purr HOST PORT <PATH\"")

// NameOf returns the name under which Open offers the path p, its last
// component. It is "" for ., .. and /, whose entries are offered by their own
// names.
func NameOf(p string) string {
	switch name := filepath.Base(p); name {
	case ".", "..", string(filepath.Separator):
		return ""
	default:
		return name
	}
}

// Close closes the directories. Files that are open stay open. The Set is not
// used any more.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.opened {
		r.close()
	}
	s.opened = nil
}

// find returns the root that a path belongs to, and the path inside it ("." for
// the root itself); nil if the path is not offered. A root with a name takes
// precedence over an entry of the same name in the contents of ".".
func (s *Set) find(name string) (*root, string) {
	first, inside, deeper := strings.Cut(name, "/")
	switch r := s.byName[first]; {
	case r == nil:
	case !deeper:
		return r, "."
	case r.isDir():
		return r, filepath.FromSlash(inside)
	}
	return s.byName[""], filepath.FromSlash(name)
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
	return s.openCurrent(name)
}

// OpenListed is Open for an entry that Walk has returned. It takes fewer system
// calls if the path still names the same file; otherwise it opens the file that
// has the name now.
func (s *Set) OpenListed(e Entry) (*File, error) {
	if f, err := s.open(e.Path, e.info); err == nil {
		return f, nil
	}
	return s.openCurrent(e.Path)
}

// openCurrent opens the regular file that has the name now, even if another one
// had it during the walk. The error is ErrNotOffered for an entry of another
// type.
func (s *Set) openCurrent(name string) (*File, error) {
	info, err := s.lstat(name)
	if err != nil {
		return nil, sys.Cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNotOffered
	}
	return s.open(name, info)
}

// lstat describes the file, link or directory of an offered path, without
// following a link. An operand that is a file must be the one that Open found,
// else the error is errReplaced.
func (s *Set) lstat(name string) (fs.FileInfo, error) {
	r, inside := s.find(name)
	if r == nil {
		return nil, ErrNotOffered
	}
	if !r.isDir() {
		info, err := os.Lstat(r.path)
		// A new file or link may have the number of the one that was removed.
		if err == nil && (!os.SameFile(info, r.info) || !info.Mode().IsRegular()) {
			err = errReplaced
		}
		return info, err
	}
	dir, err := s.acquire(r)
	if err != nil {
		return nil, err
	}
	defer s.release(r)
	info, err := dir.Lstat(inside)
	if err != nil && !sys.IsErrno(err) { // a link on the way leads out of the directory
		err = ErrNotOffered
	}
	return info, err
}

// open opens the file name, which must be the same file (device and inode) as
// want: os.Root follows links that stay inside, and the links on the way to an
// operand may have changed. The error is errReplaced for another file.
func (s *Set) open(name string, want fs.FileInfo) (*File, error) {
	f, err := s.openName(name)
	if err != nil {
		return nil, sys.Cause(err)
	}
	file, err := newFile(name, f, s.live)
	if err == nil && !os.SameFile(file.info, want) {
		err = errReplaced
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return file, nil
}

// openName opens the path name for reading, without comparing it with an
// earlier description: open does that. A FIFO does not block the call. The
// caller closes the file.
func (s *Set) openName(name string) (*os.File, error) {
	const flags = os.O_RDONLY | sys.OpenNonblock
	r, inside := s.find(name)
	if r == nil {
		return nil, ErrNotOffered
	}
	if !r.isDir() {
		return os.OpenFile(r.path, flags|noFollow, 0)
	}
	dir, err := s.acquire(r)
	if err != nil {
		return nil, err
	}
	defer s.release(r)
	return dir.OpenFile(inside, flags, 0)
}

// IsDir reports whether name is an offered directory.
func (s *Set) IsDir(name string) bool {
	if relpath.Check(name, true) != nil {
		return false
	}
	info, err := s.lstat(name)
	return err == nil && info.IsDir()
}

// Read opens an entry that Walk has returned, and describes it as it is now in
// e. If it is at most SmallFile bytes, Read also returns its content and the
// SHA-256 of that; otherwise both are nil. The error is that of OpenListed or
// of ReadAll, such as a ChangedError.
func (s *Set) Read(listed Entry) (e Entry, content, sum []byte, err error) {
	f, err := s.OpenListed(listed)
	if err != nil {
		return Entry{}, nil, nil, err
	}
	defer f.Close()
	if f.Size > SmallFile {
		return f.Entry, nil, nil, nil
	}
	content = make([]byte, f.Size)
	sum, err = f.ReadAll(content)
	return f.Entry, content, sum, err
}
