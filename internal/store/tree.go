package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"purr/internal/display"
)

// A tree is the directories of a Store. It creates the missing ones for files,
// removes those that stay empty, and knows which names may not be on stable
// storage. Any goroutine may use it.
type tree struct {
	options *Options
	quota   *quota
	root    *os.Root
	top     *dirHandle  // the directory itself
	info    fs.FileInfo // of top
	owner   fs.FileInfo // of a file created here: some file systems choose owner and mode
	umask   fs.FileMode // permissions that files created here lack
	cache   dirCache

	syncEntries func(*os.File) error // syncDir, except in tests

	// makeMu is held for reading from the creation of directories to that of
	// their first entry, and for writing while empty ones are removed.
	makeMu sync.RWMutex

	mu       sync.Mutex
	created  pathSet             // directories created here, unless they stay even if empty
	checked  pathSet             // directories that distrust has seen
	unsynced map[string]struct{} // directories whose new names may not be on stable storage
}

// newTree opens the directory root, which stays the caller's. owner describes a
// file that was created in it.
func newTree(root *os.Root, owner fs.FileInfo, o *Options, q *quota) (*tree, error) {
	t := &tree{options: o, quota: q, root: root, owner: owner, syncEntries: syncDir, unsynced: map[string]struct{}{}}
	// umask(2) cannot read the mask without changing it for other threads.
	t.umask = fs.ModePerm &^ owner.Mode()
	var err error
	if t.top, err = t.open("."); err != nil {
		return nil, err
	}
	if t.info, err = t.top.dir.Stat(); err != nil {
		t.top.close()
		return nil, err
	}
	return t, nil
}

// close closes the directories. None is in use.
func (t *tree) close() {
	t.cache.evictAll()
	t.top.close()
}

// open opens the directory dir of the Store, "." for the top. The error is
// fs.ErrNotExist if there is none, and an *Error if another entry is in the
// way.
func (t *tree) open(dir string) (*dirHandle, error) {
	root, err := t.root.OpenRoot(dir)
	if err != nil {
		// A symbolic link to nothing is in the way of a directory as well.
		var rest string
		if root, rest, err = t.nearest(dir); err != nil {
			return nil, err
		}
		if rest != "" {
			_ = root.Close()
			return nil, fs.ErrNotExist
		}
	}
	d, err := newDirHandle(root)
	if err != nil {
		return nil, diskError(err)
	}
	return d, nil
}

// nearest opens the deepest existing directory on the way to dir. rest is the
// missing path below it, "" if dir exists. The error is an *Error if another
// entry is in the way.
func (t *tree) nearest(dir string) (r *os.Root, rest string, err error) {
	if r, err = t.root.OpenRoot("."); err != nil {
		return nil, "", diskError(err)
	}
	for rest = dir; rest != "" && rest != "."; {
		name, below, _ := strings.Cut(rest, "/")
		next, err := r.OpenRoot(name)
		if err != nil {
			next, err = t.passEntry(r, name, strings.TrimSuffix(dir[:len(dir)-len(below)], "/"), err)
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
func (t *tree) passEntry(r *os.Root, name, p string, err error) (*os.Root, error) {
	info, statErr := r.Lstat(name)
	switch {
	case statErr != nil:
		return nil, statErr
	case info.Mode()&fs.ModeSymlink != 0:
		if next, err := t.root.OpenRoot(p); err == nil {
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
// marked as incomplete until then. The caller holds makeMu for reading until
// the directory has an entry.
func (t *tree) makeDirs(dir string, mkdirFollows bool) (*dirHandle, error) {
	for range 3 { // another process may remove it meanwhile
		r, rest, err := t.nearest(dir)
		if err != nil {
			return nil, err
		}
		for rest != "" && err == nil {
			name, below, _ := strings.Cut(rest, "/")
			var next *os.Root
			err = t.makeDir(r, name, strings.TrimSuffix(dir[:len(dir)-len(below)], "/"), mkdirFollows)
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

// makeDir creates the directory p of the Store, the entry name of r. It charges
// the entry, and records the directory as created here and its name as
// unsynced.
func (t *tree) makeDir(r *os.Root, name, p string, mkdirFollows bool) error {
	if err := t.quota.charge(0, 1); err != nil {
		return err
	}
	mode := fs.ModePerm
	if mkdirFollows {
		mode = incomplete.Perm()
	}
	if err := r.Mkdir(name, mode); err != nil {
		t.quota.refund(0, 1)
		return err
	}
	if mkdirFollows {
		if err := setDirMode(r, name, incomplete); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.created.add(p)
	t.unsynced[path.Dir(p)] = struct{}{}
	return nil
}

// removeEmpty removes dir and the directories above it that were created here,
// as far as they are empty and Mkdir was not called for them.
func (t *tree) removeEmpty(dir string) {
	names := t.createdOnTheWay(dir)
	if len(names) == 0 {
		return
	}
	t.makeMu.Lock()
	defer t.makeMu.Unlock()
	chain := make([]*os.Root, 0, len(names)) // the parents of the names
	defer func() {
		for _, r := range chain {
			_ = r.Close()
		}
	}()
	r, err := t.root.OpenRoot(path.Dir(names[0]))
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
		t.cache.evict(names[i]) // Windows removes no directory that is open
		var gone bool
		if i < len(chain) {
			gone = removeDir(chain[i], path.Base(names[i]))
			_ = chain[i].Close()
			chain = chain[:i]
		} else { // out of descriptors, or gone
			gone = removeDir(t.root, names[i])
		}
		if !gone {
			return
		}
		t.forgetDir(names[i])
	}
}

// createdOnTheWay returns the paths of the directories on the way to dir that
// were created here, the topmost first. It goes from dir up, and ends above
// them at the first directory that was not created here.
func (t *tree) createdOnTheWay(dir string) (paths []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for end := len(dir); end > 0 && dir != "."; end = strings.LastIndexByte(dir[:end], '/') {
		if t.created.has(dir[:end]) {
			paths = append(paths, dir[:end])
		} else if paths != nil {
			break
		}
	}
	slices.Reverse(paths)
	return paths
}

// forgetDir undoes makeDir for a directory that was removed.
func (t *tree) forgetDir(dir string) {
	t.quota.refund(0, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.created.remove(dir)
	delete(t.unsynced, dir)
}

// removeDir removes the empty directory name of r. An entry of another type
// that has taken its place stays. It reports whether the directory is gone.
func removeDir(r *os.Root, name string) bool {
	info, err := r.Lstat(name)
	if err == nil && info.IsDir() {
		err = remove(r, name)
	}
	return err == nil && info.IsDir() || errors.Is(err, fs.ErrNotExist)
}

// within reports whether path is the directory dir or below it.
func within(path, dir string) bool {
	return dir == "." || path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}
