package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"purr/internal/display"
	"purr/internal/sys"
)

// A folder is an open directory within the store. Every operation on an entry
// of it names one component, so whatever happens to the way that led here,
// nothing leads out of it. The one who opened it closes it.
type folder struct {
	root *os.Root
	dir  *os.File

	cache  *dirCache // where it goes back to; nil if close closes it
	users  int       // those who have borrowed it; lentFolders has the say
	opened time.Time
}

func (d *folder) close() {
	if d.cache != nil {
		d.cache.giveBack(d)
	} else {
		d.closeNow()
	}
}

// lentFolders keeps directories open into which one file after the other
// comes: to open one costs as much as to create a file in it. Not for long, and
// only to begin a file: what gives it its name opens the directory anew.
type dirCache struct {
	mu     sync.Mutex
	byPath map[string]*folder
}

const (
	maxCachedDirs = 8
	cacheTime     = time.Second
)

// lend opens the directory dir of the store, or lends one that is open. The
// error is folder's; the borrower calls close.
func (s *Store) openDir(dir string) (*folder, error) {
	l := &s.dirs
	l.mu.Lock()
	if d := l.byPath[dir]; d != nil && time.Since(d.opened) < cacheTime && d.isThere() {
		d.users++
		l.mu.Unlock()
		return d, nil
	}
	l.mu.Unlock()
	s.dirs.evict(dir)
	d, err := s.folder(dir)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byPath[dir] != nil {
		return d, nil // somebody was faster
	}
	for path, old := range l.byPath {
		if len(l.byPath) >= maxCachedDirs && old.users == 0 {
			l.evictLocked(path)
		}
	}
	if len(l.byPath) < maxCachedDirs {
		d.cache, d.users, d.opened = l, 1, time.Now()
		l.byPath[dir] = d
	}
	return d, nil
}

// isThere reports whether nobody has removed the directory.
func (d *folder) isThere() bool {
	info, err := d.dir.Stat()
	return err == nil && !removed(info)
}

// giveBack ends one use of a folder, which is closed with the last one unless
// it may be lent again.
func (l *dirCache) giveBack(d *folder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.users--; d.users == 0 && d.opened.IsZero() {
		d.closeNow()
	}
}

// forget lends a directory no more.
func (l *dirCache) evict(dir string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.evictLocked(dir)
}

func (l *dirCache) evictLocked(dir string) {
	d := l.byPath[dir]
	if d == nil {
		return
	}
	delete(l.byPath, dir)
	if d.opened = (time.Time{}); d.users == 0 {
		d.closeNow()
	}
}

// forgetAll closes what nobody has borrowed.
func (l *dirCache) evictAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for dir := range l.byPath {
		l.evictLocked(dir)
	}
}

func (d *folder) closeNow() {
	_ = d.root.Close()
	_ = d.dir.Close()
}

// folder opens the directory dir of the store, "." for the top. The error is
// fs.ErrNotExist if it is not there, and a refusal if something else is.
func (s *Store) folder(dir string) (*folder, error) {
	root, err := s.root.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		// A link that leads nowhere is in the way of a directory, too.
		if r := s.obstacle(dir); r != nil {
			return nil, r
		}
		return nil, err
	}
	if err != nil {
		if r := s.obstacle(dir); r != nil {
			return nil, r
		}
		return nil, diskError(err)
	}
	d, err := newFolder(root)
	if err != nil {
		return nil, diskError(err)
	}
	return d, nil
}

// newFolder opens the directory of root, which it owns: also if it fails.
func newFolder(root *os.Root) (*folder, error) {
	f, err := root.OpenFile(".", os.O_RDONLY|sys.OpenNonblock, 0) // O_NONBLOCK spares Go its tries to poll a directory
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return &folder{root: root, dir: f}, nil
}

// obstacle is the refusal for the first component of dir that is not a
// directory, nil if there is none.
func (s *Store) obstacle(dir string) *Error {
	for i := range len(dir) + 1 {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		info, err := s.root.Lstat(dir[:i])
		switch {
		case err != nil:
			return nil
		case info.Mode()&fs.ModeSymlink != 0:
			if at, err := s.root.Stat(dir[:i]); err != nil || !at.IsDir() {
				return errorf(Forbidden, "symbolic link in the way: %s", display.Quote(dir[:i]))
			}
		case !info.IsDir():
			return errorf(Conflict, "not a directory: %s", display.Quote(dir[:i]))
		}
	}
	return nil
}

// makeFolder opens the directory dir of the store and creates what is missing
// of it.
func (s *Store) makeFolder(dir string) (*folder, error) {
	for range 3 { // somebody may remove it meanwhile
		d, err := s.folder(dir)
		if !errors.Is(err, fs.ErrNotExist) {
			return d, err
		}
		for i := range len(dir) + 1 {
			if i < len(dir) && dir[i] != '/' {
				continue
			}
			if err := s.makeDir(dir[:i]); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, diskError(err)
			}
		}
	}
	return nil, errorf(Conflict, "directory removed by somebody else: %s", display.Quote(dir))
}

// makeDir creates one directory and remembers that it is the store's own, and
// that its name is yet to be brought onto stable storage.
func (s *Store) makeDir(dir string) error {
	if err := s.root.Mkdir(dir, 0o777); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.createdDirs[s.sum(dir)] = struct{}{}
	s.unsynced[path.Dir(dir)] = struct{}{}
	return nil
}

// dir creates the directory path if it is not there. Mode and time are set only
// where this store has created it, also by begin; zero values are not set. The
// caller names a directory after everything that is in it: a later entry would
// change its time, and the mode may forbid it.
func (s *Store) Mkdir(path string, mode fs.FileMode, modTime time.Time) error {
	if err := s.checkName(path); err != nil {
		return err
	}
	d, err := s.makeFolder(path)
	if err != nil {
		return err
	}
	defer d.close()
	s.mu.Lock()
	_, made := s.createdDirs[s.sum(path)]
	s.mu.Unlock()
	if !made {
		return nil
	}
	if mode != 0 {
		if err := setMode(d.dir, permissions(mode, s.umask)); err != nil {
			return diskError(err)
		}
	}
	if !modTime.IsZero() {
		if err := d.root.Chtimes(".", time.Time{}, modTime); err != nil {
			return diskError(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsynced[path] = struct{}{}
	delete(s.createdDirs, s.sum(path)) // it stays, also if nothing comes into it
	delete(s.emptyDirs, path)
	return nil
}

// link creates a symbolic link that stays inside the store. It never replaces
// anything; the same link being there already is fine. Links come last: what is
// received later would follow them.
func (s *Store) Symlink(p, target string) error {
	if err := s.checkName(p); err != nil {
		return err
	}
	if err := s.checkTarget(p, target); err != nil {
		return err
	}
	dir, base := splitPath(p)
	d, err := s.makeFolder(dir)
	if err != nil {
		return err
	}
	defer d.close()
	// ".." climbs from where the link really is, so it must be where its name says.
	if s.passesLink(dir) {
		return errOutside()
	}
	if info, err := d.root.Lstat(base); err == nil {
		if old, err := d.root.Readlink(base); info.Mode()&fs.ModeSymlink != 0 && err == nil && old == target {
			return nil
		}
		return errExists()
	}
	// Other links that the target passes must not lead outside either.
	if _, err := s.root.Stat(path.Join(dir, target)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errOutside()
	}
	if err := d.root.Symlink(target, base); err != nil {
		return diskError(err)
	}
	s.mu.Lock()
	s.unsynced[dir] = struct{}{}
	s.mu.Unlock()
	return nil
}

// passesLink reports whether a component of dir is a symbolic link.
func (s *Store) passesLink(dir string) bool {
	for dir != "." {
		if info, err := s.root.Lstat(dir); err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return true
		}
		dir = path.Dir(dir)
	}
	return false
}

// existing returns the size of the regular file under a final name; ok is false
// if there is none.
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

// settle brings the directories and links that were created, and whose names
// no commit has covered, onto stable storage.
func (s *Store) Sync() error {
	s.mu.Lock()
	dirs := make([]string, 0, len(s.unsynced))
	for dir := range s.unsynced {
		dirs = append(dirs, dir)
	}
	s.mu.Unlock()
	return s.syncFolders(dirs, nil)
}

// within reports whether the directory dir is above, or the one of, path.
func within(path, dir string) bool {
	return dir == "." || path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}
