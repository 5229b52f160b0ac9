package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"purr/internal/fdio"
)

// ErrExists is wrapped by the error of CheckRaw for a file that
// RawOptions.Force would replace.
var ErrExists = errors.New("exists")

// CheckRaw returns an error if OpenRaw cannot store a file as path. direct is
// true if path is a pipe or a device. A link to a file is an error: it would be
// neither followed nor replaced, and either may be meant.
func CheckRaw(path string, force bool) (direct bool, err error) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		if strings.HasSuffix(path, "/") {
			return false, fmt.Errorf("%s is a directory that does not exist: name the file in it", path)
		}
		return false, checkNew(path)
	} else if err != nil {
		return false, err
	}
	info, err := os.Stat(path)
	if target, linkErr := os.Readlink(path); linkErr == nil && (err != nil || info.Mode().IsRegular()) {
		return false, fmt.Errorf("%s is a symbolic link to %s: name the file itself, or remove the link", path, target)
	}
	if err != nil {
		return false, err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return false, fmt.Errorf("%s is a directory: name a file in it", path)
	case mode&os.ModeSocket != 0:
		return false, fmt.Errorf("%s is a socket: name a file", path)
	case !mode.IsRegular():
		return true, checkOpenable(path)
	case !force:
		return false, fmt.Errorf("%s %w", path, ErrExists)
	}
	if err := CheckDir(filepath.Dir(path)); err != nil {
		return false, err
	}
	return false, checkReplaceable(path)
}

// RawOptions are the options of OpenRaw. The zero value stores a new file.
type RawOptions struct {
	Force  bool          // replace an existing regular file
	Direct bool          // the path is a pipe or a device, as CheckRaw has found
	Wait   time.Duration // for the reader of a FIFO; 0: no limit

	// Kept, if set, makes Abort keep the partial file. It is called once with
	// its path and size in bytes, or with an error about that path.
	Kept func(path string, size int64, err error)
}

// A RawFile is the destination of bytes that come without a protocol: a file
// that gets its name when it is complete, or a pipe or device. Abort may be
// called at any time from other goroutines.
type RawFile struct {
	*os.File

	options RawOptions
	atomic  *AtomicFile // nil: a pipe or device

	aborted sync.Once
	keptIn  string
	kept    int64
}

// OpenRaw opens the destination path. The caller closes it. Opening a FIFO ends
// with the cause of ctx.
func OpenRaw(ctx context.Context, path string, o RawOptions) (f *RawFile, err error) {
	f = &RawFile{options: o}
	if o.Direct {
		f.File, err = fdio.OpenWriter(ctx, path, o.Wait)
	} else {
		replace := ReplaceNothing
		if o.Force {
			replace = ReplaceFile
		}
		if f.atomic, err = CreateAtomic(path, replace); err == nil {
			f.File = f.atomic.File
		}
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Direct reports whether the file is a pipe or a device. What was written to it
// cannot be taken back.
func (f *RawFile) Direct() bool { return f.atomic == nil }

// Writer returns what the bytes are to be written to: for a pipe or device dst,
// which is a writer of File, else the AtomicFile, whose blocks of zeros become
// holes.
func (f *RawFile) Writer(dst io.Writer) io.Writer {
	if f.atomic == nil {
		return dst
	}
	return f.atomic
}

// Commit closes the file, and returns when its content is on stable storage,
// where it has one, under its name. See AtomicFile.Commit for the errors.
func (f *RawFile) Commit() error {
	if f.atomic != nil {
		return f.atomic.Commit()
	}
	return errors.Join(syncDevice(f.File), f.File.Close())
}

// Abort removes the partial file, or with RawOptions.Kept keeps it and returns
// its path and size in bytes. Further calls return the same. After Commit, and
// for a pipe or device, it does nothing.
func (f *RawFile) Abort() (keptIn string, kept int64) {
	if f.atomic == nil {
		return "", 0
	}
	f.aborted.Do(func() {
		if f.options.Kept == nil {
			f.atomic.Abort()
			return
		}
		path, size, err := f.atomic.Suspend()
		if err == nil {
			f.keptIn, f.kept = path, size
		}
		if path != "" {
			f.options.Kept(path, size, err)
		}
	})
	return f.keptIn, f.kept
}

// Close calls Abort, and closes the file.
func (f *RawFile) Close() error {
	f.Abort()
	if f.atomic != nil {
		return f.atomic.Close()
	}
	return f.File.Close()
}
