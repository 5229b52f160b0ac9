package store

import (
	"errors"
	"io/fs"
	"os"
	"sync"
)

// A commit is a complete file that waits for its final name.
type commit struct {
	part       *partialFile
	dir, base  string // of the wanted name
	size       int64  // in bytes
	dirsFollow bool   // File.DirsFollow
	identical  bool   // it has its final name already, and is only synced

	path string // the final name, once the file has it
	err  error
	done chan struct{} // closed when path or err is set
}

// contentError returns err, with which syncing the content has failed, as an
// Error: Unsynced if the file has its name already, else that of a failed
// write.
func (c *commit) contentError(err error) error {
	if c.identical {
		return unsynced(err)
	}
	return writeError(err)
}

// A commitQueue puts complete files onto stable storage and gives them their
// final names. It collects files while earlier ones are being synced, and then
// syncs them together: a thousand small files cost a few commits of the file
// system's journal. Any goroutine may use it.
type commitQueue struct {
	tree     *tree
	syncFile func(*os.File) error // syncFile, except in tests

	mu      sync.Mutex
	waiting []*commit
	running bool
	idle    sync.WaitGroup
}

// commit puts the content of c onto stable storage and gives it its final name,
// then syncs the directory. It waits for that and returns the error. Files of
// at least minSuspended bytes are synced here, smaller ones together by
// commitBatch.
func (q *commitQueue) commit(c *commit) error {
	if c.size >= minSuspended {
		if err := q.syncFile(c.part.file); err != nil {
			return c.contentError(err)
		}
	}
	c.done = make(chan struct{})
	q.add(c)
	<-c.done
	return c.err
}

// add queues c, and starts run if no goroutine works on the queue. c.done is
// closed when c has its name or has failed.
func (q *commitQueue) add(c *commit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, c)
	if !q.running {
		q.running = true
		q.idle.Go(q.run)
	}
}

// run commits batches until the queue is empty.
func (q *commitQueue) run() {
	for {
		q.mu.Lock()
		batch := q.waiting
		q.waiting = nil
		q.running = len(batch) > 0
		q.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		q.commitBatch(batch)
	}
}

// commitBatch syncs the content of the small files, renames all, and syncs
// their directories. It sets the err of each, and closes its done.
func (q *commitQueue) commitBatch(batch []*commit) {
	var small []*commit
	for _, c := range batch {
		if c.size < minSuspended {
			small = append(small, c)
		}
	}
	q.syncContents(small)
	for _, c := range small {
		if c.err != nil {
			c.err = c.contentError(c.err)
		}
	}

	dirs := map[string]*dirHandle{}
	for _, c := range batch {
		if c.err == nil {
			c.err = q.place(c, dirs)
		}
	}
	err := unsynced(q.tree.syncNames(dirs))
	for _, d := range dirs {
		d.close()
	}
	for _, c := range batch {
		if c.err == nil {
			c.err = err
		}
		close(c.done)
	}
}

// syncContents syncs the content of the files and sets the err of each. Many
// files of one file system share one syncfs(2).
func (q *commitQueue) syncContents(files []*commit) {
	if len(files) >= syncTogetherFrom && syncFilesystem(files[0].part.file) {
		for _, c := range files {
			if sameDevice(c.part.info, files[0].part.info) {
				c.err = writebackError(c.part.file)
			} else {
				c.err = q.syncFile(c.part.file)
			}
		}
		return
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, syncTogetherFrom)
	for _, c := range files {
		slots <- struct{}{}
		all.Go(func() {
			c.err = q.syncFile(c.part.file)
			<-slots
		})
	}
	all.Wait()
}

// place gives the file of c its final name, unless c is identical. dirs holds
// the open directories of the batch. If that of c is missing there or was
// removed, place opens it and adds it.
func (q *commitQueue) place(c *commit, dirs map[string]*dirHandle) error {
	q.tree.makeMu.RLock()
	defer q.tree.makeMu.RUnlock()
	d := dirs[c.dir]
	if d == nil || !d.exists() {
		opened, err := q.tree.open(c.dir)
		if c.part.name == "" && errors.Is(err, fs.ErrNotExist) {
			opened, err = q.tree.makeDirs(c.dir, c.dirsFollow) // removed while it was empty
		}
		if err != nil {
			return err
		}
		if d != nil {
			d.close()
		}
		d, dirs[c.dir] = opened, opened
	}
	if c.identical {
		return nil
	}
	return c.rename(d, q.tree.options)
}
