package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"unicode/utf8"

	"purr/internal/relpath"
	"purr/internal/sys"
)

// Replace selects the files that an AtomicFile may replace.
type Replace int

const (
	ReplaceNothing Replace = iota // the name must be free
	ReplaceFile                   // a regular file, but no symbolic link
	ReplaceAny                    // everything that rename(2) replaces
)

// ErrAborted is returned for an AtomicFile after Abort or Suspend.
var ErrAborted = errors.New("aborted")

// An AtomicFile is a new file beside its final name, which it gets when it is
// complete, in one step. Until then it is hidden and has a random name. The
// directory stays the same if it is moved meanwhile.
//
// The owner writes, then calls Rename or Commit, and always Close. Abort and
// Suspend may be called at any time from other goroutines.
type AtomicFile struct {
	*os.File // open for reading and writing

	path    string // as the caller gave it
	partial string // the name in dir until the file has its final name
	dir     *dirHandle
	replace Replace
	sparse  sparseFile // of Write

	mu    sync.Mutex
	ended bool // whether partial has become the file, or was given up
}

// CreateAtomic creates the file that will be path. Its permissions are 0666
// less the umask. If the file itself cannot be created, the error begins with
// the path of the hidden file.
func CreateAtomic(path string, replace Replace) (*AtomicFile, error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	dir, err := newDirHandle(root)
	if err != nil {
		return nil, err
	}
	a := &AtomicFile{path: path, partial: besideName(filepath.Base(path)), dir: dir, replace: replace}
	if a.File, err = root.OpenFile(a.partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
		dir.closeFiles()
		return nil, fmt.Errorf("%s: %w", a.partialPath(), sys.Cause(err))
	}
	a.sparse.file = a.File
	return a, nil
}

// WriteFile creates a file with the text in one step, so that no reader finds a
// part of it. It replaces what rename(2) replaces.
func WriteFile(path, text string) error {
	f, err := CreateAtomic(path, ReplaceAny)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.Rename()
}

// besideName returns a random hidden name that contains base, to show what it
// belongs to. A base that makes the name too long for a file is shortened.
func besideName(base string) string {
	suffix := ".purr-" + rand.Text()[:8]
	for len("."+base+suffix) > relpath.MaxComponent {
		_, size := utf8.DecodeLastRuneInString(base)
		base = base[:len(base)-size]
	}
	return "." + base + suffix
}

// partialPath returns the path of the hidden file, beside the caller's path.
func (a *AtomicFile) partialPath() string { return filepath.Join(filepath.Dir(a.path), a.partial) }

// Write writes b at the end of what was written before. Blocks of 64 KiB of
// zeros become holes, where the file system has them; zeros at the end may be
// missing until Rename. Other methods of os.File that write must not be used
// beside it.
func (a *AtomicFile) Write(b []byte) (int, error) { return a.sparse.Write(b) }

// WriteString is Write for a string.
func (a *AtomicFile) WriteString(s string) (int, error) { return a.Write([]byte(s)) }

// Rename closes the file and gives it its final name, without waiting for
// stable storage. The error is fs.ErrExist if the name is taken and must not be
// replaced, ErrAborted after Abort or Suspend, and else that of the file
// system.
func (a *AtomicFile) Rename() error {
	// Some file systems (NFS, quotas) report a failed write only at the close.
	if err := errors.Join(a.sparse.finish(), a.File.Close()); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return ErrAborted
	}
	name := filepath.Base(a.path)
	var err error
	switch a.replace {
	case ReplaceNothing:
		err = a.dir.renameOrReserve(a.partial, name)
	case ReplaceFile:
		err = a.dir.renameForce(a.partial, name)
	case ReplaceAny:
		err = a.dir.root.Rename(a.partial, name)
	}
	a.ended = err == nil
	return err
}

// Commit is Rename, and returns when content and name are on stable storage. An
// Error of the kind Unsynced means that the file has its name and content, but
// that the name may not survive a crash.
func (a *AtomicFile) Commit() error {
	err := a.sparse.finish()
	if err == nil {
		err = a.Sync()
	}
	if err != nil {
		return errors.Join(err, a.File.Close())
	}
	if err := a.Rename(); err != nil {
		return err
	}
	if err := syncDir(a.dir.dir); err != nil {
		return errorf(Unsynced, "it is complete, but its directory cannot be put on stable storage: %v", sys.Cause(err))
	}
	return nil
}

// Abort removes the file, unless it has its final name. It stays open.
func (a *AtomicFile) Abort() {
	if a.end() {
		_ = remove(a.dir.root, a.partial)
	}
}

// Suspend leaves the file as it is under its hidden name. It returns its path
// and size in bytes; after Rename, Abort or Suspend the path is empty. The file
// stays open.
func (a *AtomicFile) Suspend() (path string, size int64, err error) {
	if !a.end() {
		return "", 0, nil
	}
	info, err := a.dir.root.Lstat(a.partial)
	if err != nil {
		return a.partialPath(), 0, err
	}
	return a.partialPath(), info.Size(), nil
}

// end marks the file as renamed or given up. It reports whether the caller is
// the first to do so, and thus decides about the hidden file.
func (a *AtomicFile) end() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	first := !a.ended
	a.ended = true
	return first
}

// Close calls Abort, and closes the file and its directory.
func (a *AtomicFile) Close() error {
	a.Abort()
	a.dir.closeFiles()
	if err := a.File.Close(); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}
