package store

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"purr/internal/relpath"
)

// This file and its siblings are the directory that --pull receives into. What
// they promise:
//
//   - Nothing outside the directory is read, written or created, whatever names
//     and links there are, and whoever renames directories meanwhile: every
//     path goes through os.Root, and what is done to an entry is done to one
//     component of an open directory.
//   - Under a final name stands a whole file or nothing. What arrives is
//     collected in a partial file beside it (".purr-part-" and 16 hexadecimal
//     digits), which gets its final name as the last step.
//   - commit returns when content, name and directory are on stable storage.
//   - Nothing is replaced without force, and a symbolic link never: with force,
//     too, a name that is a link counts as one that exists.

// A store is a directory that receives files. Its methods may be called from
// many goroutines.
type Store struct {
	Options
	path  string // as the user gave it
	root  *os.Root
	top   *folder     // the directory itself
	info  fs.FileInfo // of top
	probe fs.FileInfo // of a file that was created here: owner and mode are not ours to choose everywhere
	umask fs.FileMode // what files created here lose of their mode
	seed  maphash.Seed
	dirs  dirCache

	// nameless: small files have no name, not even a partial one, until they
	// are whole.
	unnamed bool

	mu           sync.Mutex
	claimed      map[uint64]struct{} // the sums of the paths being received
	createdDirs  map[uint64]struct{} // the sums of the directories that were created
	unsynced     map[string]struct{} // directories with new names that are not on stable storage yet
	emptyDirs    map[string]struct{} // directories that lost a file that was to come: to be removed if empty
	suspended    map[string]int64    // how much of taken a partial upload of a path holds
	charged      int64               // bytes that count against maxSize
	reserved     map[uint64]int64    // bytes that files under way have still to take of each file system
	prefixHashes map[string]prefixHash

	commits commitQueue
}

type Options struct {
	Force    bool  // a file replaces one of the same name
	Rename   bool  // a file whose name is taken gets a number
	NoResume bool  // no partial file is kept, or gone on with
	Hidden   bool  // components may begin with a dot
	MaxSize  int64 // of all that is taken in together, in bytes; 0: no limit
}

// An arrival is what is known of a file before its content comes.
type File struct {
	Path    string
	Size    int64       // in bytes, -1 if not known
	Mode    fs.FileMode // its permissions, with modeGiven if there are none; 0: not given, 0666 then
	ModTime time.Time   // zero: not given
	Digest  []byte      // SHA-256 of the whole file, nil if it is told at the end or not at all
	Offset  int64       // where the content begins: behind what a partial upload holds, else 0
}

// modeGiven marks a mode that somebody gave, also one without any permission.
const ModeGiven = fs.ModeIrregular

// A stored tells what is in the directory now.
type Stored struct {
	Path      string // differs from the one asked for if that was taken, with rename
	Size      int64
	Digest    []byte
	Identical bool // it was there before
}

// openStore opens the directory dir, which must exist and let files be created
// in it. The error is the cause; the caller names the directory, and closes the
// store once everything that was begun has ended.
func Open(dir string, o Options) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	s := &Store{
		Options: o, path: dir, root: root, seed: maphash.MakeSeed(),
		claimed: map[uint64]struct{}{}, createdDirs: map[uint64]struct{}{},
		unsynced: map[string]struct{}{}, emptyDirs: map[string]struct{}{},
		suspended: map[string]int64{}, reserved: map[uint64]int64{}, prefixHashes: map[string]prefixHash{},
		dirs: dirCache{byPath: map[string]*folder{}},
	}
	if s.probe, err = createProbe(root); err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("cannot create a file: %w", errors.Unwrap(err))
	}
	// The umask cannot be asked for without changing it for other threads.
	s.umask = fs.ModePerm &^ s.probe.Mode()
	if s.top, err = s.folder("."); err == nil {
		s.info, err = s.top.dir.Stat()
	}
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	s.unnamed = s.top.supportsUnnamed()
	return s, nil
}

// createProbe creates a file with all permissions, and removes it again. It
// returns what became of it.
func createProbe(root *os.Root) (fs.FileInfo, error) {
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

func randomPartial() string { return relpath.PartialPrefix + rand.Text()[:16] }

// close removes the directories that were created for files that did not come,
// and closes the store.
func (s *Store) Close() error {
	s.commits.idle.Wait()
	for dir := range s.emptyDirs {
		for ; dir != "."; dir = path.Dir(dir) {
			if _, ok := s.createdDirs[s.sum(dir)]; !ok || !s.removeDir(dir) {
				break
			}
		}
	}
	err := s.Sync()
	s.dirs.evictAll()
	s.top.close()
	return errors.Join(err, s.root.Close())
}

// removeDir removes an empty directory, but nothing that somebody else has put
// in its place; false if it is still there.
func (s *Store) removeDir(dir string) bool {
	info, err := s.root.Lstat(dir)
	return err == nil && info.IsDir() && s.root.Remove(dir) == nil
}

func (s *Store) sum(path string) uint64 { return maphash.String(s.seed, path) }

// claim reserves path for one arrival; false if another is under way.
func (s *Store) claim(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.sum(path)
	if _, ok := s.claimed[sum]; ok {
		return false
	}
	s.claimed[sum] = struct{}{}
	return true
}

func (s *Store) unclaim(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claimed, s.sum(path))
}

// take counts n bytes against maxSize, which they may exceed together: then
// nothing is counted.
func (s *Store) charge(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.MaxSize - s.charged; s.MaxSize > 0 && n > left {
		return errorf(TooLarge, "over --max-size %d: %d bytes left", s.MaxSize, left)
	}
	s.charged += n
	return nil
}

// giveBack undoes take.
func (s *Store) refund(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.charged -= n
}

// begin prepares for the content of a file. It returns an incoming, which the
// caller ends by commit, cut or drop; or what is stored, if the same file is
// there already (size and given digest agree, also with force); or a refusal.
func (s *Store) Begin(a File) (*Upload, *Stored, error) {
	if err := s.checkName(a.Path); err != nil {
		return nil, nil, err
	}
	in := &Upload{File: a, store: s}
	in.dir, in.base = splitPath(a.Path)
	d, err := s.openDir(in.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if d != nil {
		defer d.close()
		if same, err := in.look(d); same != nil || err != nil {
			return nil, same, err
		}
	}
	if !s.claim(a.Path) {
		return nil, nil, errorf(Conflict, "being received already")
	}
	err = in.prepare(d)
	if d != nil && errors.Is(err, fs.ErrNotExist) { // removed by somebody since it was opened
		s.dirs.evict(in.dir)
		s.refund(in.charged)
		err = in.prepare(nil)
	}
	if err != nil {
		in.release()
		return nil, nil, diskError(err)
	}
	return in, nil, nil
}

// look returns what is in d already if it is what is to arrive, and a refusal
// if the name cannot be had.
func (in *Upload) look(d *folder) (*Stored, error) {
	info, err := d.root.Lstat(in.base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, diskError(err)
	case info.Mode()&fs.ModeSymlink != 0:
		switch {
		case in.store.Rename:
			return nil, nil
		case in.store.Force:
			return nil, errorf(Exists, "exists, as a symbolic link: --force replaces files only")
		}
		return nil, errExists()
	case !info.Mode().IsRegular():
		return nil, errorf(Conflict, "not a regular file there")
	case in.Digest != nil && in.Size == info.Size() && in.isThere(d):
		return &Stored{Path: in.Path, Size: in.Size, Digest: in.Digest, Identical: true}, nil
	case in.store.Force || in.store.Rename:
		return nil, nil
	}
	return nil, errExists()
}

// isThere reports whether the file under the final name is the one that is to
// arrive. Nothing but that is ever told about a file that was not received here.
func (in *Upload) isThere(d *folder) bool {
	f, err := openEntry(d, in.base, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	h := sha256.New()
	n, err := hashFile(h, f, in.Size+1)
	return err == nil && n == in.Size && bytes.Equal(h.Sum(nil), in.Digest)
}
