package main

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
	"purr/internal/relpath"
	"sync"
	"time"
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
type store struct {
	storeOptions
	name  string // as the user gave it
	root  *os.Root
	top   *folder     // the directory itself
	info  fs.FileInfo // of top
	probe fs.FileInfo // of a file that was created here: owner and mode are not ours to choose everywhere
	umask fs.FileMode // what files created here lose of their mode
	seed  maphash.Seed
	lent  lentFolders

	// nameless: small files have no name, not even a partial one, until they
	// are whole.
	nameless bool

	mu       sync.Mutex
	claimed  map[uint64]struct{} // the sums of the paths being received
	made     map[uint64]struct{} // the sums of the directories that were created
	unsynced map[string]struct{} // directories with new names that are not on stable storage yet
	hollow   map[string]struct{} // directories that lost a file that was to come: to be removed if empty
	kept     map[string]int64    // how much of taken a partial upload of a path holds
	taken    int64               // bytes that count against maxSize
	promised map[uint64]int64    // bytes that files under way have still to take of each file system
	proofs   map[string]proof

	commits commitQueue
}

type storeOptions struct {
	force    bool  // a file replaces one of the same name
	rename   bool  // a file whose name is taken gets a number
	noResume bool  // no partial file is kept, or gone on with
	hidden   bool  // components may begin with a dot
	maxSize  int64 // of all that is taken in together, in bytes; 0: no limit
}

// An arrival is what is known of a file before its content comes.
type arrival struct {
	path    string
	size    int64       // in bytes, -1 if not known
	mode    fs.FileMode // its permissions, with modeGiven if there are none; 0: not given, 0666 then
	modTime time.Time   // zero: not given
	digest  []byte      // SHA-256 of the whole file, nil if it is told at the end or not at all
	offset  int64       // where the content begins: behind what a partial upload holds, else 0
}

// modeGiven marks a mode that somebody gave, also one without any permission.
const modeGiven = fs.ModeIrregular

// A stored tells what is in the directory now.
type stored struct {
	path      string // differs from the one asked for if that was taken, with rename
	size      int64
	digest    []byte
	identical bool // it was there before
}

// openStore opens the directory dir, which must exist and let files be created
// in it. The error is the cause; the caller names the directory, and closes the
// store once everything that was begun has ended.
func openStore(dir string, o storeOptions) (*store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	s := &store{
		storeOptions: o, name: dir, root: root, seed: maphash.MakeSeed(),
		claimed: map[uint64]struct{}{}, made: map[uint64]struct{}{},
		unsynced: map[string]struct{}{}, hollow: map[string]struct{}{},
		kept: map[string]int64{}, promised: map[uint64]int64{}, proofs: map[string]proof{},
		lent: lentFolders{byPath: map[string]*folder{}},
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
	s.nameless = s.top.takesNameless()
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
func (s *store) close() error {
	s.commits.idle.Wait()
	for dir := range s.hollow {
		for ; dir != "."; dir = path.Dir(dir) {
			if _, ok := s.made[s.sum(dir)]; !ok || !s.removeDir(dir) {
				break
			}
		}
	}
	err := s.settle()
	s.lent.forgetAll()
	s.top.close()
	return errors.Join(err, s.root.Close())
}

// removeDir removes an empty directory, but nothing that somebody else has put
// in its place; false if it is still there.
func (s *store) removeDir(dir string) bool {
	info, err := s.root.Lstat(dir)
	return err == nil && info.IsDir() && s.root.Remove(dir) == nil
}

func (s *store) sum(path string) uint64 { return maphash.String(s.seed, path) }

// claim reserves path for one arrival; false if another is under way.
func (s *store) claim(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.sum(path)
	if _, ok := s.claimed[sum]; ok {
		return false
	}
	s.claimed[sum] = struct{}{}
	return true
}

func (s *store) unclaim(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claimed, s.sum(path))
}

// take counts n bytes against maxSize, which they may exceed together: then
// nothing is counted.
func (s *store) take(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.maxSize - s.taken; s.maxSize > 0 && n > left {
		return errorf(TooLarge, "over --max-size %d: %d bytes left", s.maxSize, left)
	}
	s.taken += n
	return nil
}

// giveBack undoes take.
func (s *store) giveBack(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken -= n
}

// begin prepares for the content of a file. It returns an incoming, which the
// caller ends by commit, cut or drop; or what is stored, if the same file is
// there already (size and given digest agree, also with force); or a refusal.
func (s *store) begin(a arrival) (*incoming, *stored, error) {
	if err := s.checkName(a.path); err != nil {
		return nil, nil, err
	}
	in := &incoming{arrival: a, store: s}
	in.dir, in.base = splitPath(a.path)
	d, err := s.lend(in.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if d != nil {
		defer d.close()
		if same, err := in.look(d); same != nil || err != nil {
			return nil, same, err
		}
	}
	if !s.claim(a.path) {
		return nil, nil, errorf(Conflict, "being received already")
	}
	err = in.prepare(d)
	if d != nil && errors.Is(err, fs.ErrNotExist) { // removed by somebody since it was opened
		s.lent.forget(in.dir)
		s.giveBack(in.taken)
		err = in.prepare(nil)
	}
	if err != nil {
		in.over()
		return nil, nil, diskError(err)
	}
	return in, nil, nil
}

// look returns what is in d already if it is what is to arrive, and a refusal
// if the name cannot be had.
func (in *incoming) look(d *folder) (*stored, error) {
	info, err := d.root.Lstat(in.base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, diskError(err)
	case info.Mode()&fs.ModeSymlink != 0:
		switch {
		case in.store.rename:
			return nil, nil
		case in.store.force:
			return nil, errorf(Exists, "exists, as a symbolic link: --force replaces files only")
		}
		return nil, errExists()
	case !info.Mode().IsRegular():
		return nil, errorf(Conflict, "not a regular file there")
	case in.digest != nil && in.size == info.Size() && in.isThere(d):
		return &stored{path: in.path, size: in.size, digest: in.digest, identical: true}, nil
	case in.store.force || in.store.rename:
		return nil, nil
	}
	return nil, errExists()
}

// isThere reports whether the file under the final name is the one that is to
// arrive. Nothing but that is ever told about a file that was not received here.
func (in *incoming) isThere(d *folder) bool {
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
	n, err := hashFile(h, f, in.size+1)
	return err == nil && n == in.size && bytes.Equal(h.Sum(nil), in.digest)
}
