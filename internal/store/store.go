// Package store receives files into a directory.
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
	"hash/maphash"
	"io/fs"
	"os"
	"sync"
	"time"

	"purr/internal/relpath"
)

// A Store is a directory that receives files. Its methods are safe for
// concurrent use.
type Store struct {
	options   Options
	path      string // as the caller gave it
	root      *os.Root
	top       *dirHandle  // the directory itself
	info      fs.FileInfo // of top
	probeInfo fs.FileInfo // of a file created here: some file systems choose owner and mode
	umask     fs.FileMode // permissions that files created here lack
	unnamed   bool        // small files have no name until they are complete
	seed      maphash.Seed

	// The system calls, except in tests:
	syncFile    func(*os.File) error // syncFile
	syncEntries func(*os.File) error // syncDir

	dirs    dirCache
	commits commitQueue

	// dirMu is held for reading from the creation of directories to that of
	// their first entry, and for writing while empty ones are removed.
	dirMu sync.RWMutex

	lockMu sync.Mutex // held while partial files are locked, and by queries until they are unlocked

	mu           sync.Mutex
	receiving    map[uint64]struct{}   // hashed paths of the uploads
	createdDirs  map[uint64]struct{}   // hashed paths of directories created here
	checkedDirs  map[uint64]struct{}   // hashed paths that distrustDirs has seen
	unsynced     map[string]struct{}   // directories whose new names may not be on stable storage
	suspended    map[string]int64      // bytes of charged that belong to suspended uploads, by path
	charged      int64                 // bytes that count against Options.MaxSize
	entries      int64                 // entries without content that were created here
	reserved     map[uint64]int64      // bytes that uploads still have to write, by device
	prefixHashes map[string]prefixHash // by path; at most maxPrefixHashes
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
	s := &Store{
		options: o, path: dir, root: root, seed: maphash.MakeSeed(), syncFile: syncFile, syncEntries: syncDir,
		receiving: map[uint64]struct{}{}, createdDirs: map[uint64]struct{}{},
		checkedDirs: map[uint64]struct{}{}, unsynced: map[string]struct{}{},
		suspended: map[string]int64{}, reserved: map[uint64]int64{}, prefixHashes: map[string]prefixHash{},
	}
	if s.probeInfo, err = probe(root); err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("cannot create a file: %w", errors.Unwrap(err))
	}
	// umask(2) cannot read the mask without changing it for other threads.
	s.umask = fs.ModePerm &^ s.probeInfo.Mode()
	if s.top, err = s.openDir("."); err == nil {
		s.info, err = s.top.dir.Stat()
	}
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	s.unnamed = s.top.supportsUnnamed()
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
	if removeErr := root.Remove(name); err == nil {
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
	s.dirs.evictAll()
	s.top.close()
	return errors.Join(err, s.root.Close())
}

// hashPath returns the key of path in a set, so that a million paths stay
// small.
func (s *Store) hashPath(path string) uint64 { return maphash.String(s.seed, path) }

// claim reserves path for one upload, and reports whether it did: false while
// another upload has it. unclaim undoes it.
func (s *Store) claim(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.hashPath(path)
	if _, ok := s.receiving[key]; ok {
		return false
	}
	s.receiving[key] = struct{}{}
	return true
}

// unclaim undoes claim.
func (u *Upload) unclaim() {
	if !u.claimed {
		return
	}
	u.claimed = false
	s := u.store
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.receiving, s.hashPath(u.want.Path))
}

// Empty files, directories and links count against Options.MaxSize as well,
// except the first ones: a limit in bytes would not limit them otherwise.
const (
	freeEntries = 100
	entrySize   = 256 // bytes, about an inode
)

// sizeOf returns the bytes that count against Options.MaxSize for so many bytes
// of content, and entries without content.
func sizeOf(bytes, entries int64) int64 { return bytes + entrySize*max(0, entries-freeEntries) }

// charge counts bytes of content, and entries without content (empty files,
// links, directories), against Options.MaxSize. If they exceed it, it counts
// nothing and returns an *Error.
func (s *Store) charge(bytes, entries int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkMaxSizeLocked(bytes, entries); err != nil {
		return err
	}
	s.charged += bytes
	s.entries += entries
	return nil
}

// checkMaxSizeLocked returns an error if so many bytes, and entries without
// content, would exceed Options.MaxSize. The caller holds the mutex.
func (s *Store) checkMaxSizeLocked(bytes, entries int64) error {
	left := s.options.MaxSize - sizeOf(s.charged, s.entries)
	if s.options.MaxSize > 0 && sizeOf(s.charged+bytes, s.entries+entries) > s.options.MaxSize {
		e := errorf(TooLarge, "over the limit of %d bytes: %d bytes left", s.options.MaxSize, left)
		e.Way, e.Limit, e.Left = ByLimit, s.options.MaxSize, left
		return s.avoidable(e)
	}
	return nil
}

// refund undoes charge.
func (s *Store) refund(bytes, entries int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.charged -= bytes
	s.entries -= entries
}

// Existing returns the size in bytes of the regular file path. ok is false if
// there is none.
func (s *Store) Existing(path string) (size int64, ok bool) {
	if s.checkName(path) != nil {
		return 0, false
	}
	info, err := s.root.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Size(), true
}
