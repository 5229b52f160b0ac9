package store

import (
	"bytes"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"purr/internal/digest"
)

// An incoming is a file on its way in. One goroutine uses it: receive, and then
// commit, cut or drop.
type Upload struct {
	File
	store     *Store
	dir, base string   // of path
	resumable bool     // the partial file has the name under which a resume looks for it
	partName  string   // "" while it has no name
	file      *os.File // the partial file, locked; nil once it is given up
	info      fs.FileInfo
	hash      hash.Hash // has hashed the first received bytes, unless receive runs
	received  int64     // bytes, with those that were there before
	end       int64     // of the file: zeros that come behind it are left to the file system

	preallocated bool
	charged      int64  // bytes counted against maxSize
	disk         uint64 // where the promised bytes are
	reserved     int64  // bytes for which there was room, and which are neither written nor preallocated
}

// smallFile is the most, in bytes, of a file that is hashed where it is received;
// a larger one is in a goroutine beside that.
const SmallFile = 256 << 10

// receive takes the content from src until its end. moved is called with the
// number of bytes whenever some have come. The error is a refusal if they cannot
// be stored or are more than was announced (then nothing is kept, whatever the
// caller ends the incoming with), else src's own.
func (in *Upload) Receive(src io.Reader, moved func(n int)) error {
	err := in.receiveSmall(src, moved)
	if err == errNotSmall {
		err = in.receiveLarge(src, moved)
	}
	if _, ok := err.(*Error); ok {
		in.Abort()
	}
	return err
}

var errNotSmall = fmt.Errorf("more than %d bytes", SmallFile)

// receiveSmall is receive for files that are small, or may be: it hashes between
// reading and writing. It returns errNotSmall with src not at its end if they are
// not.
func (in *Upload) receiveSmall(src io.Reader, moved func(n int)) error {
	if in.Size-in.Offset > SmallFile {
		return errNotSmall
	}
	buf := getBuffer(in.Size - in.Offset)
	defer putBuffer(buf)
	for in.received-in.Offset < SmallFile {
		n, err := src.Read(buf)
		if n > 0 {
			moved(n)
			if err := in.write(buf[:n]); err != nil {
				return err
			}
			_, _ = in.hash.Write(buf[:n])
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

// receiveLarge reads, writes and hashes in three goroutines. A block is written
// and hashed when it is full, so what src delivers in small pieces does not cost
// more.
func (in *Upload) receiveLarge(src io.Reader, moved func(n int)) (err error) {
	d := digest.New(in.hash)
	defer d.Sum()
	w := in.newBlockWriter(d)
	for err == nil && !w.failed.Load() {
		block, n := d.Block(), 0
		for n < len(block) && err == nil && !w.failed.Load() {
			var got int
			if got, err = src.Read(block[n:]); got > 0 {
				moved(got)
				n += got
			}
		}
		w.full <- block[:n]
	}
	if writeErr := w.close(); writeErr != nil {
		return writeErr
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// A blockWriter writes what has come of a file while more is read, and passes it
// on to be hashed.
type blockWriter struct {
	full   chan []byte // a digester's blocks to write, in order; closed by close
	failed atomic.Bool // whether a write has failed: nothing is written any more
	done   chan error  // told of the first failure, or nil
}

// newBlockWriter starts the goroutine, which has in to itself until close has
// returned.
func (in *Upload) newBlockWriter(d *digest.Hasher) *blockWriter {
	w := &blockWriter{full: make(chan []byte, digest.Blocks), done: make(chan error, 1)}
	go func() {
		var err error
		for b := range w.full {
			if err == nil {
				if err = in.write(b); err != nil {
					w.failed.Store(true)
				}
			}
			d.Put(b)
		}
		w.done <- err
	}()
	return w
}

// close ends the goroutine when everything is written, and returns what has
// failed. It is called before the digester's sum.
func (w *blockWriter) close() error {
	close(w.full)
	return <-w.done
}

// write adds b to the partial file.
func (in *Upload) write(b []byte) error {
	next := in.received + int64(len(b))
	if in.Size >= 0 && next > in.Size {
		return errorf(Mismatch, "more than the %d bytes announced", in.Size)
	}
	if next > in.charged {
		if err := in.store.charge(next - in.charged); err != nil {
			return err
		}
		in.charged = next
	}
	if err := in.writeHoles(b); err != nil {
		return writeError(err)
	}
	in.received = next
	in.unreserve(int64(len(b)))
	return nil
}

// holeSize is the least number of zeros, in bytes, that become a hole.
const holeSize = 64 << 10

var zeros [holeSize]byte

// writeHoles writes b behind what was received, but for blocks of zeros: there
// the file keeps, or gets, a hole.
func (in *Upload) writeHoles(b []byte) error {
	at := in.received
	for len(b) > 0 {
		data, hole := splitZeros(b, at)
		if len(data) > 0 {
			if _, err := in.file.WriteAt(data, at); err != nil {
				return err
			}
			at += int64(len(data))
			in.end = at
		}
		if hole > 0 && in.preallocated {
			// ext4 gives nothing back behind the end of a file.
			if err := in.file.Truncate(at + hole); err != nil {
				return err
			}
			punch(in.file, at, hole)
			in.end = at + hole
		}
		at += hole
		b = b[len(data)+int(hole):]
	}
	return nil
}

// splitZeros returns the beginning of b, which is to stand at offset at, up to
// the first whole block of zeros, and how many bytes of such blocks follow.
func splitZeros(b []byte, at int64) (data []byte, hole int64) {
	n := int((holeSize - at%holeSize) % holeSize) // to where the first block begins
	for ; n+holeSize <= len(b); n += holeSize {
		if isZero(b[n : n+holeSize]) {
			break
		}
	}
	if n+holeSize > len(b) {
		return b, 0
	}
	end := n + holeSize
	for end+holeSize <= len(b) && isZero(b[end:end+holeSize]) {
		end += holeSize
	}
	return b[:n], int64(end - n)
}

// isZero reports whether a block holds zeros only. Most others show it in their
// first bytes.
func isZero(block []byte) bool {
	return bytes.Equal(block[:16], zeros[:16]) && bytes.Equal(block, zeros[:])
}

// sum is the SHA-256 of what was received, with what was there before.
func (in *Upload) sum() []byte { return in.hash.Sum(nil) }

// cut ends a transfer that was cut off. It returns the path of the partial file
// that a later one can go on from, and its size in bytes; "" if there is none.
func (in *Upload) Suspend() (kept string, size int64) {
	if in.file == nil {
		return "", 0
	}
	// This also gives back the space behind what was received.
	if !in.resumable || in.received < keepFrom || in.file.Truncate(in.received) != nil {
		in.Abort()
		return "", 0
	}
	s := in.store
	if s.MaxSize > 0 {
		s.mu.Lock()
		s.suspended[in.Path] = in.received
		s.mu.Unlock()
		in.charged -= in.received
	}
	in.release()
	return filepath.Join(s.path, filepath.FromSlash(in.dir), in.partName), in.received
}

// drop ends a transfer of which nothing is to stay.
func (in *Upload) Abort() {
	if in.file == nil {
		return
	}
	in.removePartial()
	in.release()
}

// removePartial removes the partial file if it still is where it was. Where
// somebody has moved it, it is theirs.
func (in *Upload) removePartial() {
	if in.partName == "" {
		return
	}
	d, err := in.store.folder(in.dir)
	if err != nil {
		return
	}
	defer d.close()
	if d.holds(in.partName, in.info) {
		_ = d.root.Remove(in.partName)
	}
}

// The buffers of transfers that have none of their own: a thousand small files
// may arrive at once.
var bufferPools = [...]struct {
	size int64
	sync.Pool
}{{size: 4 << 10}, {size: 32 << 10}}

// getBuffer lends a buffer for n bytes, -1 if that is not known: one of the
// size of the content or, for more, one that is large enough to make little of
// the cost of a system call. putBuffer takes it back.
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

func putBuffer(b []byte) {
	for i := range bufferPools {
		if int64(len(b)) == bufferPools[i].size {
			bufferPools[i].Put(&b)
		}
	}
}
