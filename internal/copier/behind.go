package copier

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sync"

	"purr/internal/fdio"
	"purr/internal/sys"
)

// A behindCopier copies bytes into a file inside the kernel and hashes the file
// in a goroutine behind the copy. Reading the bytes again from the page cache
// costs less than copying them through a buffer.
type behindCopier struct {
	Copier
	Sum
	file *os.File

	mu     sync.Mutex
	moved  *sync.Cond // signals a change of the fields below
	stored int64      // bytes in the file
	hashed int64      // of them
	closed bool
	failed error         // why the goroutine has ended early
	done   chan struct{} // closed when the goroutine has ended
}

// behindLag is the most by which the hashing may be behind, in bytes: few
// enough to be still in the page cache.
const behindLag = 64 << 20

// newBehind starts the goroutine, which Close ends. c writes into file from its
// beginning; file is readable and stays the caller's to close.
func newBehind(c Copier, file *os.File, limit int64) *behindCopier {
	b := &behindCopier{Copier: c, Sum: Sum{limit: limit}, file: file, done: make(chan struct{})}
	b.moved = sync.NewCond(&b.mu)
	go b.run()
	return b
}

// run hashes the stored bytes until Close.
func (b *behindCopier) run() {
	defer close(b.done)
	h := sha256.New()
	buf := make([]byte, 256<<10) // stays in the processor's cache
	for {
		n := b.await(len(buf))
		if n == 0 {
			b.SHA256 = h.Sum(nil)
			return
		}
		_, err := io.ReadFull(io.NewSectionReader(b.file, b.hashed, int64(n)), buf[:n])
		if err != nil {
			err = fmt.Errorf("read what was written: %w", sys.Cause(err))
		}
		h.Write(buf[:n])
		b.mu.Lock()
		b.hashed += int64(n)
		b.failed = err
		b.moved.Broadcast()
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await waits for bytes to hash and returns their number, at most max; 0 at the
// end.
func (b *behindCopier) await(max int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.stored == b.hashed && !b.closed {
		b.moved.Wait()
	}
	return int(min(b.stored-b.hashed, int64(max)))
}

// Copy copies as the inner copier does, and fails if the hashing has failed.
func (b *behindCopier) Copy(max int) (int, error) {
	n, err := b.Copier.Copy(max)
	if failed := b.store(n); failed != nil && (err == nil || err == io.EOF) {
		err = &fdio.CopyError{Reading: false, Err: failed}
	}
	return n, err
}

// store records n bytes in the file. It waits while the hashing is too far
// behind, and returns its error, or a LimitError.
func (b *behindCopier) store(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stored += int64(n)
	b.moved.Broadcast()
	for b.stored-b.hashed > behindLag && b.failed == nil {
		b.moved.Wait()
	}
	if b.failed != nil {
		return b.failed
	}
	return b.count(n)
}

// Close waits until all bytes are hashed and completes the Sum.
func (b *behindCopier) Close() {
	b.mu.Lock()
	b.closed = true
	b.moved.Broadcast()
	b.mu.Unlock()
	<-b.done
	b.Err = b.failed
	b.Copier.Close()
}
