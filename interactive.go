package main

import (
	"context"
	"net"
	"syscall"

	"purr/internal/fdio"
	"purr/internal/lineedit"
)

// converseByLine is the handler of --interactive and --quit-word: stdin is read
// line by line.
func (p *purr) converseByLine(ctx context.Context, c net.Conn) error {
	s, err := p.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	lines, err := p.newLineReader(s.alarm)
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
func (p *purr) newLineReader(a *fdio.Interrupt) (*lineedit.Reader, error) {
	o := lineedit.Options{QuitWord: p.cfg.quitWord, Redirect: p.log.redirect}
	if p.cfg.interactive {
		o.Screen = p.stdout
	}
	lines, err := lineedit.New(fdio.New(p.stdin, a), o)
	if err != nil {
		return nil, err
	}
	p.atExit(lines.Close)
	return lines, nil
}
