// Package lineedit reads input line by line, and on a terminal lets a person
// edit the line while output appears above it.
package lineedit

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync/atomic"

	"purr/internal/fdio"
)

// Options are how lines are read. The zero value reads them as they are.
type Options struct {
	// QuitWord on a line of its own ends the input. If empty, no line does.
	QuitWord string

	// Screen is where the edited line is drawn, in bold and behind "> ": the
	// terminal that the input comes from. If nil, lines are not edited.
	Screen io.Writer

	// Redirect sends the messages of the program to w while lines are edited,
	// and returns the function that undoes this. If nil, the program writes no
	// messages to the terminal.
	Redirect func(w io.Writer) (restore func())
}

// A quitError is the error of Read when the user wants to end.
type quitError string

func (e quitError) Error() string { return string(e) }

// Is makes errors.Is(ErrInterrupted, ErrQuit) true.
func (e quitError) Is(target error) bool { return target == ErrQuit }

// ErrQuit is the error of Read after the quit word, and ErrInterrupted that
// after Ctrl-C in the editor. The second is an ErrQuit, too (errors.Is).
const (
	ErrQuit        = quitError("quit word read")
	ErrInterrupted = quitError("interrupted")
)

// A Reader is an fdio.Source of lines. While Read runs, other goroutines may
// call only Ready, Interrupted and Close.
type Reader struct {
	in       *fdio.File
	quitWord string
	lines    *bufio.Reader // nil with an editor
	editor   *editor       // nil: lines are not edited
	rest     []byte        // of the current line
	inside   bool          // whether the last piece did not end its line
	buffered atomic.Bool   // whether Read needs no input
}

// New returns a Reader of in, which stays the caller's to close. If in is a
// terminal and Options.Screen is set, lines are edited, and the terminal is in
// raw mode until Reader.Close.
func New(in *fdio.File, o Options) (*Reader, error) {
	r := &Reader{in: in, quitWord: o.QuitWord}
	if o.Screen == nil || in.Kind() != fdio.Terminal {
		r.lines = bufio.NewReader(in)
		return r, nil
	}
	var err error
	r.editor, err = newEditor(in, o)
	return r, err
}

// Output returns the writer that shows text above the line being edited, with
// everything escaped that could act on the terminal; nil without an editor.
// Text that does not end its line is shown after 100 ms.
func (r *Reader) Output() io.Writer {
	if r.editor == nil {
		return nil
	}
	return r.editor.output
}

// Close restores the terminal. Further calls do nothing.
func (r *Reader) Close() {
	if r.editor != nil {
		r.editor.close()
	}
}

// Interrupted reports whether Ctrl-C was typed in the editor.
func (r *Reader) Interrupted() bool { return r.editor != nil && r.editor.interrupted.Load() }

// Kind returns the kind of the input.
func (r *Reader) Kind() fdio.Kind { return r.in.Kind() }

// Ready reports whether Read would return at once.
func (r *Reader) Ready() bool { return r.buffered.Load() || r.in.Ready() }

// Read returns bytes of at most one line. In place of the quit word it returns
// ErrQuit. A line of the editor ends with a newline. In the editor Ctrl-D on an
// empty line is io.EOF, and Ctrl-C is ErrInterrupted.
func (r *Reader) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		line, err := r.readLine()
		if len(line) == 0 {
			return 0, err
		}
		if r.quitWord != "" && !r.inside && string(bytes.TrimRight(line, "\r\n")) == r.quitWord {
			return 0, ErrQuit
		}
		r.inside = line[len(line)-1] != '\n'
		r.rest = line
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	r.buffered.Store(len(r.rest) > 0 || r.lines != nil && r.lines.Buffered() > 0 || r.editor != nil && r.editor.hasLine())
	return n, nil
}

// maxLine is how much of a line is kept while the quit word is looked for, or
// until its end is shown. A longer one is passed on in pieces.
const maxLine = 64 << 10

// readLine returns the next line with its end. A line beyond maxLine is
// returned in pieces. The last line of the input may lack its end; then the
// next call returns io.EOF. Another error may come together with the bytes read
// before it.
func (r *Reader) readLine() ([]byte, error) {
	if r.editor != nil {
		return r.editor.readLine()
	}
	var line []byte
	for len(line) < maxLine {
		if r.lines.Buffered() == 0 {
			if err := r.in.WaitReadable(); err != nil {
				return line, err
			}
		}
		r.buffered.Store(true) // input has left the descriptor, where Ready looks
		piece, err := r.lines.ReadSlice('\n')
		line = append(line, piece...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case len(line) > 0 && err == io.EOF:
			return line, nil
		default:
			return line, err
		}
	}
	return line, nil
}
