package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"purr/internal/display"
	"purr/internal/relpath"
	"purr/internal/sys"
)

// incomplete is the mode of a directory until Mkdir is called for it. After a
// cut, a later run recognises by it that Mkdir is pending: no other program
// makes a sticky directory without access for others.
const incomplete = fs.ModeSticky | 0o700

// isIncomplete reports whether info is of a directory that a Store of this user
// has created for files, and for which Mkdir was not called yet.
func (t *tree) isIncomplete(info fs.FileInfo) bool {
	return info.IsDir() && info.Mode()&(fs.ModePerm|fs.ModeSticky) == incomplete && sameOwner(info, t.owner)
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

// mkdir is Mkdir without the check of the name and without the removal of empty
// directories after a failure. It holds makeMu meanwhile.
func (t *tree) mkdir(path string, mode fs.FileMode, modTime time.Time) error {
	t.makeMu.RLock()
	defer t.makeMu.RUnlock()
	d, err := t.makeDirs(path, true)
	if err != nil {
		return err
	}
	defer d.close()
	info, err := d.dir.Stat()
	if err != nil {
		return diskError(err)
	}
	t.mu.Lock()
	created := t.created.has(path)
	t.mu.Unlock()
	if !created && !t.isIncomplete(info) {
		return nil
	}
	if mode == 0 {
		mode = fs.ModePerm
	}
	if err := setDirMode(d.root, ".", permissions(mode, t.umask)); err != nil {
		return diskError(err)
	}
	if !modTime.IsZero() {
		if err := t.options.timeSet(path, d.root.Chtimes(".", time.Time{}, representable(modTime))); err != nil {
			return diskError(err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unsynced[path] = struct{}{}
	t.created.remove(path) // it stays, even if empty
	return nil
}

// symlink creates the link base to target in the directory dir: Symlink after
// the checks of the names. It refuses a target that leaves the Store by way of
// another link.
func (t *tree) symlink(dir, base, target string) error {
	t.makeMu.RLock()
	defer t.makeMu.RUnlock()
	d, err := t.makeDirs(dir, true)
	if err != nil {
		return err
	}
	defer d.close()
	// ".." climbs from the real directory of the link, so no component of its
	// path may be a link.
	if t.passesLink(dir) {
		return errOutside()
	}
	if info, err := d.root.Lstat(base); err == nil {
		if old, err := d.root.Readlink(base); info.Mode()&fs.ModeSymlink != 0 && err == nil && old == target {
			return nil
		}
		return errExists()
	}
	left := relpath.RealDirs(path.Join(dir, base), target)
	if slices.ContainsFunc(left, t.passesLink) {
		return errOutside()
	}
	// The links that the target passes must not lead outside, either.
	if _, err := t.root.Stat(path.Join(dir, target)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errOutside()
	}
	if err := t.quota.charge(0, 1); err != nil {
		return err
	}
	if err := d.root.Symlink(target, base); err != nil {
		t.quota.refund(0, 1)
		return diskError(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unsynced[dir] = struct{}{}
	for _, dir := range left { // these stay, even if empty, so that no link takes their place
		t.created.remove(dir)
	}
	return nil
}

// passesLink reports whether dir or a directory above it is a symbolic link or
// does not exist, so that ".." from dir does not lead to its parent by name.
func (t *tree) passesLink(dir string) bool {
	for dir != "." {
		if info, err := t.root.Lstat(dir); err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return true
		}
		dir = path.Dir(dir)
	}
	return false
}
