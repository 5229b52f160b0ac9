package offer

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"purr/internal/digest"
	"purr/internal/sys"
)

// SmallFile is the largest size, in bytes, of a file that is read into memory
// and hashed at once; the content of a larger one is hashed in a goroutine
// beside the copying.
const SmallFile = 256 << 10

// A File is one attempt to read an offered file: exactly the bytes that it had
// when it was opened. A file that is written to meanwhile would become a
// mixture that never existed, so that is an error, unless it may grow. One
// goroutine uses a File.
type File struct {
	Entry  // as of the opening
	f      *os.File
	info   fs.FileInfo
	opened state
	live   bool
}

// A state is what a write to a file changes. Two equal states mean that the
// file was not written to between them.
type state struct {
	size    int64
	modTime time.Time
	changed time.Time // st_ctime, which cannot be set back; zero where there is none
}

// newFile returns a File for the open file f, which it owns on success; on an
// error the caller closes f. The error is ErrNotOffered for a file that is not
// regular. A file of size 0 that has content, as in /proc, is an error, too.
func newFile(name string, f *os.File, live bool) (*File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNotOffered
	}
	opened, err := stateOf(f)
	if err != nil {
		return nil, err
	}
	file := &File{Entry: newEntry(name, info), f: f, info: info, opened: opened, live: live}
	if file.Size == 0 { // as of most files in /proc, and a reader of no bytes checks nothing
		err = file.Check()
	}
	return file, err
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

// Content returns the open file itself. Its position is 0 at first; Hash and
// Body move it.
func (f *File) Content() io.ReadSeeker { return f.f }

// A ChangedError reports that a file was written to while it was read.
type ChangedError struct{ Was, Is int64 } // sizes in bytes

// Error describes the change, as the reason why the file is left out.
func (e ChangedError) Error() string {
	return fmt.Sprintf("changed while being read (%d bytes, now %d)", e.Was, e.Is)
}

// Check returns a ChangedError if the file was written to since it was opened;
// if live is true, only if it has shrunk. A file whose size has no meaning, as
// in /proc, fails if it holds more than that.
func (f *File) Check() error {
	more, _ := f.f.ReadAt(make([]byte, 1), f.Size)
	now, err := stateOf(f.f)
	switch {
	case err != nil:
		return sys.Cause(err)
	case more > 0 && now.size == f.Size:
		return errTooLong
	case f.live && now.size >= f.Size:
		return nil
	case now.size != f.Size || !now.modTime.Equal(f.ModTime) || !now.changed.Equal(f.opened.changed):
		return ChangedError{f.Size, now.size}
	}
	return nil
}

// ended returns the error for a file that ended after n bytes, before its size:
// errTooShort if it still has that size, else a ChangedError.
func (f *File) ended(n int64) error {
	if now, err := stateOf(f.f); err == nil && now.size == f.Size {
		return errTooShort
	}
	return ChangedError{f.Size, n}
}

// System files, as in /proc and /sys, have sizes without meaning. To send
// nothing of them, or zeros, and report that as verified would be wrong.
var (
	errTooLong  = errors.New("holds more than its size says: to send what it shows now, say \"purr HOST PORT <PATH\"")
	errTooShort = errors.New("holds less than its size says: to send what it shows now, say \"purr HOST PORT <PATH\"")
)

// ReadAll reads the whole file into b, which holds at least Size bytes, and
// returns its SHA-256. An error is one of reading, or that of Check.
func (f *File) ReadAll(b []byte) (sum []byte, err error) {
	if n, err := f.f.ReadAt(b[:f.Size], 0); err == io.EOF {
		return nil, f.ended(int64(n))
	} else if err != nil {
		return nil, sys.Cause(err)
	}
	if err := f.Check(); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(b[:f.Size])
	return digest[:], nil
}

// Hash returns a Hasher that has hashed the first n bytes of the file. The
// caller ends it with Sum, or passes it to Body, which reads on from there.
// moved is called with the length of each block that was read; its error ends
// the hashing and is returned.
func (f *File) Hash(n int64, moved func(int) error) (*digest.Hasher, error) {
	if _, err := f.f.Seek(0, io.SeekStart); err != nil {
		return nil, sys.Cause(err)
	}
	d := digest.New(nil)
	for left := n; left > 0; {
		b := d.Block()
		got, err := f.f.Read(b[:min(left, int64(len(b)))])
		d.Put(b[:got])
		left -= int64(got)
		if err == nil {
			err = moved(got)
		}
		if err == io.EOF {
			err = f.ended(n - left)
		}
		if err != nil {
			d.Sum()
			return nil, sys.Cause(err)
		}
	}
	return d, nil
}

// A Body reads a File from an offset to its end in blocks, and hashes the whole
// file meanwhile. One goroutine uses it.
type Body struct {
	file   *File
	left   int64
	room   int
	hasher *digest.Hasher // nil once the body has ended
	sum    []byte
	err    error // why the file may not be stored
}

// Body returns a Body that reads from offset on. h has hashed the file up to
// there; a nil h has hashed nothing, for offset 0. The Body takes h over, also
// on an error, and the caller closes the Body. Each of its blocks begins with
// room bytes for the caller's use, before the content.
func (f *File) Body(offset int64, h *digest.Hasher, room int) (*Body, error) {
	if h == nil {
		h = digest.New(nil)
	}
	if _, err := f.f.Seek(offset, io.SeekStart); err != nil {
		h.Sum()
		return nil, sys.Cause(err)
	}
	return &Body{file: f, left: f.Size - offset, room: room, hasher: h}, nil
}

// Next returns a block with up to max bytes of the file behind its room. The
// caller passes it to Put before the next call. It returns io.EOF at the end,
// also where the file cannot be read or has changed: then Sum returns an error.
func (b *Body) Next(max int) ([]byte, error) {
	if b.hasher == nil {
		return nil, io.EOF
	}
	if b.left == 0 {
		return nil, b.finish(nil)
	}
	block := b.hasher.Block()
	n, err := b.file.f.Read(block[b.room : b.room+int(min(int64(max), int64(len(block)-b.room), b.left))])
	if n == 0 {
		b.hasher.Put(block[:0])
		if err == io.EOF {
			err = b.file.ended(b.file.Size - b.left)
		}
		return nil, b.finish(sys.Cause(err))
	}
	b.left -= int64(n)
	return block[:b.room+n], nil
}

// Put takes a block of Next back and hashes its content.
func (b *Body) Put(block []byte) { b.hasher.PutFrom(b.room, block) }

// WriteTo writes the rest of the file to w, without room. Its error is w's own;
// Sum reports whether the file was read to its end.
func (b *Body) WriteTo(w io.Writer) (n int64, err error) {
	for {
		block, err := b.Next(digest.BlockSize)
		if err != nil {
			return n, nil
		}
		wrote, err := w.Write(block[b.room:])
		n += int64(wrote)
		b.Put(block)
		if err != nil {
			return n, err
		}
	}
}

// finish ends the body. Afterwards Sum returns the digest, or the reason why
// the content must not be stored: err, or a change of the file while it was
// read. It returns io.EOF in either case, for Next to return.
func (b *Body) finish(err error) error {
	if err == nil {
		err = b.file.Check()
	}
	sum := b.hasher.Sum()
	b.hasher = nil
	if b.err = err; err == nil {
		b.sum = sum
	}
	return io.EOF
}

// Sum returns the SHA-256 of the whole file after Next has returned io.EOF; an
// error, often a ChangedError, if the file could not be read as it was; nil and
// nil before the end.
func (b *Body) Sum() ([]byte, error) { return b.sum, b.err }

// Close ends the hashing. Sum remains valid.
func (b *Body) Close() error {
	if b.hasher != nil {
		b.hasher.Sum()
		b.hasher = nil
	}
	return nil
}
