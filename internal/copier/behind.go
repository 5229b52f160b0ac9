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

// A behindCopier moves bytes into a file by a way of the kernel's, which does not
// show them, and hashes what is in the file in a goroutine behind it. Reading
// them again from the page cache costs less than taking them through a buffer.
type behindCopier struct {
	Copier
	Sum
	file *os.File

	mu     sync.Mutex
	moved  *sync.Cond // whenever something below changes
	stored int64      // bytes in the file
	hashed int64      // and how many of them are hashed
	closed bool
	failed error         // of the goroutine, which has then ended
	done   chan struct{} // closed when the goroutine has ended
}

// behindLag is how far the hashing may be behind: little enough to be still
// in the page cache.
const behindLag = 64 << 20

// newBehind starts the goroutine; close ends it. w writes into file from
// its beginning; file is readable and stays the caller's to close.
func newBehind(w Copier, file *os.File, limit int64) *behindCopier {
	b := &behindCopier{Copier: w, Sum: Sum{limit: limit}, file: file, done: make(chan struct{})}
	b.moved = sync.NewCond(&b.mu)
	go b.run()
	return b
}

// run hashes what Copy has stored until Close.
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

// await waits for bytes to hash and returns how many there are, at most max; 0
// when there will be no more.
func (b *behindCopier) await(max int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.stored == b.hashed && !b.closed {
		b.moved.Wait()
	}
	return int(min(b.stored-b.hashed, int64(max)))
}

func (b *behindCopier) Copy(max int) (int, error) {
	n, err := b.Copier.Copy(max)
	if failed := b.store(n); failed != nil && (err == nil || err == io.EOF) {
		err = &fdio.CopyError{Reading: false, Err: failed}
	}
	return n, err
}

// store books n bytes in the file. It waits while the hashing is too far
// behind, and returns what has gone wrong there.
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

// Close waits until everything is hashed.
func (b *behindCopier) Close() {
	b.mu.Lock()
	b.closed = true
	b.moved.Broadcast()
	b.mu.Unlock()
	<-b.done
	b.Err = b.failed
	b.Copier.Close()
}
