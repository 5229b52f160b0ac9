package main

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"purr/internal/display"
)

// This file owns what purr says to its user. The rules:
//
//   - Everything goes to stderr; stdout carries payload only.
//   - Errors and warnings begin "purr: ", in lower case, without a full stop,
//     and name the address or file they are about and the cause in the
//     system's words.
//   - What -v adds is worded as OpenBSD nc words it, because scripts grep for
//     it ("Connection to ... succeeded!", "Listening on ..."); those lines have
//     no prefix, as in nc.
//   - Under --json every line is an object (events.go), the messages too.
//   - A message may hold a peer's name or bytes, so every one of them passes
//     through printable: nothing from the network can move the cursor.

// A logger writes whole lines to stderr. It may be used from many goroutines.
type logger struct {
	level int  // how many times -v was given
	quiet bool // --quiet
	json  bool // whether every line is an object

	mu    sync.Mutex
	out   io.Writer
	ended bool // whether the last event was written
}

// warnf says something that the user must know whatever the verbosity.
func (l *logger) warnf(format string, args ...any) {
	l.say("warning", fmt.Sprintf(format, args...))
}

// notef says a line of purr's own when -v was given at least level times.
func (l *logger) notef(level int, format string, args ...any) {
	if l.level >= level {
		l.say("message", fmt.Sprintf(format, args...))
	}
}

// informf says how something ended that went well, unless --quiet was given.
func (l *logger) informf(format string, args ...any) {
	if !l.quiet {
		l.say("message", fmt.Sprintf(format, args...))
	}
}

// sayf says a line in OpenBSD nc's words, without a prefix, under -v. There is
// an event for each of them, so that under --json it says nothing.
func (l *logger) sayf(format string, args ...any) {
	if l.level >= 1 && !l.json {
		l.line(fmt.Sprintf(format, args...))
	}
}

// announcef says a line in nc's words whatever the verbosity: what the user
// cannot know otherwise, such as the port that the kernel chose. Under --json it
// says nothing, as sayf.
func (l *logger) announcef(format string, args ...any) {
	if !l.json {
		l.line(fmt.Sprintf(format, args...))
	}
}

// fail says err, a line for each error that was joined into it. An error that
// was said already stays unsaid.
func (l *logger) fail(err error) {
	if _, said := err.(saidError); said {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			l.fail(e)
		}
		return
	}
	l.say("error", err.Error())
}

// failRun reports the error that ended the run: a signal under -v only, and a
// statusError without its status.
func (l *logger) failRun(err error) {
	var ended signalError
	var stated statusError
	switch {
	case err == nil:
	case errors.As(err, &ended):
		l.notef(1, "%v", ended)
	case errors.As(err, &stated):
		l.fail(stated.error)
	default:
		l.fail(err)
	}
}

// say says a line of purr's own; event is what it is called under --json.
func (l *logger) say(event, text string) {
	if l.json {
		l.event(event, field{"text", text})
		return
	}
	l.line("purr: " + text)
}

// ask writes a question of purr's without ending the line. What is typed
// behind it is not shown; answered ends the line then.
func (l *logger) ask(question string) {
	if l.json {
		l.event("message", field{"text", question})
		return
	}
	l.write([]byte("purr: "+display.Escape(question)), false)
}

func (l *logger) answered() {
	if !l.json {
		l.write([]byte("\n"), false)
	}
}

func (l *logger) line(s string) { l.write([]byte(display.Escape(s)+"\n"), false) }

// write writes a whole line, and none after the last.
func (l *logger) write(line []byte, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = last
	// There is nobody left to tell when stderr itself fails.
	_, _ = l.out.Write(line)
}

// redirect sends what is said from now on to w, and returns what puts it back.
// The line editor uses it: while it owns the terminal, a plain write would
// land in the middle of what the user is typing.
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

// A saidError has been told to the user in full; only the exit status is left.
type saidError struct{ error }

func (e saidError) Unwrap() error { return e.error }
