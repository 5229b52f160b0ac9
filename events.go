package main

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"time"

	"purr/internal/display"
)

// This file is --json: every message on stderr is an object on a line of its
// own. Its first member, "event", names the occurrence. The names are a
// promise; purr.1 lists them.

// A field is one member of an event. Its value is anything that encoding/json
// takes, or an error.
type field struct {
	name  string
	value any
}

// event writes an object with the fields in their order. Without --json it does
// nothing. After the event "end" nothing more is written.
func (l *logger) event(name string, fields ...field) {
	if !l.json {
		return
	}
	b := display.AppendJSON([]byte(`{"event":`), name)
	for _, f := range fields {
		b = display.AppendJSON(append(b, ','), f.name)
		b = display.AppendJSON(append(b, ':'), f.value)
	}
	l.write(append(b, "}\n"...), name == "end")
}

// logListening writes the event of a socket that clients can reach.
func (l *logger) logListening(network string, bound net.Addr) {
	if l.json {
		l.event("listen", append([]field{{"network", network}}, addressFields("", bound)...)...)
	}
}

// A connStats is the result of one conversation.
type connStats struct {
	peer           string // as messages name it; empty: the run's only one
	reason         string // for its end
	sent, received int64  // bytes
	moved          string // both, in the terms of that kind of conversation; empty: as bytes
	begun          time.Time
}

// logDisconnect writes the last line of a conversation under -v, or its event.
func (l *logger) logDisconnect(c connStats) {
	if !l.json && !l.shows(verbose) { // the words cost something
		return
	}
	took, moved := time.Since(c.begun), cmp.Or(c.moved, fmt.Sprintf("sent %d bytes, received %d bytes", c.sent, c.received))
	peer := c.peer
	if peer != "" {
		peer += ": "
	}
	l.report(verbose, "disconnect", []field{{"peer", c.peer}, {"how", c.reason}, {"sent", c.sent}, {"received", c.received}, {"seconds", took.Seconds()}},
		"%s%s; %s in %v, %s", peer, c.reason, moved, display.Duration(took), display.Rate(c.sent+c.received, took))
}

// logEnd writes the last event of a run.
func (l *logger) logEnd(status exitStatus, sent, received int64, took time.Duration) {
	how := "finished"
	switch {
	case status > statusSignal:
		how = "signal"
	case status != statusOK:
		how = "failed"
	}
	l.event("end", field{"status", status}, field{"how", how}, field{"sent", sent}, field{"received", received}, field{"seconds", took.Seconds()})
}

// asksForJSON reports whether a command line with a usage error asks for
// messages in JSON. With -z, --json is for the results only: errors stay text.
func asksForJSON(args []string) bool {
	asks := false
	for _, arg := range args {
		switch {
		case arg == "--":
			return asks
		case arg == "--json":
			asks = true
		case len(arg) > 1 && arg[0] == '-' && arg[1] != '-' && bytes.IndexByte([]byte(arg), 'z') > 0:
			return false
		}
	}
	return asks
}
