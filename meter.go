package main

import (
	"io"
	"net"
	"os"
	"time"

	"purr/internal/display"
	"purr/internal/fdio"
	"purr/internal/progress"
	"purr/internal/sock"
)

// A meter counts what a run moves, shows the progress of transfers, and logs
// both when a signal asks for it. Any goroutine may use it.
type meter struct {
	progress.Counters
	log     *logger
	network string
	pace    paceConfig
	bar     bool // whether stderr is a terminal
	beside  bool // whether stdout is the same one
	typed   bool // whether stdin is one, too
	monitor *progress.Monitor
}

// newMeter returns the meter of a run that begins now. The bar of transfers is
// drawn on stderr if that is a terminal, and messages then appear above it.
func newMeter(cfg *config, log *logger, stdin, stdout *os.File, stderr io.Writer) *meter {
	m := &meter{log: log, network: cfg.network, pace: cfg.pace}
	m.Begun, m.Listens, m.Keeps, m.Datagrams = time.Now(), cfg.listen, cfg.keep, cfg.udp && cfg.tunnel == nil && !(cfg.exec != nil && cfg.keep)
	o := progress.Options{Redirect: log.redirect, Report: func(s progress.State) {
		log.report(always, "progress", stateFields(s), "%s", s)
	}}
	if f, ok := stderr.(*fdio.File); ok && f.Kind() == fdio.Terminal {
		m.bar = true
		o.Terminal, o.Columns = f, func() int { return progress.Columns(f.File) }
		m.beside = fdio.SameFile(stdout, f.File)
		m.typed = m.beside && fdio.KindOf(stdin) == fdio.Terminal
	}
	m.monitor = progress.New(o)
	return m
}

// openStdout returns stdout as the destination of payload. If it is the
// terminal with the progress bar, the first write removes the bar for good.
func (m *meter) openStdout(stdout *os.File, i *fdio.Interrupt) *fdio.File {
	f := fdio.New(stdout, i)
	if m.beside {
		instead := progress.Hidden
		if m.pace.progress && !m.pace.quiet {
			instead = progress.Reports
		}
		f.Before = func() { m.monitor.Yield(instead) }
	}
	return f
}

// connOpened counts a conversation and logs the event "connect" of c. The
// caller calls ConnClosed when it ends. role is "dial" or "accept".
func (m *meter) connOpened(role string, c net.Conn) {
	if !m.Keeps {
		m.SetActivity("connected to %s", connName(c))
	}
	m.peerFound(role, sock.RemoteAddr(c), c.LocalAddr())
}

// peerFound is connOpened for the first datagram of a peer. remote is nil for a
// Unix socket without a name.
func (m *meter) peerFound(role string, remote, local net.Addr) {
	m.ConnOpened()
	m.logConnect(role, remote, local)
}

// logConnect logs the event "connect" and counts nothing: each further
// connection of a counted conversation has that event, too.
func (m *meter) logConnect(role string, remote, local net.Addr) {
	if m.log.json { // the fields cost something
		fields := append([]field{{"role", role}, {"network", m.network}}, addressFields("", remote)...)
		m.log.event("connect", append(fields, addressFields("local_", local)...)...)
	}
}

// track begins to show the progress of a transfer of size bytes, -1 if that is
// unknown. plain is true if it is not about a file. The caller ends the result.
func (m *meter) track(name string, size int64, plain bool) *progress.Transfer {
	return m.monitor.Start(name, size, m.style(plain))
}

// style returns how a transfer is shown: a plain one only with --progress.
// Where a person types and reads on the terminal, that one has no bar, which
// would be drawn between the lines.
func (m *meter) style(plain bool) progress.Style {
	switch {
	case m.pace.noProgress, (plain || m.log.json || m.pace.quiet) && !m.pace.progress:
		return progress.Hidden
	case m.log.json:
		return progress.Reports
	case m.bar && !(plain && m.typed):
		return progress.Bar
	case m.pace.progress && !m.pace.quiet:
		return progress.Reports
	}
	return progress.Hidden
}

// logStatus logs the activity of the run and its counters.
func (m *meter) logStatus() {
	s := m.Status()
	text := s.String()
	fields := []field{{"doing", s.Activity}, {"clients", s.Clients}, {"served", s.Served}, {"sent", s.Sent}, {"received", s.Received},
		{"seconds", s.Took.Seconds()}, {"rate", display.PerSecond(s.Sent+s.Received, s.Took)}}
	if transfers, any := m.monitor.State(); any {
		fields = append(fields, stateFields(transfers)...)
		text += "; " + transfers.String()
	}
	m.log.report(always, "status", fields, "%s", text)
}

// stateFields are the members of an event that shows progress.
func stateFields(s progress.State) []field {
	fields := append([]field{{"name", s.Name}, {"moved", s.Moved}}, known("size", s.Size)...)
	fields = append(fields, field{"speed", s.Speed}, field{"elapsed", s.Elapsed.Seconds()})
	if left, known := s.Left(); known {
		fields = append(fields, field{"left", left.Seconds()})
	}
	return fields
}

// addressFields name one end of a connection: address and port, or the path of
// a Unix socket that has one. prefix goes before each name.
func addressFields(prefix string, a net.Addr) []field {
	if host, port, ok := sock.HostPort(a); ok {
		return []field{{prefix + "address", host}, {prefix + "port", port}}
	}
	if a == nil || a.String() == "" || a.String() == "@" {
		return nil
	}
	return []field{{prefix + "path", a.String()}}
}
