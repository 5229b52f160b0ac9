package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"time"

	"purr/internal/display"
	"purr/internal/fdio"
	"purr/internal/progress"
)

// This file counts what a run moves, and tells it when SIGUSR1 asks.

// A traffic is what a run has moved so far. Everything that passes bytes adds
// to it, a slice at a time.
type traffic struct {
	begun          time.Time    // of the run
	sent, received atomic.Int64 // bytes, of all conversations

	doing   atomic.Pointer[string] // "listening on 0.0.0.0 9000"
	met     atomic.Int64           // when the first conversation began, in Unix nanoseconds; 0: none has
	clients atomic.Int64           // conversations now
	served  atomic.Int64           // and in all
}

// setActivity remembers what the run is about, for whoever asks.
func (t *traffic) setActivity(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	t.doing.Store(&what)
}

func (p *purr) doing(format string, args ...any) { p.traffic.setActivity(format, args...) }

// meet counts a conversation that begins, and says its event; part counts its
// end. role is "dial" or "accept".
func (p *purr) meet(role string, c net.Conn) {
	p.begin()
	if !p.cfg.keep {
		p.doing("connected to %s", connName(c))
	}
	p.sayConnected(role, c.RemoteAddr(), c.LocalAddr())
}

func (p *purr) begin() {
	p.traffic.met.CompareAndSwap(0, time.Now().UnixNano())
	p.traffic.clients.Add(1)
	p.traffic.served.Add(1)
}

func (p *purr) part() { p.traffic.clients.Add(-1) }

// joins takes a connection back that meet has counted: it belongs to another,
// as a lane does, and has no part.
func (p *purr) joins() {
	p.traffic.clients.Add(-1)
	p.traffic.served.Add(-1)
}

// answerStatus says a line of status for every signal that asks for one, until
// ctx ends. Calls after the first do nothing.
func (p *purr) answerStatus(ctx context.Context) {
	p.askOnce.Do(func() {
		asked := make(chan os.Signal, 1)
		if len(statusSignals) > 0 { // none would mean all
			signal.Notify(asked, statusSignals...)
		}
		go func() {
			for {
				select {
				case <-asked:
					p.sayStatus()
				case <-ctx.Done():
					return
				}
			}
		}()
	})
}

// sayStatus says what the run is doing and what it has moved.
func (p *purr) sayStatus() {
	t := &p.traffic
	doing := "starting"
	if d := t.doing.Load(); d != nil {
		doing = *d
	}
	begun := t.begun
	if met := t.met.Load(); met != 0 {
		begun = time.Unix(0, met)
	}
	took := time.Since(begun)
	sent, received := t.sent.Load(), t.received.Load()
	now, file := p.progress.State()
	if p.log.json {
		fields := []field{{"doing", doing}, {"clients", t.clients.Load()}, {"served", t.served.Load()}, {"sent", sent}, {"received", received},
			{"seconds", took.Seconds()}, {"rate", display.PerSecond(sent+received, took)}}
		if file {
			fields = append(fields, stateFields(now)...)
		}
		p.log.event("status", fields...)
		return
	}
	var b strings.Builder
	b.WriteString(doing)
	switch clients, served := t.clients.Load(), t.served.Load(); {
	case p.cfg.listen && served == 0 && p.cfg.udp:
		b.WriteString(", nobody has sent anything yet")
	case p.cfg.listen && served == 0:
		b.WriteString(", no client yet")
	case p.cfg.keep && !p.cfg.udp:
		fmt.Fprintf(&b, ", clients: %d now, %d so far", clients, served)
	}
	if t.met.Load() == 0 {
		fmt.Fprintf(&b, ", after %v", display.Duration(took))
	} else {
		fmt.Fprintf(&b, "; sent %d bytes, received %d bytes in %v, %s", sent, received, display.Duration(took), display.Rate(sent+received, took))
	}
	if file {
		fmt.Fprintf(&b, "; %s", now)
	}
	p.log.warnf("%s", b.String())
}

// newMonitor returns the counters of transfers. Their bar is drawn on stderr
// if that is a terminal, and messages then appear above it.
func (p *purr) newMonitor() *progress.Monitor {
	o := progress.Options{Redirect: p.log.redirect, Report: func(s progress.State) {
		if p.log.json {
			p.log.event("progress", stateFields(s)...)
			return
		}
		p.log.warnf("%s", s)
	}}
	if f := p.terminal(); f != nil {
		o.Terminal, o.Columns = f, func() int { return progress.Columns(f) }
	}
	return progress.New(o)
}

// terminal returns stderr if it is a terminal, else nil.
func (p *purr) terminal() *os.File {
	if f, ok := p.stderr.(*os.File); ok && fdio.IsTerminal(f) {
		return f
	}
	return nil
}

// progressStyle returns how a transfer is shown; plain is one that is not about
// a file. Where a person types or reads on the terminal, a plain one has no
// bar, which would be drawn between the lines.
func (p *purr) progressStyle(plain bool) progress.Style {
	k := &p.cfg.pace
	switch {
	case k.quiet || k.noProgress, (plain || p.log.json) && !k.progress:
		return progress.Hidden
	case p.log.json:
		return progress.Reports
	case p.terminal() != nil && !(plain && (fdio.KindOf(p.stdin) == fdio.Terminal || fdio.KindOf(p.stdout) == fdio.Terminal)):
		return progress.Bar
	case k.progress:
		return progress.Reports
	}
	return progress.Hidden
}

// track starts the counter of a file, or of several; see Monitor.Start.
func (p *purr) track(name string, size int64) *progress.Transfer {
	return p.progress.Start(name, size, p.progressStyle(false))
}
