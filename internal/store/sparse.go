package store

import "bytes"

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

// isZero reports whether a block of holeSize bytes is all zeros. The first
// bytes decide for most others.
func isZero(block []byte) bool {
	return bytes.Equal(block[:16], zeros[:16]) && bytes.Equal(block, zeros[:])
}
