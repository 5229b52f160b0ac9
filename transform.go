package main

import (
	"bytes"
	"encoding/binary"
	"io"

	"purr/internal/copier"
)

func upperFilter(b []byte) []byte {
	upper(b)
	return b
}

// newCRLF returns a filter that ends every line with CR LF (-C). A line that
// ends so already stays as it is, also where CR and LF come in two reads.
func newCRLF() copier.Filter {
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

// The Telnet commands that matter to a peer which refuses every option: RFC
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

// newTelnet returns a filter for received bytes that refuses every option
// that the peer offers or asks for (-t): the answers go to reply, and the
// commands are taken out of the stream. An error of reply's is the
// connection's, and the next read or write will tell.
func newTelnet(reply io.Writer) copier.Filter {
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
				// A refusal needs no answer: answering one could go on for
				// ever (RFC 854, "General Considerations").
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

// upper turns ASCII a-z into A-Z in place and leaves every other byte as it
// is, those from 0x80 up included, so that UTF-8 text and binary data pass
// unharmed. It works on eight bytes at a time without a branch.
func upper(b []byte) {
	const (
		ones = 0x0101010101010101
		high = 0x80 * ones
	)
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		// The high bit of each byte of the sums says whether its low seven
		// bits are at least 'a', and whether they are beyond 'z'. No sum
		// carries into the next byte: 0x7f + 0x1f < 0x100.
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
}

// A pacedWriter passes lines on one by one with an interval between them (-i).
// The first goes out at once, as in nc.
type pacedWriter struct {
	io.Writer
	pause func() error // waits for the interval
	begun bool
}

func (w *pacedWriter) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		if w.begun {
			if err := w.pause(); err != nil {
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
