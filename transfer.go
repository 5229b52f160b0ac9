package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"

	"purr/internal/fdio"
)

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

// isClosedByUs reports whether err only says that this side has closed the
// connection or ended the wait: no error of the conversation's.
func isClosedByUs(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, fdio.ErrInterrupted)
}
