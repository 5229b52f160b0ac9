package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// payloadChoice is the value of --payload. The zero value is auto.
type payloadChoice struct {
	text   string // as given
	name   string // of the table
	custom []byte // not nil: exactly these bytes
	label  string // what custom is called in the output
	stdin  bool   // custom is still to be read, by load
}

// payloadMost is the largest UDP payload over IPv4, the one number that fits everywhere but jumbograms.
const payloadMost = 65507

func (c *payloadChoice) String() string {
	if c.text == "" {
		return "auto"
	}
	return c.text
}

// Set parses auto, none, NAME, text:…, hex:…, file:PATH or -. A file is read at once, - by load.
func (c *payloadChoice) Set(s string) error {
	n := payloadChoice{text: s}
	kind, value, _ := strings.Cut(s, ":")
	var err error
	switch {
	case s == "auto":
	case s == "-":
		n.stdin, n.label = true, "stdin"
	case kind == "text" && kind != s:
		n.custom, n.label = []byte(value), "text"
	case kind == "hex" && kind != s:
		n.label = "hex"
		if n.custom, err = payloadHex(value); err != nil {
			return err
		}
	case kind == "file" && kind != s:
		n.label = "file"
		f, err := os.Open(value)
		if err != nil {
			return err
		}
		defer f.Close()
		if n.custom, err = payloadRead(f, value); err != nil {
			return err
		}
	case payloadByName(s) != nil:
		n.name = s
	default:
		return fmt.Errorf("unknown payload %q: auto, text:, hex:, file:, - or one of --list-payloads", s)
	}
	if len(n.custom) > payloadMost {
		return fmt.Errorf("payload of %d bytes does not fit a datagram (%d)", len(n.custom), payloadMost)
	}
	*c = n
	return nil
}

// load reads the payload from stdin if it was given as -.
func (c *payloadChoice) load(stdin io.Reader) error {
	if !c.stdin {
		return nil
	}
	b, err := payloadRead(stdin, "stdin")
	c.custom, c.stdin = b, false
	return err
}

// payloadRead returns all of r, which must fit a datagram.
func payloadRead(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, payloadMost+1))
	if err == nil && len(b) > payloadMost {
		err = fmt.Errorf("payload from %s does not fit a datagram (%d bytes)", name, payloadMost)
	}
	return b, err
}

// payloadHex decodes hex digits; blanks, colons and commas between them are ignored.
func payloadHex(s string) ([]byte, error) {
	s = strings.NewReplacer(" ", "", ":", "", ",", "").Replace(s)
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("payload hex invalid: %w", err)
	}
	return b, nil
}

// tries returns what to send to a port, in turns, and whether any reply is as good as a matching one because
// nobody knows what listens there.
func (c *payloadChoice) tries(port uint16, o *probeOptions) (tries []*payload, loose bool) {
	switch {
	case c.custom != nil:
		p := &payload{name: c.label, build: func(*payloadTarget) []byte { return c.custom }}
		return []*payload{p}, true
	case c.name != "":
		p := payloadByName(c.name)
		return []*payload{p}, p.match == nil
	case o.expect.payload != nil && o.expect.payload.build != nil: // who expects DNS has asked for it
		return []*payload{o.expect.payload}, false
	}
	tries, known := payloadsForPort(port, len(o.secret) > 0)
	return tries, !known
}

// probeExpect is the value of --expect. The zero value accepts everything.
type probeExpect struct {
	text    string
	prefix  []byte
	pattern *regexp.Regexp
	payload *payload
}

func (e *probeExpect) String() string { return e.text }

// Set parses any, prefix-hex:…, regex:… or the NAME of a payload, whose answer must then parse.
func (e *probeExpect) Set(s string) error {
	n := probeExpect{text: s}
	kind, value, _ := strings.Cut(s, ":")
	var err error
	switch {
	case s == "any":
	case kind == "prefix-hex" && kind != s:
		if n.prefix, err = payloadHex(value); err == nil && len(n.prefix) == 0 {
			err = errors.New("prefix-hex: needs at least one byte")
		}
	case kind == "regex" && kind != s:
		n.pattern, err = regexp.Compile(value)
	default:
		n.payload = payloadByName(s)
		if n.payload == nil || n.payload.match == nil {
			err = fmt.Errorf("unknown expectation %q: any, prefix-hex:, regex: or a name of --list-payloads that answers", s)
		}
	}
	if err != nil {
		return err
	}
	*e = n
	return nil
}

// given says whether the user expects anything in particular, be it any answer.
func (e *probeExpect) given() bool { return e.text != "" }

// check says whether a reply is as expected.
func (e *probeExpect) check(x *payloadExchange) bool {
	switch {
	case e.prefix != nil:
		return bytes.HasPrefix(x.reply, e.prefix)
	case e.pattern != nil:
		return e.pattern.Match(x.reply)
	case e.payload != nil:
		_, ok := e.payload.match(x)
		return ok
	}
	return true
}
