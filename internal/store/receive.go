package store

import (
	"errors"
	"hash"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"purr/internal/digest"
)

// An Upload is a file that is being received. One goroutine uses it: it calls
// Receive, and then Commit, Suspend or Abort.
type Upload struct {
	want      File
	store     *Store
	dir, base string       // of want.Path
	claimed   bool         // no other upload has the path; false only with Options.Rename
	resumable bool         // the partial file has the name that Partial looks for
	part      *partialFile // nil before it is needed, and after the end
	ended     bool
	hash      hash.Hash // of the first received bytes, except during Receive
	received  int64     // bytes, with those before the offset
	charged   int64     // bytes counted against Options.MaxSize
	entries   int64     // counted against it: 1 for an empty file
}

// SmallFile is the largest size in bytes of a file that is hashed by the
// goroutine that receives it.
const SmallFile = 256 << 10

// Receive writes the content from src until io.EOF. It calls moved, if not nil,
// with the number of bytes after each read. An *Error means that the content
// cannot be stored or exceeds its announced size, and that the Upload has been
// aborted. Other errors are those of src; what has arrived can be suspended.
func (u *Upload) Receive(src io.Reader, moved func(n int)) error {
	if moved == nil {
		moved = func(int) {}
	}
	err := u.receiveSmall(src, moved)
	if err == errNotSmall {
		err = u.receiveLarge(src, moved)
	}
	if _, ok := err.(*Error); ok {
		u.Abort()
	}
	return err
}

var errNotSmall = errors.New("more than SmallFile bytes")

// receiveSmall receives a file of at most SmallFile bytes, and writes and
// hashes it in this goroutine. For a larger one it returns errNotSmall, and
// leaves the rest of src to receiveLarge.
func (u *Upload) receiveSmall(src io.Reader, moved func(n int)) error {
	if u.want.Size-u.want.Offset > SmallFile {
		return errNotSmall
	}
	buf := getBuffer(u.want.Size - u.want.Offset)
	defer putBuffer(buf)
	for u.received-u.want.Offset < SmallFile {
		n, err := fill(buf, src, moved)
		if n > 0 && !u.isLost(err) {
			if err := u.write(buf[:n]); err != nil {
				return err
			}
			_, _ = u.hash.Write(buf[:n])
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errNotSmall
}

// fill reads until b is full, and calls moved after each read. The error is
// that of the last read.
func fill(b []byte, src io.Reader, moved func(n int)) (n int, err error) {
	for n < len(b) && err == nil {
		var got int
		if got, err = src.Read(b[n:]); got > 0 {
			moved(got)
			n += got
		}
	}
	return n, err
}

// isLost reports whether src has failed with err before anything was written:
// then no file and no directories are created for the little that has come.
func (u *Upload) isLost(err error) bool {
	return err != nil && err != io.EOF && u.part == nil
}

// receiveLarge receives a file of any size in blocks.
func (u *Upload) receiveLarge(src io.Reader, moved func(n int)) (err error) {
	b := u.Blocks()
	for err == nil {
		room := b.Next()
		if room == nil {
			break
		}
		var n int
		n, err = src.Read(room)
		moved(n)
		b.Filled(n)
	}
	b.ended = err == io.EOF
	if writeErr := b.close(); writeErr != nil {
		return writeErr
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// Blocks is Receive for a caller that reads the content itself: it fills
// blocks, which are written and hashed by two other goroutines. The caller
// calls Close, and then Commit, Suspend or Abort of the Upload. One goroutine
// at a time uses it.
type Blocks struct {
	u      *Upload
	hasher *digest.Hasher
	writer *blockWriter
	block  []byte // nil: none is being filled
	n      int    // bytes of block that are filled
	opened bool   // the file is open, or will be for an earlier block
	ended  bool   // the source has ended
}

// Blocks begins to receive: it starts the goroutines that write and hash. Close
// ends them.
func (u *Upload) Blocks() *Blocks {
	d := digest.New(u.hash)
	return &Blocks{u: u, hasher: d, opened: u.part != nil, writer: u.newBlockWriter(d)}
}

// Next returns where the next bytes of the content belong. It waits while the
// disk is slow. It returns nil once the content cannot be stored: Close returns
// why.
func (b *Blocks) Next() []byte {
	if b.writer.failed.Load() {
		return nil
	}
	if b.block == nil {
		b.block, b.n = b.hasher.Block(), 0
	}
	return b.block[b.n:]
}

// Filled takes over the first n bytes of what Next has returned. A block is
// written when it is full, so small reads do not cost more.
func (b *Blocks) Filled(n int) {
	if b.n += n; b.n == len(b.block) {
		b.flush()
	}
}

// flush passes the filled part of the block on to be written and hashed. It
// waits while the writer is behind.
func (b *Blocks) flush() {
	b.writer.full <- b.block[:b.n]
	b.block, b.opened = nil, true
}

// Close waits until everything is written and hashed. An *Error means that the
// content cannot be stored or exceeds its announced size, and that the Upload
// has been aborted.
func (b *Blocks) Close() error {
	err := b.close()
	if _, ok := err.(*Error); ok {
		b.u.Abort()
	}
	return err
}

// close is Close without the Abort. The first bytes of a source that was cut
// are dropped if no file was created for them yet: see isLost.
func (b *Blocks) close() error {
	if b.block != nil {
		if !b.opened && !b.ended && int64(b.n) < b.u.want.Size { // a cut: see isLost
			b.n = 0
		}
		b.flush()
	}
	err := b.writer.close()
	b.hasher.Sum()
	return err
}

// A blockWriter writes blocks to the partial file and passes them on to be
// hashed, while the next are read.
type blockWriter struct {
	full   chan []byte // blocks of the Hasher, in order; closed by close
	failed atomic.Bool // a write has failed, and nothing is written any more
	done   chan error  // receives the first error, or nil
}

// newBlockWriter starts the goroutine, which uses u until close returns.
func (u *Upload) newBlockWriter(d *digest.Hasher) *blockWriter {
	w := &blockWriter{full: make(chan []byte, digest.Blocks), done: make(chan error, 1)}
	go func() {
		var err error
		for b := range w.full {
			if err == nil {
				if err = u.write(b); err != nil {
					w.failed.Store(true)
				}
			}
			d.Put(b)
		}
		w.done <- err
	}()
	return w
}

// close waits until everything is written, and returns the first error. It
// comes before the Sum of the Hasher.
func (w *blockWriter) close() error {
	close(w.full)
	return <-w.done
}

// write adds b to the partial file, which it opens first if need be. It charges
// the bytes against Options.MaxSize and secures the space. The error is an
// *Error; nothing of b is counted as received then.
func (u *Upload) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	next := u.received + int64(len(b))
	if u.want.Size >= 0 && next > u.want.Size {
		return errorf(Mismatch, "more than the %d bytes announced", u.want.Size)
	}
	if next > u.charged {
		if err := u.store.quota.charge(next-u.charged, 0); err != nil {
			return err
		}
		u.charged = next
	}
	if err := u.ensureOpen(); err != nil {
		return diskError(err)
	}
	if err := u.part.space.secure(u.part.file, u.part.file, u.received, next); err != nil {
		return writeError(err)
	}
	if err := u.part.writeSparse(b, u.received); err != nil {
		return writeError(err)
	}
	u.received = next
	u.part.space.release(int64(len(b)))
	return nil
}

// sum returns the SHA-256 of the first received bytes.
func (u *Upload) sum() []byte { return u.hash.Sum(nil) }

// Suspend ends an interrupted transfer. If the partial file can be continued
// and has at least 1 MiB, it keeps the file and returns its path and size in
// bytes. Otherwise it removes the file, and returns "" and 0.
func (u *Upload) Suspend() (kept string, size int64) {
	if u.ended {
		return "", 0
	}
	// Truncate also releases space that was preallocated behind the data.
	if u.part == nil || !u.resumable || u.received < minSuspended || u.part.file.Truncate(u.received) != nil {
		u.Abort()
		return "", 0
	}
	u.charged -= u.store.quota.suspend(u.want.Path, u.received)
	kept = filepath.Join(u.store.path, filepath.FromSlash(u.dir), u.part.name)
	u.release()
	return kept, u.received
}

// Abort ends the transfer and removes the partial file. After the end it does
// nothing.
func (u *Upload) Abort() {
	if u.ended {
		return
	}
	u.removePartial()
	u.release()
}

// removePartial removes the partial file, if it has a name.
func (u *Upload) removePartial() {
	if u.part == nil || u.part.name == "" {
		return
	}
	d, err := u.store.tree.open(u.dir)
	if err != nil {
		return
	}
	defer d.close()
	u.part.remove(d)
}

// release frees the locks, charges and reservations of the upload after its
// end, so that its path can be received again. It removes directories that it
// leaves empty.
func (u *Upload) release() {
	s := u.store
	u.closeFile()
	s.quota.refund(u.charged, u.entries)
	s.tree.removeEmpty(u.dir)
	u.unclaim()
}

// closeFile marks the upload as ended, and closes the partial file, which keeps
// its name.
func (u *Upload) closeFile() {
	u.ended = true
	if u.part != nil {
		u.part.close()
		u.part.space.release(u.part.space.reserved)
		u.part = nil
	}
}

// unclaim lets other uploads have the path.
func (u *Upload) unclaim() {
	if u.claimed {
		u.claimed = false
		u.store.claims.release(u.want.Path)
	}
}

// bufferPools holds the buffers of uploads that have no Hasher: there may be
// thousands of small files at once.
var bufferPools = [...]struct {
	size int64
	sync.Pool
}{{size: 4 << 10}, {size: 32 << 10}}

// getBuffer returns a buffer for reading n bytes, if need be in several parts;
// -1 is an unknown number. It has 4 KiB if these suffice, else 32 KiB, where
// the cost of the system call hardly counts. The caller returns it with
// putBuffer.
func getBuffer(n int64) []byte {
	p := &bufferPools[0]
	if n < 0 || n > p.size {
		p = &bufferPools[1]
	}
	if b, ok := p.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, p.size)
}

// putBuffer returns a buffer of getBuffer to its pool. The caller does not use
// it any more.
func putBuffer(b []byte) {
	for i := range bufferPools {
		if int64(len(b)) == bufferPools[i].size {
			bufferPools[i].Put(&b)
		}
	}
}
