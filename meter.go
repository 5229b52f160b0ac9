package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"purr/internal/display"
	"purr/internal/fdio"
	"purr/internal/proc"
	"purr/internal/progress"
	"purr/internal/sock"
)

// A meter counts what a run moves, shows the progress of transfers, and logs
// both when a signal asks for it. Any goroutine may use it.
type meter struct {
	log     *logger
	network string
	listen  bool
	keep    bool
	pace    paceConfig
	bar     bool // whether stderr is a terminal
	beside  bool // whether stdout is the same one
	typed   bool // whether stdin is one, too
	monitor *progress.Monitor

	begun          time.Time    // of the run
	sent, received atomic.Int64 // bytes, of all conversations

	activity  atomic.Pointer[string] // "listening on 0.0.0.0 9000"
	connected atomic.Pointer[time.Time]
	clients   atomic.Int64 // conversations now
	served    atomic.Int64 // and in all
}

// newMeter returns the meter of a run that begins now. The bar of transfers is
// drawn on stderr if that is a terminal, and messages then appear above it.
func newMeter(cfg *config, log *logger, stdin, stdout *os.File, stderr io.Writer) *meter {
	m := &meter{log: log, network: cfg.network, listen: cfg.listen, keep: cfg.keep, pace: cfg.pace, begun: time.Now()}
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

// setActivity sets the run's present activity, which logStatus shows.
func (m *meter) setActivity(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.activity.Store(&text)
}

// connOpened counts a conversation and logs the event "connect" of c. The
// caller calls connClosed when it ends. role is "dial" or "accept".
func (m *meter) connOpened(role string, c net.Conn) {
	if !m.keep {
		m.setActivity("connected to %s", connName(c))
	}
	m.peerFound(role, c.RemoteAddr(), c.LocalAddr())
}

// peerFound is connOpened for the first datagram of a peer. remote is nil for a
// Unix socket without a name.
func (m *meter) peerFound(role string, remote, local net.Addr) {
	now := time.Now()
	m.connected.CompareAndSwap(nil, &now)
	m.clients.Add(1)
	m.served.Add(1)
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

// connClosed ends what connOpened or peerFound has counted.
func (m *meter) connClosed() { m.clients.Add(-1) }

// connJoined takes back the count of connOpened, for a connection that turns
// out to belong to another conversation. connClosed must not be called for it.
func (m *meter) connJoined() {
	m.clients.Add(-1)
	m.served.Add(-1)
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

// logOnSignal logs the status for every signal that asks for it, until ctx
// ends.
func (m *meter) logOnSignal(ctx context.Context) {
	asked := make(chan os.Signal, 1)
	proc.NotifyStatus(asked)
	go func() {
		for {
			select {
			case <-asked:
				m.logStatus()
			case <-ctx.Done():
				return
			}
		}
	}()
}

// logStatus logs the activity of the run and its counters.
func (m *meter) logStatus() {
	activity := "starting"
	if a := m.activity.Load(); a != nil {
		activity = *a
	}
	begun, connected := m.begun, m.connected.Load()
	if connected != nil {
		begun = *connected
	}
	took := time.Since(begun)
	clients, served := m.clients.Load(), m.served.Load()
	sent, received := m.sent.Load(), m.received.Load()
	fields := []field{{"doing", activity}, {"clients", clients}, {"served", served}, {"sent", sent}, {"received", received},
		{"seconds", took.Seconds()}, {"rate", display.PerSecond(sent+received, took)}}
	datagrams := m.network == "udp" || m.network == "unixgram"
	var b strings.Builder
	b.WriteString(activity)
	switch {
	case m.listen && served == 0 && datagrams:
		b.WriteString(", nobody has sent anything yet")
	case m.listen && served == 0:
		b.WriteString(", no client yet")
	case m.keep && !datagrams:
		fmt.Fprintf(&b, ", clients: %d now, %d so far", clients, served)
	}
	if connected == nil {
		fmt.Fprintf(&b, ", after %v", display.Duration(took))
	} else {
		fmt.Fprintf(&b, "; sent %d bytes, received %d bytes in %v, %s", sent, received, display.Duration(took), display.Rate(sent+received, took))
	}
	if transfers, any := m.monitor.State(); any {
		fields = append(fields, stateFields(transfers)...)
		fmt.Fprintf(&b, "; %s", transfers)
	}
	m.log.report(always, "status", fields, "%s", b.String())
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
	if ap := sock.AddrPort(a); ap.IsValid() {
		return []field{{prefix + "address", ap.Addr().String()}, {prefix + "port", ap.Port()}}
	}
	if a == nil || a.String() == "" || a.String() == "@" {
		return nil
	}
	return []field{{prefix + "path", a.String()}}
}
