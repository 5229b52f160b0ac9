package store

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync"
)

// syncTogetherFrom is the number of files from which one syncfs(2) replaces
// their fsync(2) calls. It may also have to write the data of other processes.
const syncTogetherFrom = 16

// syncContents syncs the content of the files and sets the err of each. Many
// files of one file system share one syncfs(2).
func (s *Store) syncContents(files []*commit) {
	if len(files) >= syncTogetherFrom && syncFilesystem(files[0].upload.file) {
		for _, c := range files {
			if sameDevice(c.upload.info, files[0].upload.info) {
				c.err = writebackError(c.upload.file)
			} else {
				c.err = s.syncFile(c.upload.file)
			}
		}
		return
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, syncTogetherFrom)
	for _, c := range files {
		slots <- struct{}{}
		all.Go(func() {
			c.err = s.syncFile(c.upload.file)
			<-slots
		})
	}
	all.Wait()
}

// Sync brings the names of directories and links, which no Commit has covered,
// onto stable storage. The error is an *Error of the kind Unsynced.
func (s *Store) Sync() error {
	s.mu.Lock()
	dirs := slices.Collect(maps.Keys(s.unsynced))
	s.mu.Unlock()
	return unsynced(s.syncDirs(dirs, nil))
}

// distrustDirs records the names of dir and of the directories above it as
// unsynced, once: an earlier run may have created them, and have failed to sync
// them.
func (s *Store) distrustDirs(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; dir != "."; dir = path.Dir(dir) {
		key := s.hashPath(dir)
		if _, ok := s.checkedDirs[key]; ok {
			return
		}
		s.checkedDirs[key] = struct{}{}
		s.unsynced[path.Dir(dir)] = struct{}{}
	}
}

// syncNames syncs the names in the directories, and the names of the
// directories above them that were created here.
func (s *Store) syncNames(dirs map[string]*dirHandle) error {
	var above []string
	s.mu.Lock()
	for created := range s.unsynced {
		for dir := range dirs {
			if dirs[created] == nil && within(dir, created) {
				above = append(above, created)
				break
			}
		}
	}
	s.mu.Unlock()
	return s.syncDirs(append(above, slices.Collect(maps.Keys(dirs))...), dirs)
}

// syncDirs syncs the names in the directories, of which open holds those with a
// handle.
func (s *Store) syncDirs(dirs []string, open map[string]*dirHandle) error {
	// This comes first: a name created from now on must be synced again.
	s.mu.Lock()
	for _, dir := range dirs {
		delete(s.unsynced, dir)
	}
	s.mu.Unlock()
	together := len(dirs) >= syncTogetherFrom && syncFilesystem(s.top.dir)
	var failed error
	for i, dir := range dirs {
		if err := s.syncDir(dir, open[dir], together && i > 0); err != nil {
			s.mu.Lock()
			s.unsynced[dir] = struct{}{}
			s.mu.Unlock()
			failed = err
		}
	}
	return failed
}

// syncDir syncs the names in a directory, whose handle d may be nil. together:
// the file system of the Store was synced as a whole.
func (s *Store) syncDir(dir string, d *dirHandle, together bool) error {
	if d == nil {
		var err error
		if d, err = s.openDir(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		defer d.close()
	}
	if info, err := d.dir.Stat(); together && err == nil && sameDevice(info, s.info) {
		return nil
	}
	return s.syncEntries(d.dir)
}
