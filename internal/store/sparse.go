package store

import (
	"bytes"
	"os"
)

// holeSize is the least number of zeros, in bytes, that become a hole.
const holeSize = 64 << 10

var zeros [holeSize]byte

// writeSparse writes b at an offset, behind all earlier writes. Aligned blocks
// of zeros become holes.
func (p *partialFile) writeSparse(b []byte, at int64) error {
	for len(b) > 0 {
		data, hole := splitZeros(b, at)
		if len(data) > 0 {
			if _, err := p.file.WriteAt(data, at); err != nil {
				return err
			}
			at += int64(len(data))
			p.dataEnd = at
		}
		if hole > 0 && p.space.preallocated {
			// ext4 releases no space behind the end of a file.
			if err := p.file.Truncate(at + hole); err != nil {
				return err
			}
			punchHole(p.file, at, hole)
			p.dataEnd = at + hole
		}
		at += hole
		b = b[len(data)+int(hole):]
	}
	return nil
}

// splitZeros splits b, which begins at the offset at, before the first aligned
// block of zeros. It returns the data before it, and the length in bytes of
// this and the following blocks of zeros.
func splitZeros(b []byte, at int64) (data []byte, hole int64) {
	n := int((holeSize - at%holeSize) % holeSize) // where the first aligned block begins
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

// isZero reports whether b, of at most holeSize bytes, is all zeros. It
// compares the first bytes alone first, because these decide for most data.
func isZero(b []byte) bool {
	head := min(len(b), 16)
	return bytes.Equal(b[:head], zeros[:head]) && bytes.Equal(b, zeros[:len(b)])
}

// A sparseFile writes a new file from its beginning. Aligned blocks of zeros
// become holes, however the writes are cut.
type sparseFile struct {
	file    *os.File
	at      int64 // bytes written, those in holes included
	end     int64 // offset behind the last byte in the file
	pending int   // zeros before at that are not in the file: all of their block so far
}

// Write writes b behind all earlier writes. Zeros at its end may be missing
// until finish or the next Write.
func (s *sparseFile) Write(b []byte) (written int, err error) {
	for len(b) > 0 {
		inBlock := int(s.at % holeSize)
		first := min(len(b), holeSize-inBlock) // bytes for this block
		if inBlock == s.pending && isZero(b[:first]) {
			s.pending = (inBlock + first) % holeSize
			s.at += int64(first)
			written += first
			b = b[first:]
			continue
		}
		if _, err := s.file.WriteAt(zeros[:s.pending], s.at-int64(s.pending)); err != nil {
			return written, err
		}
		s.pending = 0
		n := first
		for n < len(b) && !isZero(b[n:min(len(b), n+holeSize)]) {
			n = min(len(b), n+holeSize)
		}
		done, err := s.file.WriteAt(b[:n], s.at)
		s.at += int64(done)
		written += done
		if err != nil {
			return written, err
		}
		s.end = s.at
		b = b[n:]
	}
	return written, nil
}

// finish gives a file that ends in a hole its size.
func (s *sparseFile) finish() error {
	if s.end == s.at {
		return nil
	}
	s.end = s.at
	return s.file.Truncate(s.at)
}
