package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"purr/internal/display"
	"purr/internal/relpath"
	"purr/internal/sys"
)

// nearest opens the deepest existing directory on the way to dir. rest is the
// missing path below it, "" if dir exists. The error is an *Error if another
// entry is in the way.
func (s *Store) nearest(dir string) (r *os.Root, rest string, err error) {
	if r, err = s.root.OpenRoot("."); err != nil {
		return nil, "", diskError(err)
	}
	for rest = dir; rest != "" && rest != "."; {
		name, below, _ := strings.Cut(rest, "/")
		next, err := r.OpenRoot(name)
		if err != nil {
			next, err = s.passEntry(r, name, strings.TrimSuffix(dir[:len(dir)-len(below)], "/"), err)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return r, rest, nil
		}
		_ = r.Close()
		if err != nil {
			return nil, "", diskError(err)
		}
		r, rest = next, below
	}
	return r, "", nil
}

// passEntry opens the directory p of the Store, the entry name of r, which
// OpenRoot could not open for the reason err: a symbolic link may lead to a
// directory that is inside the Store but outside r. The error is
// fs.ErrNotExist if there is no such entry.
func (s *Store) passEntry(r *os.Root, name, p string, err error) (*os.Root, error) {
	info, statErr := r.Lstat(name)
	switch {
	case statErr != nil:
		return nil, statErr
	case info.Mode()&fs.ModeSymlink != 0:
		if next, err := s.root.OpenRoot(p); err == nil {
			return next, nil
		}
		return nil, errorf(Forbidden, "symbolic link in the way: %s", display.Quote(p))
	case !info.IsDir():
		return nil, errorf(Conflict, "not a directory: %s", display.Quote(p))
	case errors.Is(err, fs.ErrNotExist): // another upload has created it since
		return r.OpenRoot(name)
	}
	return nil, diskError(err)
}

// makeDirs opens the directory dir of the Store, and creates the missing ones
// on the way. With mkdirFollows, Mkdir is called for each later, and they are
// marked as incomplete until then. The caller holds dirMu for reading until the
// directory has an entry.
func (s *Store) makeDirs(dir string, mkdirFollows bool) (*dirHandle, error) {
	for range 3 { // another process may remove it meanwhile
		r, rest, err := s.nearest(dir)
		if err != nil {
			return nil, err
		}
		for rest != "" && err == nil {
			name, below, _ := strings.Cut(rest, "/")
			var next *os.Root
			err = s.makeDir(r, name, strings.TrimSuffix(dir[:len(dir)-len(below)], "/"), mkdirFollows)
			if err == nil || errors.Is(err, fs.ErrExist) { // another upload may be faster
				var openErr error
				if next, openErr = r.OpenRoot(name); openErr == nil {
					err = nil
				} else if err == nil {
					err = openErr
				}
			}
			_ = r.Close()
			r, rest = next, below
		}
		if err == nil {
			return newDirHandle(r)
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return nil, diskError(err)
		}
	}
	return nil, errorf(Conflict, "directory removed by somebody else: %s", display.Quote(dir))
}

// incomplete is the mode of a directory until Mkdir is called for it. After a
// cut, a later run recognises by it that Mkdir is pending: no other program
// makes a sticky directory without access for others.
const incomplete = fs.ModeSticky | 0o700

// isIncomplete reports whether info is of a directory that a Store of this user
// has created for files, and for which Mkdir was not called yet.
func (s *Store) isIncomplete(info fs.FileInfo) bool {
	return info.IsDir() && info.Mode()&(fs.ModePerm|fs.ModeSticky) == incomplete && sameOwner(info, s.probeInfo)
}

// makeDir creates the directory p of the Store, the entry name of r, and
// records it as created here and its name as unsynced.
func (s *Store) makeDir(r *os.Root, name, p string, mkdirFollows bool) error {
	if err := s.charge(0, 1); err != nil {
		return err
	}
	mode := fs.ModePerm
	if mkdirFollows {
		mode = incomplete.Perm()
	}
	if err := r.Mkdir(name, mode); err != nil {
		s.refund(0, 1)
		return err
	}
	if mkdirFollows {
		if err := setDirMode(r, name, incomplete); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.createdDirs[s.hashPath(p)] = struct{}{}
	s.unsynced[path.Dir(p)] = struct{}{}
	return nil
}

// setDirMode sets the permissions and the sticky bit of the directory name of
// r. It keeps the set-group-ID bit, which a new directory inherits.
func setDirMode(r *os.Root, name string, mode fs.FileMode) error {
	f, err := r.OpenFile(name, os.O_RDONLY|sys.OpenNonblock, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errorf(Conflict, "not a directory: %s", display.Quote(name))
	}
	return setMode(f, mode|info.Mode()&fs.ModeSetgid)
}

// removeEmpty removes dir and the directories above it that were created here,
// as far as they are empty and Mkdir was not called for them.
func (s *Store) removeEmpty(dir string) {
	names := s.createdOnTheWay(dir)
	if len(names) == 0 {
		return
	}
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	chain := make([]*os.Root, 0, len(names)) // the parents of the names
	defer func() {
		for _, r := range chain {
			_ = r.Close()
		}
	}()
	r, err := s.root.OpenRoot(path.Dir(names[0]))
	for _, name := range names {
		if err != nil {
			break
		}
		chain = append(chain, r)
		r, err = r.OpenRoot(path.Base(name))
	}
	if err == nil {
		_ = r.Close()
	}
	for i := len(names) - 1; i >= 0; i-- {
		s.dirs.evict(names[i]) // Windows removes no directory that is open
		var gone bool
		if i < len(chain) {
			gone = removeDir(chain[i], path.Base(names[i]))
			_ = chain[i].Close()
			chain = chain[:i]
		} else { // out of descriptors, or gone
			gone = removeDir(s.root, names[i])
		}
		if !gone {
			return
		}
		s.forgetDir(names[i])
	}
}

// createdOnTheWay returns the paths of the directories that were created here
// on the way to dir, without those above one that was not.
func (s *Store) createdOnTheWay(dir string) (paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for end := len(dir); end > 0 && dir != "."; end = strings.LastIndexByte(dir[:end], '/') {
		if _, ok := s.createdDirs[s.hashPath(dir[:end])]; ok {
			paths = append(paths, dir[:end])
		} else if paths != nil {
			break
		}
	}
	slices.Reverse(paths)
	return paths
}

// forgetDir undoes makeDir for a directory that was removed.
func (s *Store) forgetDir(dir string) {
	s.refund(0, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.createdDirs, s.hashPath(dir))
	delete(s.unsynced, dir)
}

// removeDir removes an empty directory, but no other entry that has replaced
// it. It reports whether there is none any more.
func removeDir(r *os.Root, name string) bool {
	info, err := r.Lstat(name)
	if err == nil && info.IsDir() {
		err = r.Remove(name)
	}
	return err == nil && info.IsDir() || errors.Is(err, fs.ErrNotExist)
}

// Mkdir creates the directory path and those above it, unless they exist. If
// this Store has created the directory, for a file or now, or an earlier one
// for files that were cut, it gets the permissions and the time, where they are
// not zero. So a directory comes after its entries: a later entry would change
// its time, and the permissions may forbid it. The error is an *Error.
func (s *Store) Mkdir(path string, mode fs.FileMode, modTime time.Time) error {
	if err := s.checkName(path); err != nil {
		return err
	}
	err := s.mkdir(path, mode, modTime)
	if err != nil {
		s.removeEmpty(path)
	}
	return err
}

// mkdir is Mkdir without the check of the name and without the removal of empty
// directories after a failure. It holds dirMu meanwhile.
func (s *Store) mkdir(path string, mode fs.FileMode, modTime time.Time) error {
	s.dirMu.RLock()
	defer s.dirMu.RUnlock()
	d, err := s.makeDirs(path, true)
	if err != nil {
		return err
	}
	defer d.close()
	info, err := d.dir.Stat()
	if err != nil {
		return diskError(err)
	}
	s.mu.Lock()
	_, created := s.createdDirs[s.hashPath(path)]
	s.mu.Unlock()
	if !created && !s.isIncomplete(info) {
		return nil
	}
	if mode == 0 {
		mode = fs.ModePerm
	}
	if err := setDirMode(d.root, ".", permissions(mode, s.umask)); err != nil {
		return diskError(err)
	}
	if !modTime.IsZero() {
		if err := s.timeSet(path, d.root.Chtimes(".", time.Time{}, representable(modTime))); err != nil {
			return diskError(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsynced[path] = struct{}{}
	delete(s.createdDirs, s.hashPath(path)) // it stays, even if empty
	return nil
}

// Symlink creates a symbolic link whose target is inside the Store. It replaces
// nothing; if the same link exists, it does nothing. Links come last: files
// that arrive later would follow them. The error is an *Error.
func (s *Store) Symlink(p, target string) error {
	if err := s.checkName(p); err != nil {
		return err
	}
	if err := s.checkTarget(p, target); err != nil {
		return err
	}
	dir, base := splitPath(p)
	err := s.symlink(dir, base, target)
	if err != nil {
		s.removeEmpty(dir)
	}
	return err
}

// symlink creates the link base to target in the directory dir: Symlink after
// the checks of the names. It refuses a target that leaves the Store by way of
// another link.
func (s *Store) symlink(dir, base, target string) error {
	s.dirMu.RLock()
	defer s.dirMu.RUnlock()
	d, err := s.makeDirs(dir, true)
	if err != nil {
		return err
	}
	defer d.close()
	// ".." climbs from the real directory of the link, so no component of its
	// path may be a link.
	if s.passesLink(dir) {
		return errOutside()
	}
	if info, err := d.root.Lstat(base); err == nil {
		if old, err := d.root.Readlink(base); info.Mode()&fs.ModeSymlink != 0 && err == nil && old == target {
			return nil
		}
		return errExists()
	}
	left := relpath.RealDirs(path.Join(dir, base), target)
	if slices.ContainsFunc(left, s.passesLink) {
		return errOutside()
	}
	// The links that the target passes must not lead outside, either.
	if _, err := s.root.Stat(path.Join(dir, target)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errOutside()
	}
	if err := s.charge(0, 1); err != nil {
		return err
	}
	if err := d.root.Symlink(target, base); err != nil {
		s.refund(0, 1)
		return diskError(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsynced[dir] = struct{}{}
	for _, dir := range left { // these stay, even if empty, so that no link takes their place
		delete(s.createdDirs, s.hashPath(dir))
	}
	return nil
}

// passesLink reports whether dir or a directory above it is a symbolic link or
// does not exist, so that ".." from dir does not lead to its parent by name.
func (s *Store) passesLink(dir string) bool {
	for dir != "." {
		if info, err := s.root.Lstat(dir); err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return true
		}
		dir = path.Dir(dir)
	}
	return false
}

// within reports whether path is the directory dir or below it.
func within(path, dir string) bool {
	return dir == "." || path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}
