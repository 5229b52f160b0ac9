package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

const (
	// patternLen is the period of the stream in bytes. It is odd and no multiple of any block size, so that a
	// block that is missing, doubled or swapped with its neighbour shows in a comparison.
	patternLen = 257 * 1031
	// maxBlock is the largest piece (bytes) that stream hands out at once; no more than a period.
	maxBlock = 256 << 10
)

// A stream is the endless byte stream that every transfer carries: pseudo-random bytes with a fixed seed, the same in
// every process, repeated every patternLen bytes. It is small enough to stay in the cache, so that a neutral
// end costs as little as it can.
type stream struct {
	data []byte
}

// newStream makes the stream; with upper it is the stream as it looks after the upper-case transform.
func newStream(upper bool) *stream {
	data := make([]byte, patternLen, patternLen+maxBlock)
	random := rand.NewChaCha8([32]byte([]byte("purr bench: the same every time!")))
	random.Read(data) // never fails
	if upper {
		upperASCII(data)
	}
	return &stream{data: append(data, data[:maxBlock]...)[:patternLen+maxBlock]}
}

// at returns n bytes (at most maxBlock) of the stream from offset off on. The caller must not change them.
func (s *stream) at(off int64, n int) []byte {
	i := int(off % patternLen)
	return s.data[i : i+n]
}

// upperASCII turns a-z into A-Z in place, the plain way: it is the reference for what purr and tr do.
func upperASCII(b []byte) {
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
}

// A verifier compares what arrives with the stream.
type verifier struct {
	want *stream
	off  int64 // bytes seen
	bad  int64 // offset of the first block that differs, -1 while there is none
}

// newVerifier returns a verifier that expects the stream from its beginning.
func newVerifier(upper bool) *verifier {
	return &verifier{want: newStream(upper), bad: -1}
}

// Write compares p with the next bytes of the stream; it never fails, so that the transfer goes on to its end.
func (v *verifier) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), maxBlock)
		if v.bad < 0 && !bytes.Equal(rest[:n], v.want.at(v.off, n)) {
			v.bad = v.off
		}
		v.off += int64(n)
		rest = rest[n:]
	}
	return len(p), nil
}

// writePattern makes a file of size bytes that holds the stream, after the given header.
func writePattern(path, header string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, maxBlock)
	w.WriteString(header)
	s := newStream(false)
	for off := int64(0); off < size; {
		n := int(min(size-off, maxBlock))
		w.Write(s.at(off, n))
		off += int64(n)
	}
	err = w.Flush()
	if err2 := f.Close(); err == nil {
		err = err2
	}
	return err
}

// checkFile says whether the file holds the header and then size bytes of the stream, and nothing else.
func checkFile(path, header string, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, len(header))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != header {
		return fmt.Errorf("the file does not begin with what was in it before")
	}
	v := newVerifier(false)
	if _, err := io.CopyBuffer(struct{ io.Writer }{v}, struct{ io.Reader }{f}, make([]byte, maxBlock)); err != nil {
		return err
	}
	return checkBytes(v.off, size, v.bad)
}

// checkBytes words the difference between what arrived and what was sent; nil if there is none. bad is the offset of
// the first difference in content, or negative.
func checkBytes(got, want, bad int64) error {
	switch {
	case bad >= 0:
		return fmt.Errorf("wrong data in the block at byte %d", bad)
	case got != want:
		return fmt.Errorf("%d bytes arrived, %d were sent", got, want)
	}
	return nil
}
