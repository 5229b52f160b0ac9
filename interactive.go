package main

import (
	"context"
	"net"
	"syscall"

	"purr/internal/fdio"
	"purr/internal/lineedit"
)

// talkByLine is the handler of --interactive and --quit-word: stdin is read
// line by line.
func talkByLine(ctx context.Context, t *talker, c net.Conn) error {
	s, err := t.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	lines, err := newLineReader(t, s.interrupt)
	if err != nil {
		return err
	}
	defer lines.Close()
	s.in, s.display = lines, lines.Output()
	err = s.relay(ctx)
	if lines.Interrupted() { // Ctrl-C is how a person quits: nothing failed
		return signalError{syscall.SIGINT}
	}
	return err
}

// newLineReader returns stdin's lines, with an editor under --interactive. The
// caller closes it; if a signal ends the run, cleanUp does.
func newLineReader(t *talker, i *fdio.Interrupt) (*lineedit.Reader, error) {
	o := lineedit.Options{QuitWord: t.quitWord, Redirect: t.log.redirect}
	if t.interactive {
		o.Screen = t.stdout
	}
	lines, err := lineedit.New(fdio.New(t.stdin, i), o)
	if err != nil {
		return nil, err
	}
	t.atExit(lines.Close)
	return lines, nil
}
