package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
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
//   - A message may hold a peer's name or bytes, so every one of them passes
//     through printable: nothing from the network can move the cursor.

// A logger writes whole lines to stderr. It may be used from many goroutines.
type logger struct {
	mu    sync.Mutex
	out   io.Writer
	level int // how many times -v was given
}

// warnf says something that the user must know whatever the verbosity.
func (l *logger) warnf(format string, args ...any) {
	l.line("purr: " + fmt.Sprintf(format, args...))
}

// notef says a line of purr's own when -v was given at least level times.
func (l *logger) notef(level int, format string, args ...any) {
	if l.level >= level {
		l.warnf(format, args...)
	}
}

// sayf says a line in OpenBSD nc's words, without a prefix, under -v.
func (l *logger) sayf(format string, args ...any) {
	if l.level >= 1 {
		l.line(fmt.Sprintf(format, args...))
	}
}

// announcef says a line in nc's words whatever the verbosity: what the user
// cannot know otherwise, such as the port that the kernel chose.
func (l *logger) announcef(format string, args ...any) {
	l.line(fmt.Sprintf(format, args...))
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
	l.warnf("%v", err)
}

// ask writes a question of purr's without ending the line. What is typed
// behind it is not shown; answered ends the line then.
func (l *logger) ask(question string) { l.write("purr: " + printable(question)) }
func (l *logger) answered()           { l.write("\n") }

func (l *logger) line(s string) { l.write(printable(s) + "\n") }

func (l *logger) write(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// There is nobody left to tell when stderr itself fails.
	_, _ = io.WriteString(l.out, s)
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

// printable returns s with everything that could act on a terminal escaped as
// in a Go string: control characters, invalid UTF-8, and the invisible runes
// that reorder or hide text. Tabs and newlines are escaped too.
func printable(s string) string {
	clean := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if !strings.ContainsFunc(s, clean) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r != utf8.RuneError && unicode.IsPrint(r) {
			b.WriteString(s[:size])
		} else {
			quoted := strconv.QuoteToASCII(s[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}
