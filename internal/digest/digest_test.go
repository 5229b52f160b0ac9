package digest

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"purr/internal/testkit"
)

// The digest is that of the blocks in the order in which they were put,
// whatever their sizes, and goes on from a hash that has begun.
func TestDigester(t *testing.T) {
	t.Parallel()
	want := make([]byte, 5<<20+123)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(want)

	begun := sha256.New()
	begun.Write(want[:1000])
	d := New(begun)
	for rest := want[1000:]; len(rest) > 0; {
		b := d.Block()
		n := copy(b[:1+random.Uint64()%uint64(len(b))], rest)
		rest = rest[n:]
		d.Put(b[:n])
	}
	if got, want := d.Sum(), sha256.Sum256(want); !bytes.Equal(got, want[:]) {
		t.Errorf("digest %x, want %x", got, want)
	}
	if got, want := New(nil).Sum(), sha256.Sum256(nil); !bytes.Equal(got, want[:]) {
		t.Errorf("digest of nothing %x, want %x", got, want)
	}
}

// However many there are at once, few hold much, and all are right.
func TestManyDigesters(t *testing.T) {
	t.Parallel()
	var all []*Hasher
	modest := 0
	for range cap(fastDigesters) + 20 {
		d := New(nil)
		if !d.fast {
			modest++
		}
		all = append(all, d)
	}
	if modest < 20 {
		t.Errorf("%d with small blocks", modest)
	}
	content := []byte(testkit.Noise(200_000))
	for _, d := range all {
		for rest := content; len(rest) > 0; {
			b := d.Block()
			n := copy(b, rest)
			d.Put(b[:n])
			rest = rest[n:]
		}
	}
	want := sha256.Sum256(content)
	for _, d := range all {
		if mark := d.Mark(); !bytes.Equal(mark, want[:]) {
			t.Errorf("fast %t: mark %x, want %x", d.fast, mark, want)
		}
		if got := d.Sum(); !bytes.Equal(got, want[:]) {
			t.Errorf("fast %t: %x, want %x", d.fast, got, want)
		}
	}
}
