package lineedit

import (
	"bytes"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"purr/internal/display"
	"purr/internal/fdio"
	"purr/internal/proc"
)

// An editor is a terminal in raw mode: the line being edited at the bottom, and
// output above it.
type editor struct {
	in          *fdio.File
	screen      *screen
	output      *output
	keys        []byte   // typed, and not edited yet
	history     []string // of finished lines, the oldest one first
	recalled    int      // index in history of the line shown; len(history): the own draft
	unfinished  string   // the own draft, while another line is recalled
	interrupted atomic.Bool
	closed      atomic.Bool
	undo        []func()
	suspend     func() // asks all processes of the group to stop

	fd    int
	modes sync.Mutex  // held while the terminal's modes are changed
	old   *term.State // those outside of the editor; nil: they are in force
}

// maxHistory is how many lines can be recalled.
const maxHistory = 100

// newEditor returns an editor on the terminal in, which it puts into raw mode.
// It also starts Options.Redirect. close undoes both.
func newEditor(in *fdio.File, o Options) (*editor, error) {
	e := &editor{fd: in.FD(), suspend: proc.Suspend}
	if err := e.makeRaw(); err != nil {
		return nil, err
	}
	e.in, e.screen = in, newScreen(o.Screen)
	e.output = newOutput(e.screen)
	e.undo = append(e.undo, e.restore, proc.OnSuspend(e.restore, e.resume))
	if o.Redirect != nil {
		e.undo = append(e.undo, o.Redirect(e.screen))
	}

	resized := make(chan os.Signal, 1)
	notifyResize(resized)
	setSize := func() {
		if width, height, err := term.GetSize(e.fd); err == nil {
			e.screen.resize(width, height)
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

// makeRaw puts the terminal into raw mode, and keeps its former modes for
// restore.
func (e *editor) makeRaw() error {
	e.modes.Lock()
	defer e.modes.Unlock()
	old, err := term.MakeRaw(e.fd)
	e.old = old
	return err
}

// restore gives the terminal the modes that it had before makeRaw. Without a
// makeRaw since the last restore it does nothing.
func (e *editor) restore() {
	e.modes.Lock()
	defer e.modes.Unlock()
	if e.old != nil {
		_ = term.Restore(e.fd, e.old)
		e.old = nil
	}
}

// resume puts the terminal into raw mode again after restore, and draws the
// line being edited. After close it does nothing.
func (e *editor) resume() {
	if !e.closed.Load() && e.makeRaw() == nil {
		_, _ = e.screen.Write(nil) // draws the line
	}
}

// closeTime is how long close waits for a screen that is stopped (Ctrl-S).
const closeTime = 200 * time.Millisecond

// close shows the pending output, keeps the line being edited on the terminal,
// and undoes what newEditor has changed. For a stopped screen it waits
// closeTime at most. Further calls do nothing.
func (e *editor) close() {
	if e.closed.Swap(true) {
		return // without a wait: the screen may be stopped for good
	}
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		e.output.flush()
		e.screen.close()
	}()
	select {
	case <-shown:
	case <-time.After(closeTime):
	}
	for _, undo := range e.undo {
		undo()
	}
}

// readLine waits for the next line. The error is io.EOF after Ctrl-D on an
// empty line, ErrInterrupted after Ctrl-C, or that of reading the terminal.
func (e *editor) readLine() ([]byte, error) {
	for {
		line, err := e.edit()
		if line != nil || err != nil {
			return line, err
		}
		b := make([]byte, 4096)
		n, err := e.in.Read(b)
		e.keys = append(e.keys, b[:n]...)
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// hasLine reports whether the typed keys hold the end of a line, so that the
// next readLine needs no further input.
func (e *editor) hasLine() bool { return bytes.ContainsAny(e.keys, "\r\n") }

// edit applies the typed keys up to the end of a line, and returns that line
// with a newline. If the keys hold no end, it applies all of them and returns
// nil; a key that has not come completely stays in keys. The error is that of
// press.
func (e *editor) edit() (line []byte, err error) {
	e.screen.update(func(d *draft) (finished bool) {
		for line == nil && err == nil {
			k, n := nextKey(e.keys)
			if n == 0 {
				break
			}
			e.keys = e.keys[n:]
			line, err = e.press(d, k)
		}
		return line != nil
	})
	return line, err
}

// press applies one key. It returns the line if the key finishes it, io.EOF for
// Ctrl-D on an empty line, and ErrInterrupted for Ctrl-C; otherwise nil and
// nil. The caller is in screen.update.
func (e *editor) press(d *draft, k key) (line []byte, err error) {
	switch {
	case k == '\r' || k == '\n':
		text := d.String()
		e.remember(text)
		return []byte(text + "\n"), nil
	case k == control('c'):
		e.interrupted.Store(true)
		return nil, ErrInterrupted
	case k == control('d') && len(d.text) == 0:
		e.screen.ended = true
		return nil, io.EOF
	case k == control('z'): // in raw mode a key like any other
		e.suspend()
	case k == control('l'):
		e.screen.wiped = true
	case k == keyUp || k == control('p'):
		e.recall(d, e.recalled-1)
	case k == keyDown || k == control('n'):
		e.recall(d, e.recalled+1)
	default:
		d.edit(k)
	}
	return nil, nil
}

// remember appends a finished line to the history, unless it is empty or equal
// to the last one, and drops the oldest line beyond maxHistory. The next recall
// starts behind the last line.
func (e *editor) remember(line string) {
	if line != "" && (len(e.history) == 0 || e.history[len(e.history)-1] != line) {
		e.history = append(e.history, line)
	}
	if len(e.history) > maxHistory {
		e.history = slices.Delete(e.history, 0, 1)
	}
	e.recalled = len(e.history)
}

// recall puts the line i of the history into d. If i is len(e.history), it puts
// back the draft that was being typed when the first line was recalled. For any
// other i it does nothing.
func (e *editor) recall(d *draft, i int) {
	if i < 0 || i > len(e.history) {
		return
	}
	if e.recalled == len(e.history) {
		e.unfinished = d.String()
	}
	e.recalled = i
	if i == len(e.history) {
		d.set(e.unfinished)
	} else {
		d.set(e.history[i])
	}
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

// newOutput returns an output that writes to screen. Its timer runs only while
// a line is held back.
func newOutput(screen io.Writer) *output {
	o := &output{screen: screen}
	o.late = time.AfterFunc(time.Hour, o.flush)
	o.late.Stop()
	return o
}

// Write shows the lines that b ends. The rest of b is held back until its line
// ends, or until no more has come for partialDelay. A rest beyond maxLine is
// shown at once.
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

// show writes one line to the screen, escaped and with a newline.
func (o *output) show(line []byte) error {
	_, err := o.screen.Write([]byte(display.Escape(string(line)) + "\n"))
	return err
}

// flush shows the line that is held back, if there is one, as if it had ended.
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
