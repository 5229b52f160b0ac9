// Package store receives files into a directory, or one RawFile under the name
// that the user has chosen.
//
// The directory is a trust boundary: the peer chooses names and content, and
// other programs may rename and link while a file arrives.
//
//   - Nothing outside the directory is read, written or created. Every path
//     goes through os.Root, and an operation on an entry names one component of
//     an open directory.
//   - A final name refers to a complete file or to nothing. The content is
//     collected in a partial file beside it, named ".purr-part-" and 16
//     hexadecimal digits, or in a file without a name (O_TMPFILE). The last
//     step gives it its final name.
//   - Commit returns when content, name and directory are on stable storage.
//   - Without Options.Force nothing is replaced, and a symbolic link never: a
//     name that is a link counts as taken. On the way to a name, links to
//     directories inside are followed.
//
// CreateAtomic is independent of a Store: it creates one file by a path that
// the user chose.
package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"purr/internal/relpath"
)

// A Store is a directory that receives files. Its methods are safe for
// concurrent use.
type Store struct {
	options Options
	path    string // as the caller gave it
	root    *os.Root
	unnamed bool // small files have no name until they are complete

	quota        *quota
	tree         *tree
	claims       claims
	reservations reservations
	partials     partials
	commits      commitQueue
}

// Options changes what a Store accepts. The zero value accepts every file whose
// name is free.
type Options struct {
	Force    bool // replace a regular file of the same name
	Rename   bool // give a file whose name is taken a number, as in "a.1.txt"
	NoResume bool // neither keep partial files nor continue them
	Hidden   bool // accept components that begin with a dot

	// MaxSize limits the bytes of all files together; 0: no limit. An empty file,
	// a directory and a link count as 256 bytes each after the first hundred.
	MaxSize int64

	// Word, if not nil, returns the text of an Error that has a Way, in place of
	// its Text. It may be called by several goroutines.
	Word func(*Error) string

	// TimeLost, if not nil, is called for a file or directory that keeps another
	// time of modification because the file system does not permit its own. It
	// may be called by several goroutines.
	TimeLost func(path string, err error)
}

// A File is the announcement of a file, before its content.
type File struct {
	Path    string      // relative, with slashes: package relpath
	Size    int64       // of the whole file in bytes; -1: unknown
	Mode    fs.FileMode // permissions, ModeGiven if there are none; 0: 0666
	ModTime time.Time   // zero: now
	Digest  []byte      // SHA-256 of the whole file; nil: unknown
	Offset  int64       // in bytes, where the content begins; see Partial

	// DirsFollow announces a call of Mkdir for each directory on the way, as the
	// end of its entries. Until then, a directory that is created for the file
	// is closed to other users.
	DirsFollow bool
}

// ModeGiven marks File.Mode as given, so that it can be without permissions.
const ModeGiven = fs.ModeIrregular

// A Stored describes a file that is in the directory.
type Stored struct {
	Path      string // differs from File.Path if Options.Rename has changed it
	Size      int64  // in bytes
	Digest    []byte // SHA-256
	Identical bool   // it was there before, and nothing was received
}

// Open opens the directory dir, which must exist and permit the creation of
// files. The error is the cause alone, without dir. The caller closes the Store
// after the last Upload has ended.
func Open(dir string, o Options) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	s := &Store{options: o, path: dir, root: root}
	s.quota = &quota{options: &s.options}
	owner, err := probe(root)
	if err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("cannot create a file: %w", errors.Unwrap(err))
	}
	if s.tree, err = newTree(root, owner, &s.options, s.quota); err != nil {
		_ = root.Close()
		return nil, err
	}
	s.partials.owner = owner
	s.commits.tree, s.commits.syncFile = s.tree, syncFile
	s.unnamed = s.tree.top.supportsUnnamed()
	return s, nil
}

// probe creates a file with all permissions, removes it, and returns the mode
// and owner that it had.
func probe(root *os.Root) (fs.FileInfo, error) {
	name := randomPartial()
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o777)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	_ = f.Close()
	if removeErr := remove(root, name); err == nil {
		err = removeErr
	}
	return info, err
}

// randomPartial returns a random name for a partial file, by which no later
// upload can find it.
func randomPartial() string { return relpath.PartialPrefix + rand.Text()[:16] }

// Close closes the Store. An error means that names may not be on stable
// storage.
func (s *Store) Close() error {
	s.commits.idle.Wait()
	err := s.Sync()
	s.tree.close()
	return errors.Join(err, s.root.Close())
}

// Sync brings the names of directories and links, which no Commit has covered,
// onto stable storage. The error is an *Error of the kind Unsynced.
func (s *Store) Sync() error { return s.tree.syncRest() }

// Existing returns the size in bytes of the regular file path. ok is false if
// there is none.
func (s *Store) Existing(path string) (size int64, ok bool) {
	if s.options.checkName(path) != nil {
		return 0, false
	}
	info, err := s.root.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Size(), true
}

// Mkdir creates the directory path and those above it, unless they exist. If
// this Store has created path, or an earlier one that was cut, Mkdir sets its
// permissions (0: 0777) and time (zero: no change). Other directories stay as
// they are. It comes after the entries of path: a later one would change the
// time, and the permissions may forbid it. The error is an *Error.
func (s *Store) Mkdir(path string, mode fs.FileMode, modTime time.Time) error {
	if err := s.options.checkName(path); err != nil {
		return err
	}
	err := s.tree.mkdir(path, mode, modTime)
	if err != nil {
		s.tree.removeEmpty(path)
	}
	return err
}

// Symlink creates a symbolic link whose target is inside the Store. It replaces
// nothing; if the same link exists, it does nothing. Links come last: files
// that arrive later would follow them. The error is an *Error.
func (s *Store) Symlink(p, target string) error {
	if err := s.options.checkName(p); err != nil {
		return err
	}
	if err := s.options.checkTarget(p, target); err != nil {
		return err
	}
	dir, base := splitPath(p)
	err := s.tree.symlink(dir, base, target)
	if err != nil {
		s.tree.removeEmpty(dir)
	}
	return err
}
