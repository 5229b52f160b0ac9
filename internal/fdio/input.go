package fdio

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"purr/internal/sys"
)

// An Input is a file that is sent once or more: the one that had its name when
// the Input was made, whatever gets that name later. Any goroutine may use it.
type Input struct {
	// Info is that of the file at the start, behind a link.
	Info os.FileInfo

	path string
	link bool     // whether path was a symbolic link
	file *os.File // a regular file, for all readers; nil: opened anew for each
}

// NewInput returns the Input of a name. A regular file is opened, and stays
// open until the process ends. Others are not: to open a FIFO would wait for
// its writer.
func NewInput(path string) (*Input, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	named, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	in := &Input{Info: info, path: path, link: named.Mode()&os.ModeSymlink != 0}
	if !info.Mode().IsRegular() {
		return in, nil
	}
	if in.file, err = in.open(sys.OpenNonblock); err != nil { // the name may be a FIFO's now
		return nil, err
	}
	if _, err := in.file.Seek(0, io.SeekCurrent); err != nil { // some in /proc have no offset
		_ = in.file.Close()
		in.file = nil
	}
	return in, nil
}

// open opens the path for reading, with the given flags of open(2) beside. It
// fails if the path leads to another file than at the start, or was no symbolic
// link then and is one now.
func (in *Input) open(flags int) (*os.File, error) {
	if !in.link {
		flags |= sys.OpenNofollow
	}
	f, err := os.OpenFile(in.path, os.O_RDONLY|flags, 0)
	if err != nil {
		if now, lstatErr := os.Lstat(in.path); !in.link && lstatErr == nil && now.Mode()&os.ModeSymlink != 0 {
			err = fmt.Errorf("%s was replaced by a symbolic link since the start", in.path)
		}
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(info, in.Info) {
		err = fmt.Errorf("%s was replaced by another file since the start", in.path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// NewReader returns a reader of the file from its beginning: an *Exact of a
// regular file, else a *File that is opened now. To open a FIFO waits for its
// writer, which ctx does not end. While the process is out of descriptors,
// NewReader tries again until ctx ends: the client is not to blame. The caller
// calls done after the last Read; i stays the caller's.
func (in *Input) NewReader(ctx context.Context, i *Interrupt) (r Source, done func(), err error) {
	if in.file != nil {
		info, err := in.file.Stat()
		if err != nil {
			return nil, nil, err
		}
		e := &Exact{Size: info.Size(), file: in.file, interrupt: i}
		if e.Size == 0 { // as in /proc, whatever the file holds
			e.Size = -1
		}
		return e, func() {}, nil
	}
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		f, err := in.open(0)
		if err == nil {
			return New(f, i), func() { _ = f.Close() }, nil
		}
		if !sys.OutOfDescriptors(err) {
			return nil, nil, err
		}
		if !sys.Sleep(ctx, pause) {
			return nil, nil, context.Cause(ctx)
		}
	}
}

// An Exact reads a regular file at an offset of its own. Bytes that are
// appended to it meanwhile are not read, and a file that shrinks is an error.
type Exact struct {
	// Size is that at the beginning, in bytes; -1: the file has none and is read
	// to its end.
	Size int64

	file      *os.File
	interrupt *Interrupt
	at        int64
}

// Kind returns Regular.
func (e *Exact) Kind() Kind { return Regular }

// Ready returns true: a read does not wait.
func (e *Exact) Ready() bool { return true }

// Read reads the next bytes without waiting. It returns io.EOF at Size, or at
// the end of a file without a size; an error if the file ends before Size; and
// ErrInterrupted once the interrupt has fired.
func (e *Exact) Read(b []byte) (int, error) {
	select {
	case <-e.interrupt.Done(): // reads of a regular file do not wait, so nothing else ends them
		return 0, ErrInterrupted
	default:
	}
	if e.Size >= 0 {
		if e.at == e.Size {
			return 0, io.EOF
		}
		b = b[:min(int64(len(b)), e.Size-e.at)]
	}
	n, err := e.file.ReadAt(b, e.at)
	e.at += int64(n)
	if err == io.EOF && e.Size >= 0 {
		err = fmt.Errorf("file shrank while it was sent: %d of %d bytes", e.at, e.Size)
	}
	return n, err
}
