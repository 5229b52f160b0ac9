package lineedit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"purr/internal/display"
	"purr/internal/fdio"
)

// An editor is a terminal in raw mode: the line being edited at the bottom, and
// output above it.
type editor struct {
	terminal    *term.Terminal
	output      *output
	interrupted atomic.Bool // whether Ctrl-C was typed
	closed      atomic.Bool
	undo        []func()
}

// newEditor puts the terminal in into raw mode.
func newEditor(in *fdio.File, o Options) (*editor, error) {
	fd := in.FD()
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	e := &editor{}
	e.terminal = term.NewTerminal(keyboard{in, o.Screen, &e.interrupted}, "")
	e.output = newOutput(e.terminal)
	e.undo = append(e.undo, func() { _ = term.Restore(fd, old) })
	if o.Redirect != nil {
		e.undo = append(e.undo, o.Redirect(e.terminal))
	}

	resized := make(chan os.Signal, 1)
	notifyResize(resized)
	setSize := func() {
		if width, height, err := term.GetSize(fd); err == nil {
			_ = e.terminal.SetSize(width, height)
		}
	}
	setSize()
	go func() {
		for range resized {
			setSize()
		}
	}()
	e.undo = append(e.undo, func() { signal.Stop(resized); close(resized) })
	return e, nil
}

// close shows the pending output and restores the terminal.
func (e *editor) close() {
	if e.closed.Swap(true) {
		return // without a wait: the screen may be stopped (Ctrl-S) for good
	}
	e.output.flush()
	for _, undo := range e.undo {
		undo()
	}
}

// readLine waits for the next line: io.EOF after Ctrl-D, ErrQuit after Ctrl-C.
func (e *editor) readLine() ([]byte, error) {
	line, err := e.terminal.ReadLine()
	switch {
	case errors.Is(err, term.ErrPasteIndicator):
	case err == io.EOF && e.interrupted.Load():
		return nil, ErrQuit
	case err != nil:
		return nil, err
	}
	return []byte(line + "\n"), nil
}

// A keyboard is the input and the screen of a term.Terminal, which reports
// Ctrl-C as io.EOF, just like Ctrl-D.
type keyboard struct {
	in          io.Reader
	io.Writer   // the screen
	interrupted *atomic.Bool
}

const ctrlC = 3

func (k keyboard) Read(b []byte) (int, error) {
	n, err := k.in.Read(b)
	if bytes.IndexByte(b[:n], ctrlC) >= 0 {
		k.interrupted.Store(true)
	}
	return n, err
}

// partialDelay is how long an unfinished line, such as a prompt, is held back.
const partialDelay = 100 * time.Millisecond

// An output writes whole lines to the screen, escaped.
type output struct {
	screen io.Writer

	mu      sync.Mutex
	pending []byte      // of the line that has not ended
	late    *time.Timer // shows pending
}

func newOutput(screen io.Writer) *output {
	o := &output{screen: screen}
	o.late = time.AfterFunc(time.Hour, o.flush)
	o.late.Stop()
	return o
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pending = append(o.pending, b...)
	for {
		line, rest, ended := bytes.Cut(o.pending, []byte("\n"))
		if !ended {
			break
		}
		if err := o.show(bytes.TrimSuffix(line, []byte("\r"))); err != nil {
			return 0, err
		}
		o.pending = rest
	}
	if len(o.pending) > maxLine {
		o.flushLocked()
	} else if len(o.pending) > 0 {
		o.late.Reset(partialDelay)
	}
	return len(b), nil
}

func (o *output) show(line []byte) error {
	_, err := o.screen.Write([]byte(display.Escape(string(line)) + "\n"))
	return err
}

// flush shows an unfinished line.
func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flushLocked()
}

// flushLocked is flush for a caller that holds mu.
func (o *output) flushLocked() {
	o.late.Stop()
	if len(o.pending) > 0 {
		_ = o.show(o.pending)
		o.pending = nil
	}
}
