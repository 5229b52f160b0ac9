// Package filter changes the bytes of a stream on their way: upper case, CR LF
// at the end of lines, Telnet options refused, a pause between lines. A filter
// gets the bytes of one direction in order, cut anywhere, and returns bytes
// that are valid until its next call.
package filter

import (
	"bytes"
	"encoding/binary"
	"io"
)

// NewCRLF returns a filter that ends every line with CR LF (-C). A line that
// ends so already stays unchanged, also if CR and LF are in two reads.
func NewCRLF() func([]byte) []byte {
	var out []byte
	last := byte(0)
	return func(b []byte) []byte {
		if bytes.IndexByte(b, '\n') < 0 {
			if len(b) > 0 {
				last = b[len(b)-1]
			}
			return b
		}
		out = out[:0]
		for _, c := range b {
			if c == '\n' && last != '\r' {
				out = append(out, '\r')
			}
			out = append(out, c)
			last = c
		}
		return out
	}
}

// The Telnet commands that a peer which refuses every option has to know: RFC
// 854, "TELNET Command Structure".
const (
	telnetSE   = 240
	telnetSB   = 250
	telnetWILL = 251
	telnetWONT = 252
	telnetDO   = 253
	telnetDONT = 254
	telnetIAC  = 255
)

// NewTelnet returns a filter for received bytes that refuses every option
// which the peer offers or asks for (-t): it writes the answers to reply, and
// removes the commands from the stream. An error of reply is the connection's,
// and the next read or write returns it.
func NewTelnet(reply io.Writer) func([]byte) []byte {
	const (
		data = iota
		command
		option
		sub
		subCommand
	)
	state, verb := data, byte(0)
	return func(b []byte) []byte {
		out := b[:0]
		for _, c := range b {
			switch state {
			case data:
				if c == telnetIAC {
					state = command
				} else {
					out = append(out, c)
				}
			case command:
				switch {
				case c == telnetIAC: // a doubled 255 is a byte of data
					out = append(out, c)
					state = data
				case c >= telnetWILL:
					verb, state = c, option
				case c == telnetSB:
					state = sub
				default:
					state = data
				}
			case option:
				// A refusal is not answered, because that could go on for ever
				// (RFC 854, "General Considerations").
				switch verb {
				case telnetWILL:
					_, _ = reply.Write([]byte{telnetIAC, telnetDONT, c})
				case telnetDO:
					_, _ = reply.Write([]byte{telnetIAC, telnetWONT, c})
				}
				state = data
			case sub:
				if c == telnetIAC {
					state = subCommand
				}
			case subCommand:
				state = sub
				if c == telnetSE {
					state = data
				}
			}
		}
		return out
	}
}

// Upper turns ASCII a-z into A-Z in place, changes no other byte, so that UTF-8
// text stays valid, and returns b. It works on eight bytes at a time without a
// branch.
func Upper(b []byte) []byte {
	whole := b
	const (
		ones = 0x0101010101010101
		high = 0x80 * ones
	)
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		// In the sums, the high bit of each byte is set if its low seven bits
		// are at least 'a', and if they are beyond 'z'. No sum carries into
		// the next byte: 0x7f + 0x1f < 0x100.
		low := x &^ high
		fromA := low + (0x80-'a')*ones
		beyondZ := low + (0x7f-'z')*ones
		lower := (fromA ^ beyondZ) & ^x & high
		binary.LittleEndian.PutUint64(b, x^lower>>2) // 0x80>>2 is the case bit, 0x20
		b = b[8:]
	}
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 0x20
		}
	}
	return whole
}

// A LineWriter writes line by line with a pause between two lines. The first is
// written at once, as in nc -i.
type LineWriter struct {
	io.Writer
	Pause func() error // waits; its error ends the Write
	begun bool         // whether a line was written
}

// Write writes all lines of b. It returns the error of Pause or of the inner
// Writer.
func (w *LineWriter) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		if w.begun {
			if err := w.Pause(); err != nil {
				return written, err
			}
		}
		line := b[written:]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end+1]
		}
		w.begun = line[len(line)-1] == '\n'
		n, err := w.Writer.Write(line)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
