package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sync"

	"purr/internal/sys"

	"purr/internal/fdio"
)

// A behindWay moves bytes into a file by a way of the kernel's, which does not
// show them, and hashes what is in the file in a goroutine behind it. Reading
// them again from the page cache costs less than taking them through a buffer.
type behindWay struct {
	way
	digested
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

// newBehindWay starts the goroutine; close ends it. w writes into file from
// its beginning; file is readable and stays the caller's to close.
func newBehindWay(w way, file *os.File, limit int64) *behindWay {
	b := &behindWay{way: w, digested: digested{limit: limit}, file: file, done: make(chan struct{})}
	b.moved = sync.NewCond(&b.mu)
	go b.run()
	return b
}

// run hashes what move has stored until the way is closed.
func (b *behindWay) run() {
	defer close(b.done)
	h := sha256.New()
	buf := make([]byte, 256<<10) // stays in the processor's cache
	for {
		n := b.await(len(buf))
		if n == 0 {
			b.sum = h.Sum(nil)
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
func (b *behindWay) await(max int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.stored == b.hashed && !b.closed {
		b.moved.Wait()
	}
	return int(min(b.stored-b.hashed, int64(max)))
}

func (b *behindWay) move(max int) (int, error) {
	n, err := b.way.move(max)
	if failed := b.store(n); failed != nil && (err == nil || err == io.EOF) {
		err = &fdio.CopyError{Reading: false, Err: failed}
	}
	return n, err
}

// store books n bytes in the file. It waits while the hashing is too far
// behind, and returns what has gone wrong there.
func (b *behindWay) store(n int) error {
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

// close waits until everything is hashed.
func (b *behindWay) close() {
	b.mu.Lock()
	b.closed = true
	b.moved.Broadcast()
	b.mu.Unlock()
	<-b.done
	b.err = b.failed
	b.way.close()
}
