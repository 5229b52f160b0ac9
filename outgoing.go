package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"purr/internal/digest"
	"purr/internal/rate"
	"purr/internal/store"
	"purr/internal/sys"
)

// An outgoing is one attempt to read a file that is sent: exactly the bytes it
// had when it was opened. A file that somebody writes to meanwhile is a mixture
// that nobody ever had, so that is an error, unless it may grow (--live).
type outgoing struct {
	f      *os.File
	info   fs.FileInfo
	opened fileState
	live   bool
}

// A fileState is what differs once a file was written to.
type fileState struct {
	size    int64
	modTime time.Time
	changed time.Time // st_ctime, which nobody can set back; zero where there is none
}

// newOutgoing takes over a file that was just opened. The caller closes it.
func newOutgoing(f *os.File, info fs.FileInfo, live bool) (*outgoing, error) {
	opened, err := stateOf(f)
	if err != nil {
		return nil, err
	}
	return &outgoing{f, info, opened, live}, nil
}

func (o *outgoing) size() int64 { return o.info.Size() }

// A changedError says that a file was written to while it was read.
type changedError struct{ was, is int64 }

func (e changedError) Error() string {
	return fmt.Sprintf("changed while being read (%d bytes, now %d)", e.was, e.is)
}

// check returns a changedError if the file is not what it was when it was
// opened.
func (o *outgoing) check() error {
	now, err := stateOf(o.f)
	switch {
	case err != nil:
		return sys.Cause(err)
	case o.live && now.size >= o.size():
		return nil
	case now.size != o.size() || !now.modTime.Equal(o.info.ModTime()) || !now.changed.Equal(o.opened.changed):
		return changedError{o.size(), now.size}
	}
	return nil
}

// whole reads a small file into b, which is large enough, and returns its
// digest. The file is checked.
func (o *outgoing) whole(b []byte) (sum []byte, err error) {
	if _, err := o.f.ReadAt(b[:o.size()], 0); err == io.EOF || err == io.ErrUnexpectedEOF {
		if err := o.check(); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, sys.Cause(err)
	}
	digest := sha256.Sum256(b[:o.size()])
	if err := o.check(); err != nil || o.size() > 0 || o.live {
		return digest[:], err
	}
	if n, _ := o.f.ReadAt(make([]byte, 1), 0); n > 0 {
		if err := o.check(); err != nil {
			return nil, err
		}
		return nil, errNoSize
	}
	return digest[:], nil
}

// errNoSize is about a file of the system's, as in /proc. To send nothing of it
// and call that verified would be a lie.
var errNoSize = errors.New("holds more than its size says: to send what it shows now, say \"purr HOST PORT <PATH\"")

// digest hashes the first n bytes from where the file stands, and leaves it
// behind them. moved hears of each block.
func (o *outgoing) digest(n int64, moved func(int) error) (*digest.Hasher, error) {
	d := digest.New(nil)
	for left := n; left > 0; {
		b := d.Block()
		got, err := o.f.Read(b[:min(left, int64(len(b)))])
		d.Put(b[:got])
		left -= int64(got)
		if err == nil {
			err = moved(got)
		}
		if err == io.EOF {
			err = changedError{o.size(), n - left}
		}
		if err != nil {
			d.Sum()
			return nil, sys.Cause(err)
		}
	}
	return d, nil
}

// A fileBody sends what is left of an outgoing file as the body of a request
// or of an answer, and hashes it meanwhile. It ends in order also where the file
// may not be stored: a trailer says so, and the connection can be used again.
type fileBody struct {
	out   *outgoing
	left  int64
	most  int // bytes of one read: HTTP/2 makes a frame of each
	moved func(int)
	lane  *contact                    // that it goes over; nil: over another connection
	ended func(sum []byte, err error) // told of the digest, or of failure, before the end of the body is; may be nil

	mu       sync.Mutex     // HTTP may close the body while it is read
	digester *digest.Hasher // nil once it has ended
	sum      []byte
	err      error // what ended it, if not the end of the file
}

// body begins at the given offset, to which the file was read and hashed by d;
// nil at 0. The caller closes the body, but not before the request has ended.
func (o *outgoing) body(offset int64, d *digest.Hasher, limit *rate.Limiter, moved func(int)) *fileBody {
	if d == nil {
		d = digest.New(nil)
	}
	return &fileBody{out: o, left: o.size() - offset, most: limit.Chunk(digest.BlockSize), digester: d, moved: moved}
}

func (b *fileBody) Read(to []byte) (int, error) {
	if len(to) == 0 { // is no end of the file
		return 0, nil
	}
	block, err := b.next(len(to))
	if err != nil {
		return 0, err
	}
	n := copy(to, block)
	return n, b.hash(block)
}

// WriteTo spares HTTP/1.1 a buffer between the block that is hashed and the
// socket.
func (b *fileBody) WriteTo(w io.Writer) (n int64, err error) {
	if b.lane != nil {
		defer b.lane.cork()()
	}
	for {
		block, err := b.next(b.most)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		wrote, err := w.Write(block)
		n += int64(wrote)
		if hashErr := b.hash(block); err == nil {
			err = hashErr
		}
		if err != nil {
			return n, err
		}
	}
}

// next reads up to max bytes of the file. The caller gives them to hash before
// it asks for more. After io.EOF digest or failure have the outcome.
func (b *fileBody) next(max int) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.sum != nil || b.err != nil:
		return nil, io.EOF
	case b.digester == nil:
		return nil, os.ErrClosed
	case b.left == 0:
		return nil, b.finish(nil)
	}
	block := b.digester.Block()
	n, err := b.out.f.Read(block[:min(int64(max), int64(b.most), int64(len(block)), b.left)])
	if n == 0 {
		b.digester.Put(block[:0])
		if err == io.EOF { // it shrank
			err = changedError{b.out.size(), b.out.size() - b.left}
			if changed := b.out.check(); changed != nil {
				err = changed
			}
		}
		return nil, b.finish(sys.Cause(err))
	}
	b.left -= int64(n)
	b.moved(n)
	return block[:n], nil
}

// hash takes back what next has returned.
func (b *fileBody) hash(block []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.digester == nil {
		return os.ErrClosed
	}
	b.digester.Put(block)
	return nil
}

// finish ends the body, with err or with whatever else says that the file may
// not be stored, and returns io.EOF.
func (b *fileBody) finish(err error) error {
	if err == nil {
		err = b.out.check()
	}
	sum := b.digester.Sum()
	b.digester = nil
	if b.err = err; err == nil {
		b.sum = sum
	}
	if b.ended != nil {
		b.ended(b.sum, err)
	}
	return io.EOF
}

func (b *fileBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.digester != nil {
		b.digester.Sum()
		b.digester = nil
	}
	return nil
}

// failure is why the body could not be sent to its end because of the file.
func (b *fileBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// digest is that of the whole file, nil if it was not read to its end.
func (b *fileBody) digest() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sum
}

// read returns the entry of an offered file and, if it is a small one, its
// content, with the digest in the entry. The error is a changedError if it was
// written to meanwhile.
func (o *offer) read(name string) (*entry, []byte, error) {
	f, info, err := o.openListed(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	out, err := newOutgoing(f, info, o.live)
	if err != nil {
		return nil, nil, err
	}
	e := newEntry("", name, info)
	if e.Size > store.SmallFile {
		return e, nil, nil
	}
	content := make([]byte, e.Size)
	sum, err := out.whole(content)
	e.Digest = digest.Field(sum)
	return e, content, err
}
