package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"purr/internal/display"
	"purr/internal/progress"
	"purr/internal/sock"
)

// This file is --json: everything that is said on stderr is an object on a line
// of its own, whose first member, "event", says what it is. The names are a
// promise; purr.1 lists them.

// A field is one member of an event. Its value is anything that encoding/json
// takes, or an error.
type field struct {
	name  string
	value any
}

// event writes an object with the fields in their order. Without --json it does
// nothing.
func (l *logger) event(name string, fields ...field) {
	if !l.json {
		return
	}
	b := appendJSON([]byte(`{"event":`), name)
	for _, f := range fields {
		b = appendJSON(append(b, ','), f.name)
		b = appendJSON(append(b, ':'), f.value)
	}
	l.write(append(b, "}\n"...), name == "end")
}

// appendJSON appends a value. What could act on a terminal is escaped, as
// printable does it, and what is no UTF-8 is shown as printable shows it.
func appendJSON(b []byte, value any) []byte {
	switch v := value.(type) {
	case error:
		value = v.Error()
	case float64:
		value = math.Round(v*1000) / 1000
	}
	if s, ok := value.(string); ok && !utf8.ValidString(s) {
		value = display.Escape(s)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil { // such as a NaN
		out.Reset()
		_ = encoder.Encode(fmt.Sprint(value))
	}
	for _, r := range string(bytes.TrimSuffix(out.Bytes(), []byte("\n"))) {
		switch {
		case r < utf8.RuneSelf && r != 0x7f || unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b
}

// addressFields name one end of a connection: address and port, or the path of
// a Unix socket. prefix goes before each name.
func addressFields(prefix string, a net.Addr) []field {
	if ap := sock.AddrPort(a); ap.IsValid() {
		return []field{{prefix + "address", ap.Addr().String()}, {prefix + "port", ap.Port()}}
	}
	if a == nil || a.String() == "" || a.String() == "@" {
		return nil
	}
	return []field{{prefix + "path", a.String()}}
}

// listening is the event of a socket that clients can reach.
func (l *logger) listening(network string, bound net.Addr) {
	if l.json {
		l.event("listen", append([]field{{"network", network}}, addressFields("", bound)...)...)
	}
}

// sayConnected is the event of a connection, or of the first datagram of a
// peer. role is "dial" or "accept".
func (p *purr) sayConnected(role string, remote, local net.Addr) {
	if p.log.json {
		fields := append([]field{{"role", role}, {"network", p.cfg.network}}, addressFields("", remote)...)
		p.log.event("connect", append(fields, addressFields("local_", local)...)...)
	}
}

// A connStats is the result of one conversation.
type connStats struct {
	peer           string // as messages name it; empty: the run's only one
	reason         string // for its end
	sent, received int64  // bytes
	moved          string // both, in the terms of that kind of conversation
	begun          time.Time
}

// logDisconnect writes the last line of a conversation under -v, or its event.
func (l *logger) logDisconnect(c connStats) {
	took := time.Since(c.begun)
	if l.json {
		l.event("disconnect", field{"peer", c.peer}, field{"how", c.reason},
			field{"sent", c.sent}, field{"received", c.received}, field{"seconds", took.Seconds()})
		return
	}
	if c.peer != "" {
		c.peer += ": "
	}
	l.notef(1, "%s%s; %s in %v, %s", c.peer, c.reason, c.moved, display.Duration(took), display.Rate(c.sent+c.received, took))
}

// sayEnd is the last event of every run.
func (p *purr) sayEnd(status exitStatus) {
	if !p.log.json {
		return
	}
	how := "finished"
	switch {
	case status > statusSignal:
		how = "signal"
	case status != statusOK:
		how = "failed"
	}
	t := &p.traffic
	p.log.event("end", field{"status", status}, field{"how", how}, field{"sent", t.sent.Load()},
		field{"received", t.received.Load()}, field{"seconds", time.Since(t.begun).Seconds()})
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

// asksForJSON reports whether a command line that could not be read asks for
// events. One that asks for -z wants results in JSON, and its errors in text.
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
