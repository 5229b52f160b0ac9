package store

import (
	"io/fs"
	"os"
	"sync"
	"time"

	"purr/internal/sys"
)

// A dirHandle is an open directory within the Store. Operations on its entries
// name one component, so renaming a directory above it leads none of them
// outside. The opener calls close.
type dirHandle struct {
	root *os.Root
	dir  *os.File

	// Of a handle in a cache, guarded by the cache's mutex:
	cache  *dirCache // nil: close closes the files
	users  int       // callers that have not called close yet
	opened time.Time // zero: evicted
}

// newDirHandle opens the directory of root. The handle owns root. If
// newDirHandle fails, it closes root.
func newDirHandle(root *os.Root) (*dirHandle, error) {
	f, err := root.OpenFile(".", os.O_RDONLY|sys.OpenNonblock, 0) // O_NONBLOCK: os need not try to poll a directory
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return &dirHandle{root: root, dir: f}, nil
}

// close ends the use of the handle: a cached one stays open for others, any
// other is closed.
func (d *dirHandle) close() {
	if d.cache != nil {
		d.cache.release(d)
	} else {
		d.closeFiles()
	}
}

// closeFiles closes both descriptors of the directory. For a handle that may be
// cached, close is called instead.
func (d *dirHandle) closeFiles() {
	_ = d.root.Close()
	_ = d.dir.Close()
}

// exists reports whether the directory still has a name.
func (d *dirHandle) exists() bool {
	info, err := d.dir.Stat()
	return err == nil && !isUnlinked(info)
}

// refersTo reports whether the entry name is the file of info (same device and
// inode), and was not replaced.
func (d *dirHandle) refersTo(name string, info fs.FileInfo) bool {
	now, err := d.root.Lstat(name)
	return err == nil && os.SameFile(now, info)
}

// A dirCache keeps the handles of directories into which files arrive one after
// the other: opening a directory costs as much as creating a file in it. Begin
// alone uses it, for a short time: Commit opens the directory anew. The zero
// value is empty.
type dirCache struct {
	mu     sync.Mutex
	byPath map[string]*dirHandle
}

const (
	maxCachedDirs = 8
	cacheTime     = time.Second
)

// open returns a handle of the directory dir of t: the cached one, or a new one
// in its place if that is missing, too old, or of a directory that was removed.
// The errors are those of t.open.
func (c *dirCache) open(t *tree, dir string) (*dirHandle, error) {
	if d := c.lookup(dir); d != nil {
		return d, nil
	}
	c.evict(dir)
	d, err := t.open(dir)
	if err != nil {
		return nil, err
	}
	c.add(dir, d)
	return d, nil
}

// lookup returns a cached handle, of which the caller becomes a further user.
// It returns nil if there is none that is young and whose directory exists.
func (c *dirCache) lookup(dir string) *dirHandle {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.byPath[dir]
	if d == nil || time.Since(d.opened) >= cacheTime || !d.exists() {
		return nil
	}
	d.users++
	return d
}

// add caches d with the caller as its one user, unless dir is cached already.
// If the cache is full, it evicts handles without users. If all have some, d is
// not cached.
func (c *dirCache) add(dir string, d *dirHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byPath[dir] != nil { // another goroutine was faster
		return
	}
	for path, old := range c.byPath {
		if len(c.byPath) >= maxCachedDirs && old.users == 0 {
			c.evictLocked(path)
		}
	}
	if len(c.byPath) >= maxCachedDirs {
		return
	}
	if c.byPath == nil {
		c.byPath = map[string]*dirHandle{}
	}
	d.cache, d.users, d.opened = c, 1, time.Now()
	c.byPath[dir] = d
}

// release ends one use of a handle, and closes it after the last use if it was
// evicted.
func (c *dirCache) release(d *dirHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.users--; d.users == 0 && d.opened.IsZero() {
		d.closeFiles()
	}
}

// evict removes the directory dir from the cache, because it was removed or may
// be another one by now. Its users may still use it.
func (c *dirCache) evict(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.evictLocked(dir)
}

// evictLocked removes a directory from the cache, and closes its handle now or
// after the last use. The caller holds the cache's mutex.
func (c *dirCache) evictLocked(dir string) {
	d := c.byPath[dir]
	if d == nil {
		return
	}
	delete(c.byPath, dir)
	if d.opened = (time.Time{}); d.users == 0 {
		d.closeFiles()
	}
}

// evictAll empties the cache.
func (c *dirCache) evictAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for dir := range c.byPath {
		c.evictLocked(dir)
	}
}
