package store

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"purr/internal/display"
)

// obstacle returns the error for the first component of dir that is no
// directory, nil if there is none.
func (s *Store) obstacle(dir string) error {
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

// makeDirs opens the directory dir of the Store, and creates what is missing.
func (s *Store) makeDirs(dir string) (*dirHandle, error) {
	for range 3 { // another process may remove it meanwhile
		d, err := s.openDir(dir)
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

// makeDir creates one directory, and records it as created here and its name as
// unsynced.
func (s *Store) makeDir(dir string) error {
	if err := s.root.Mkdir(dir, 0o777); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.createdDirs[s.hashPath(dir)] = struct{}{}
	s.unsynced[path.Dir(dir)] = struct{}{}
	return nil
}

// Mkdir creates the directory path and those above it, unless they exist. If
// this Store has created the directory, for a file or now, it gets the
// permissions and the time, where they are not zero. So a directory comes after
// its entries: a later entry would change its time, and the permissions may
// forbid it. The error is an *Error.
func (s *Store) Mkdir(path string, mode fs.FileMode, modTime time.Time) error {
	if err := s.checkName(path); err != nil {
		return err
	}
	d, err := s.makeDirs(path)
	if err != nil {
		return err
	}
	defer d.close()
	s.mu.Lock()
	_, created := s.createdDirs[s.hashPath(path)]
	s.mu.Unlock()
	if !created {
		return nil
	}
	if mode != 0 {
		if err := setMode(d.dir, permissions(mode, s.umask)); err != nil {
			return diskError(err)
		}
	}
	if !modTime.IsZero() {
		if err := d.root.Chtimes(".", time.Time{}, representable(modTime)); err != nil {
			return diskError(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsynced[path] = struct{}{}
	delete(s.createdDirs, s.hashPath(path)) // it stays, even if empty
	delete(s.emptyDirs, path)
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
	d, err := s.makeDirs(dir)
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
	// The links that the target passes must not lead outside, either.
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

// within reports whether path is the directory dir or below it.
func within(path, dir string) bool {
	return dir == "." || path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}
