package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/term"

	"purr/internal/display"
	"purr/internal/fdio"
)

// converseByLine is stdio for a person: the line editor of --interactive, and
// the word of --quit-word that ends the conversation.
func (p *purr) converseByLine(ctx context.Context, c net.Conn) error {
	s, err := p.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	lines, restore, err := p.newLineSource(s.alarm)
	if err != nil {
		return err
	}
	defer restore()
	s.in = lines
	if lines.editor != nil {
		s.display = lines.editor
	}
	err = s.relay(ctx)
	if lines.interrupted.Load() { // Ctrl-C is how a person quits: nothing failed
		return signalError{syscall.SIGINT}
	}
	return err
}

// A lineSource reads stdin line by line, until the quit word.
type lineSource struct {
	in       *fdio.File
	lines    *bufio.Reader
	editor   *lineEditor // nil: stdin is no terminal, or no editor was asked for
	quitWord string
	rest     []byte
	inside   bool        // whether the last piece did not end its line
	buffered atomic.Bool // whether a Read needs no input

	interrupted atomic.Bool
}

// newLineSource prepares stdin. What restore undoes it also undoes when the
// run is ended by a signal.
func (p *purr) newLineSource(a *fdio.Interrupt) (src *lineSource, restore func(), err error) {
	in := fdio.New(p.stdin, a)
	src = &lineSource{in: in, quitWord: p.cfg.quitWord}
	if !p.cfg.interactive || in.Kind() != fdio.Terminal {
		src.lines = bufio.NewReader(in)
		return src, func() {}, nil
	}
	src.editor, err = p.newLineEditor(src)
	if err != nil {
		return nil, nil, err
	}
	p.atExit(src.editor.restore)
	return src, src.editor.restore, nil
}

func (l *lineSource) Kind() fdio.Kind { return l.in.Kind() }

// Ready reports whether Read would return at once.
func (l *lineSource) Ready() bool {
	return l.buffered.Load() || l.in.Ready()
}

// Read returns bytes of one line at a time. The quit word on a line of its own
// ends the conversation and is not sent.
func (l *lineSource) Read(b []byte) (int, error) {
	if len(l.rest) == 0 {
		line, err := l.readLine()
		if len(line) == 0 {
			return 0, err
		}
		if l.quitWord != "" && !l.inside && string(bytes.TrimRight(line, "\r\n")) == l.quitWord {
			return 0, errQuitWord
		}
		l.inside = line[len(line)-1] != '\n'
		l.rest = line
	}
	n := copy(b, l.rest)
	l.rest = l.rest[n:]
	l.buffered.Store(len(l.rest) > 0 || l.lines != nil && l.lines.Buffered() > 0)
	return n, nil
}

// maxLine bounds what is kept of a line while the quit word is looked for. A
// longer one cannot be the word and is passed on in pieces.
const maxLine = 64 << 10

// readLine returns the next line with its end. The last one may lack it, and
// comes with a nil error; the next call returns io.EOF.
func (l *lineSource) readLine() ([]byte, error) {
	if l.editor != nil {
		return l.editor.readLine()
	}
	var line []byte
	for len(line) < maxLine {
		if l.lines.Buffered() == 0 {
			if err := l.in.WaitReadable(); err != nil {
				return line, err
			}
		}
		l.buffered.Store(true) // from here on there are bytes in hand
		piece, err := l.lines.ReadSlice('\n')
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

// A lineEditor is a terminal in raw mode with a line being typed at the bottom
// and everything else above it.
type lineEditor struct {
	terminal *term.Terminal
	source   *lineSource
	undo     []func()
	restored atomic.Bool

	mu      sync.Mutex
	pending []byte // what the peer sent of a line that has not ended
	late    *time.Timer
}

// keyboard is what the terminal reads from and draws on. It notices Ctrl-C,
// which term reports as the end of input, just like Ctrl-D.
type keyboard struct {
	*fdio.File
	out         io.Writer
	interrupted *atomic.Bool
}

const ctrlC = 3

func (k keyboard) Read(b []byte) (int, error) {
	n, err := k.File.Read(b)
	if bytes.IndexByte(b[:n], ctrlC) >= 0 {
		k.interrupted.Store(true)
	}
	return n, err
}

func (k keyboard) Write(b []byte) (int, error) { return k.out.Write(b) }

// newLineEditor puts the terminal into raw mode. The line is drawn on stdout,
// where what the peer sends appears too.
func (p *purr) newLineEditor(src *lineSource) (*lineEditor, error) {
	old, err := term.MakeRaw(src.in.FD())
	if err != nil {
		return nil, err
	}
	e := &lineEditor{source: src}
	e.late = time.AfterFunc(time.Hour, e.flush)
	e.late.Stop()
	e.terminal = term.NewTerminal(keyboard{src.in, p.stdout, &src.interrupted}, "")
	e.undo = append(e.undo, func() { _ = term.Restore(src.in.FD(), old) }, p.log.redirect(e.terminal))

	resized := make(chan os.Signal, 1)
	notifyResize(resized)
	setSize := func() {
		if width, height, err := term.GetSize(src.in.FD()); err == nil {
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

// restore gives the terminal back as it was. It may be called more than once.
func (e *lineEditor) restore() {
	if e.restored.Swap(true) {
		return
	}
	e.flush()
	for _, undo := range e.undo {
		undo()
	}
}

// readLine waits for the next line typed. Ctrl-D on an empty line is io.EOF;
// Ctrl-C ends the conversation.
func (e *lineEditor) readLine() ([]byte, error) {
	line, err := e.terminal.ReadLine()
	switch {
	case errors.Is(err, term.ErrPasteIndicator):
		err = nil
	case err == io.EOF && e.source.interrupted.Load():
		return nil, errQuitWord
	case err != nil:
		return nil, err
	}
	return []byte(line + "\n"), err
}

// partialLine is how long the rest of a line may take. What comes without an
// end (a prompt, say) is shown after that.
const partialLine = 100 * time.Millisecond

// Write shows what the peer sent above the line being typed, line by line,
// with everything escaped that could act on the terminal.
func (e *lineEditor) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending = append(e.pending, b...)
	for {
		end := bytes.IndexByte(e.pending, '\n')
		if end < 0 {
			break
		}
		if err := e.show(bytes.TrimSuffix(e.pending[:end], []byte("\r"))); err != nil {
			return 0, err
		}
		e.pending = e.pending[end+1:]
	}
	if len(e.pending) > maxLine {
		e.flushLocked()
	} else if len(e.pending) > 0 {
		e.late.Reset(partialLine)
	}
	return len(b), nil
}

func (e *lineEditor) show(line []byte) error {
	_, err := e.terminal.Write([]byte(display.Escape(string(line)) + "\n"))
	return err
}

// flush shows an unfinished line.
func (e *lineEditor) flush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flushLocked()
}

func (e *lineEditor) flushLocked() {
	e.late.Stop()
	if len(e.pending) > 0 {
		_ = e.show(e.pending)
		e.pending = nil
	}
}
