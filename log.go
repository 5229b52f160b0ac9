package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"

	"purr/internal/display"
	"purr/internal/personality"
	"purr/internal/sys"
)

// This file owns the messages to the user. The rules:
//
//   - Every message goes to stderr; stdout carries payload only.
//   - Errors and warnings begin "purr: ", in lower case, without a full stop,
//     and name the address or file they are about and the cause in the
//     system's words.
//   - The lines that -v adds have the words of OpenBSD nc where it has them,
//     because scripts grep for them ("Connection to ... succeeded!", "Listening
//     on ..."). Those lines have no prefix, as in nc.
//   - Under the name of another netcat the prefix and the words are that one's
//     (package personality).
//   - Under --json every line is an object (events.go), the messages too.
//   - A message may hold a peer's name or bytes, so every one of them passes
//     through display.Escape: no byte of the network moves the cursor.

// A logger writes whole lines to stderr. Any goroutine may use it.
type logger struct {
	as    personality.Personality
	level int  // how many times -v was given
	quiet bool // --quiet
	json  bool // whether every line is an object

	mu    sync.Mutex
	out   io.Writer
	ended bool // whether the last event was written
}

// An urgency decides at which verbosity a message appears.
type urgency int

const (
	always      urgency = iota
	unlessQuiet         // hidden by --quiet
	verbose             // under -v
	veryVerbose         // under -vv
)

// shows reports whether a message of the urgency appears.
func (l *logger) shows(at urgency) bool {
	switch at {
	case always:
		return true
	case unlessQuiet:
		return !l.quiet
	}
	return l.level >= int(at-verbose)+1
}

// report writes one occurrence: under --json an event with its fields, at any
// verbosity, else a line.
func (l *logger) report(at urgency, event string, fields []field, format string, args ...any) {
	if l.json {
		l.event(event, fields...)
		return
	}
	if at == verbose && l.as.FewLines {
		at = veryVerbose
	}
	if l.shows(at) {
		l.line(l.prefix() + fmt.Sprintf(format, args...))
	}
}

// prefix returns the beginning of messages.
func (l *logger) prefix() string { return cmp.Or(l.as.Prefix, "purr: ") }

// messagef writes a message without an event of its own: under --json it is a
// "warning" if at is always, else a "message".
func (l *logger) messagef(at urgency, format string, args ...any) {
	if !l.shows(at) {
		return
	}
	kind := "message"
	if at == always {
		kind = "warning"
	}
	text := fmt.Sprintf(format, args...)
	l.report(at, kind, []field{{"text", text}}, "%s", text)
}

func (l *logger) warnf(format string, args ...any)    { l.messagef(always, format, args...) }
func (l *logger) informf(format string, args ...any)  { l.messagef(unlessQuiet, format, args...) }
func (l *logger) verbosef(format string, args ...any) { l.messagef(verbose, format, args...) }

// ncLine writes lines in another netcat's words, without a prefix. There is an
// event for each of them, so that under --json it writes nothing.
func (l *logger) ncLine(at urgency, lines ...string) {
	for _, line := range lines {
		if l.shows(at) && !l.json {
			l.line(line)
		}
	}
}

// fail writes err, a line for each error that was joined into it. A
// reportedError is left out. Under the name of another netcat the system's
// words begin with a capital letter, as in that one's messages.
func (l *logger) fail(err error) {
	if _, reported := err.(reportedError); reported {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			l.fail(e)
		}
		return
	}
	text := err.Error()
	if l.as.Other() {
		text = sys.Capitalised(err)
	}
	l.report(always, "error", []field{{"text", text}}, "%s", text)
}

// failRun writes the error that ended the run: a signal under -v only, and a
// statusError without its status.
func (l *logger) failRun(err error) {
	var ended signalError
	var stated statusError
	switch {
	case err == nil:
	case errors.As(err, &ended):
		l.verbosef("%v", ended)
	case errors.As(err, &stated):
		l.fail(stated.error)
	default:
		l.fail(err)
	}
}

// prompt writes a question without ending the line; answered ends it after an
// answer that is not echoed.
func (l *logger) prompt(question string) {
	if l.json {
		l.event("message", field{"text", question})
		return
	}
	l.write([]byte(l.prefix()+display.Escape(question)), false)
}

// answered ends the line of a prompt.
func (l *logger) answered() {
	if !l.json {
		l.write([]byte("\n"), false)
	}
}

func (l *logger) line(s string) { l.write([]byte(display.Escape(s)+"\n"), false) }

// write writes a whole line. last marks the final event of a run: later lines
// are dropped. An error of stderr itself cannot be reported.
func (l *logger) write(line []byte, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = last
	_, _ = l.out.Write(line)
}

// redirect sends later messages to w, and returns the function that ends it.
// The owner of a terminal's last line uses it: a plain write would land in the
// middle of that line.
func (l *logger) redirect(w io.Writer) (restore func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.out
	l.out = w
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.out = old
	}
}

// A reportedError is not printed: it was written to stderr in full already, or
// is not wanted at this verbosity. Only its exit status is left.
type reportedError struct{ error }

func (e reportedError) Unwrap() error { return e.error }
