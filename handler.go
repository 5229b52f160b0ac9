package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"purr/internal/broadcast"
	"purr/internal/broker"
	"purr/internal/child"
	"purr/internal/copier"
	"purr/internal/datagram"
	"purr/internal/dump"
	"purr/internal/fdio"
	"purr/internal/filter"
	"purr/internal/halfclose"
	"purr/internal/lineedit"
	"purr/internal/progress"
	"purr/internal/rate"
	"purr/internal/sock"
)

// A handler talks to one peer and returns when it is done: nil if the
// conversation ended in order and every byte arrived. The caller closes c.
type handler func(ctx context.Context, c net.Conn) error

// A talker holds conversations: with stdin and stdout, with a file, or with the
// peer itself.
type talker struct {
	talkOptions
	talkEnv
	file          fileConfig
	network       string
	listen, keep  bool
	ownStdout     bool // whether stdout belongs to one conversation alone
	encrypted     bool // by a key, which the peer holds, too
	tls           bool // --ssl
	proxied       bool // whether its connections lead to a proxy
	acceptTimeout time.Duration
	senders       int  // at once, of datagrams under -L
	showProgress  bool // --progress

	tunnel *tunneller           // nil without -L
	server *proxyServer         // nil without -l --proxy-type
	runner *child.Runner        // nil without --exec
	copies *fdio.Shared         // of what is echoed, to stdout
	dump   *dump.Dump           // nil without --output and --hex-dump
	broker *broker.Broker       // nil without --broker
	fan    *broadcast.Broadcast // of stdin; nil without -k
}

// A talkEnv is what conversations share with the rest of the run.
type talkEnv struct {
	stdin, stdout *os.File
	log           *logger
	meter         *meter
	limit         *rate.Limiter     // --rate; nil: none
	crew          *sock.Crew        // of a server
	stop          func(error)       // ends the run
	atExit        func(func())      // registers what the end of the run has to undo
	track         startTransferFunc // begins to show the progress of a transfer
}

// A startTransferFunc begins to show a transfer of size bytes, -1 if that is
// unknown; plain is one that is not about a file. The caller ends it.
type startTransferFunc func(name string, size int64, plain bool) *progress.Transfer

// newTalker returns the talker for a command line.
func newTalker(cfg *config, env talkEnv) *talker {
	t := &talker{talkOptions: cfg.talkOptions, talkEnv: env, file: cfg.file, network: cfg.network, listen: cfg.listen, keep: cfg.keep,
		ownStdout: !cfg.keep && len(cfg.ports) <= 1, encrypted: cfg.key.given(), tls: cfg.ssl.on, proxied: cfg.proxy != nil, acceptTimeout: cfg.acceptTimeout, senders: clientLimit(cfg), showProgress: cfg.pace.progress}
	t.runner = newRunner(&t.talkOptions, env.atExit)
	t.copies = newCopies(env)
	if t.talkOptions.broker {
		t.broker = broker.New()
		if t.broker.Chat = t.chat; t.chat {
			t.broker.Show = t.copies
		}
	}
	if t.keep {
		stdin := env.stdin
		if !t.hasInput(fdio.KindOf(stdin)) {
			stdin = nil
		}
		t.fan = broadcast.New(stdin)
	}
	return t
}

// handler returns the handler of the mode that the command line selects.
func (t *talker) handler() handler {
	talk := stdio
	switch {
	case t.server != nil:
		talk = serveProxy
	case t.broker != nil:
		talk = talkToAll
	case t.tunnel != nil:
		talk = tunnelTo
	case t.exec != nil:
		talk = runCommand
	case t.echo:
		talk = echo
	case t.sendFile != "":
		talk = sendFile
	case t.file.recv != "":
		talk = recvFile
	case t.interactive || t.quitWord != "":
		talk = talkByLine
	case t.keep:
		talk = shareStdio
	}
	return func(ctx context.Context, c net.Conn) error { return talk(ctx, t, c) }
}

// newSession prepares a session between c and stdout. The caller sets its
// input, if it has one, and closes it.
func (t *talker) newSession(c net.Conn) (*session, error) {
	s := &session{conversation: newConversation(t, connName(c)), conn: c, inName: "stdin", outName: "stdout", ownStdout: t.ownStdout,
		rule: halfclose.New(t.halfCloseOptions(c))}
	var err error
	if s.interrupt, err = fdio.NewInterrupt(); err != nil {
		return nil, fmt.Errorf("serve %s: %w", s.peer, err)
	}
	s.sleep = s.interrupt.Sleep
	if !t.sendOnly {
		stop, err := fdio.NewInterrupt()
		if err != nil {
			s.interrupt.Close()
			return nil, fmt.Errorf("serve %s: %w", s.peer, err)
		}
		s.out = t.meter.openStdout(t.stdout, stop)
	}
	s.sendFilters = t.sendFilters(s.dump)
	s.receiveFilters = s.dump.Receiving()
	if t.telnet {
		s.receiveFilters = append(s.receiveFilters, filter.NewTelnet(c))
	}
	if t.upper {
		s.receiveFilters = append(s.receiveFilters, filter.Upper)
	}
	return s, nil
}

// sendFilters returns the filters for bytes that are sent, in order.
func (t *talker) sendFilters(r *dump.Recorder) (filters []copier.Filter) {
	if t.crlf {
		filters = append(filters, filter.NewCRLF())
	}
	if t.upper {
		filters = append(filters, filter.Upper)
	}
	return append(filters, r.Sending()...)
}

// stdio is the default handler: stdin goes to c, and what c receives to stdout.
func stdio(ctx context.Context, t *talker, c net.Conn) error {
	s, err := t.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	if !t.noStdin {
		s.in = fdio.NewReader(t.stdin, s.interrupt)
	}
	return s.relay(ctx)
}

// shareStdio is the handler of -l -k: what any client sends goes to stdout, and
// stdin goes to all of them. A client that holds the others up for too long is
// reset. A failed write to stdout ends the run.
func shareStdio(ctx context.Context, t *talker, c net.Conn) (err error) {
	s, err := t.newSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	if err := t.fan.Start(ctx); err != nil {
		t.stop(fmt.Errorf("read from stdin: %w", err))
	}
	if sub := t.fan.Subscribe(s.interrupt, func() { sock.Reset(c) }); sub != nil {
		defer sub.Leave()
		s.in = sub
		defer func() {
			if sub.Slow() {
				err = fmt.Errorf("send to %s: the peer took nothing for %v while others waited", s.peer, t.fan.Patience)
			}
		}()
	} else if !t.noStdin {
		s.in = fdio.Ended
	}
	err = s.relay(ctx)
	if s.stdoutFailed {
		t.stop(err)
	}
	return err
}

// hasInput reports whether stdin is to be sent in datagrams or under -k: a
// listener that was started with /dev/null or a closed stdin sends nothing.
func (t *talker) hasInput(stdin fdio.Kind) bool {
	return !t.noStdin && !(t.listen && stdin == fdio.Null)
}

// batchSize returns how many datagrams one call receives: 1 if each waits, for
// --delay or, as the answer of an echo, for --rate.
func (t *talker) batchSize() int {
	if t.delay > 0 || t.echo && t.limit != nil {
		return 1
	}
	return datagram.BatchSize
}

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
// caller closes it; t.atExit does so if a signal ends the run.
func newLineReader(t *talker, i *fdio.Interrupt) (*lineedit.Reader, error) {
	o := lineedit.Options{QuitWord: t.quitWord, Redirect: t.log.redirect}
	if t.interactive {
		o.Screen = fdio.New(t.stdout, nil)
	}
	lines, err := lineedit.New(fdio.NewReader(t.stdin, i), o)
	if err != nil {
		return nil, err
	}
	t.atExit(lines.Close)
	return lines, nil
}
