package store

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
)

// syncTogetherFrom is the number of files from which one syncfs(2) replaces
// their fsync(2) calls. It may also have to write the data of other processes.
const syncTogetherFrom = 16

// syncRest brings the names of directories and links, which no Commit has
// covered, onto stable storage. The error is an *Error of the kind Unsynced.
func (t *tree) syncRest() error {
	t.mu.Lock()
	dirs := slices.Collect(maps.Keys(t.unsynced))
	t.mu.Unlock()
	return unsynced(t.syncDirs(dirs, nil))
}

// distrust records the names of dir and of the directories above it as
// unsynced: an earlier run may have created them, and have failed to sync them.
// It does so once for each directory.
func (t *tree) distrust(dir string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; dir != "."; dir = path.Dir(dir) {
		if !t.checked.add(dir) {
			return
		}
		t.unsynced[path.Dir(dir)] = struct{}{}
	}
}

// syncNames syncs the names in the directories, and those in the directories
// above them that are recorded as unsynced.
func (t *tree) syncNames(dirs map[string]*dirHandle) error {
	var above []string
	t.mu.Lock()
	for created := range t.unsynced {
		for dir := range dirs {
			if dirs[created] == nil && within(dir, created) {
				above = append(above, created)
				break
			}
		}
	}
	t.mu.Unlock()
	return t.syncDirs(append(above, slices.Collect(maps.Keys(dirs))...), dirs)
}

// syncDirs syncs the names in the directories, of which open holds those with a
// handle. It returns the last error. A directory that fails stays recorded as
// unsynced.
func (t *tree) syncDirs(dirs []string, open map[string]*dirHandle) error {
	// This comes first: a name created from now on must be synced again.
	t.mu.Lock()
	for _, dir := range dirs {
		delete(t.unsynced, dir)
	}
	t.mu.Unlock()
	together := len(dirs) >= syncTogetherFrom && syncFilesystem(t.top.dir)
	var failed error
	for i, dir := range dirs {
		if err := t.syncDir(dir, open[dir], together && i > 0); err != nil {
			t.mu.Lock()
			t.unsynced[dir] = struct{}{}
			t.mu.Unlock()
			failed = err
		}
	}
	return failed
}

// syncDir syncs the names in a directory. d is its handle, or nil. together
// means that the file system of the Store was just synced as a whole. A
// directory that does not exist any more is no error.
func (t *tree) syncDir(dir string, d *dirHandle, together bool) error {
	if d == nil {
		var err error
		if d, err = t.open(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		defer d.close()
	}
	if info, err := d.dir.Stat(); together && err == nil && sameDevice(info, t.info) {
		return nil
	}
	return t.syncEntries(d.dir)
}

// syncDevice brings what was written to a pipe or device onto stable storage,
// if it has such: the device nul of Windows has not, and reports an error.
func syncDevice(f *os.File) error { return syncDir(f) }
