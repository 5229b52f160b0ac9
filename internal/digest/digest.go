// Package digest computes SHA-256 beside the copying of the same bytes, and
// reads and writes the Repr-Digest fields of RFC 9530.
package digest

import (
	"crypto/sha256"
	"hash"
)

// A Hasher computes a SHA-256 in a goroutine of its own, so that hashing runs
// beside the reading and writing of the same bytes on another core. The bytes
// pass through blocks that it owns: Block lends one, Put gives it back filled.
type Hasher struct {
	free chan []byte // blocks to fill
	full chan filled // blocks to hash, in order; closed by Sum
	hash hash.Hash
	done chan struct{} // closed when everything is hashed
	fast bool          // whether it is one of the few with large blocks
}

// A filled block is hashed from an offset on.
type filled struct {
	block []byte
	from  int
}

// Six blocks for the goroutines of a receiver, which reads, writes and hashes,
// were faster than four, and than eight of half the size.
const (
	Blocks    = 6
	BlockSize = 512 << 10
)

// fastDigesters bounds the memory of Hashers, however many the peers ask for.
// Eight at once, as many as there can be cores to gain by it, have the blocks
// above, 3 MiB; others have two of modestBlockSize.
var fastDigesters = make(chan struct{}, 8)

const modestBlockSize = 32 << 10

// New returns a Hasher and starts its goroutine, which Sum ends. The digest
// goes on from h, which may have hashed a prefix already; nil begins a new one.
func New(h hash.Hash) *Hasher {
	if h == nil {
		h = sha256.New()
	}
	blocks, size, fast := 2, modestBlockSize, false
	select {
	case fastDigesters <- struct{}{}:
		blocks, size, fast = Blocks, BlockSize, true
	default:
	}
	d := &Hasher{
		free: make(chan []byte, blocks),
		full: make(chan filled, blocks),
		fast: fast,
		hash: h,
		done: make(chan struct{}),
	}
	for range blocks {
		d.free <- make([]byte, size)
	}
	go d.run()
	return d
}

// run hashes the full blocks in order and frees them, until Sum.
func (d *Hasher) run() {
	defer close(d.done)
	for b := range d.full {
		d.hash.Write(b.block[b.from:])
		d.free <- b.block[:cap(b.block)]
	}
}

// Block returns a block to fill. It waits while all of them are still to be
// hashed. The caller gives the block back with Put or PutFrom.
func (d *Hasher) Block() []byte { return <-d.free }

// Put gives a block back. b is the filled beginning of the block, which is
// hashed. The caller must not touch it any more.
func (d *Hasher) Put(b []byte) { d.full <- filled{b, 0} }

// PutFrom is Put, but the first from bytes of b are not hashed.
func (d *Hasher) PutFrom(from int, b []byte) { d.full <- filled{b, from} }

// Sum ends the goroutine and returns the digest of all that was put. It is
// called once, after the last Put, also if the digest is not used.
func (d *Hasher) Sum() []byte {
	close(d.full)
	<-d.done
	if d.fast {
		<-fastDigesters
	}
	return d.hash.Sum(nil)
}

// Mark waits until all that was put is hashed and returns the digest so far;
// more may follow. The caller must have given all blocks back.
func (d *Hasher) Mark() []byte {
	blocks := make([][]byte, cap(d.free)) // all of them back: everything is hashed
	for i := range blocks {
		blocks[i] = d.Block()
	}
	for _, b := range blocks {
		d.free <- b
	}
	return d.hash.Sum(nil)
}
