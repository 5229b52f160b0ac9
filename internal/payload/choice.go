package payload

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

// A Choice selects the payloads to send. It is a flag.Value; the zero value is
// "auto", which selects by port.
type Choice struct {
	text   string // as given to Set
	name   string // of a payload
	custom []byte // not nil: exactly these bytes
	label  string // the kind of custom: text, hex, file or stdin
	stdin  bool   // custom is still to be read, by Load
}

// String returns the text given to Set, "auto" by default.
func (c *Choice) String() string {
	if c.text == "" {
		return "auto"
	}
	return c.text
}

// Given reports whether Set was called.
func (c *Choice) Given() bool { return c.text != "" }

// NeedsStdin reports whether Load is still to be called.
func (c *Choice) NeedsStdin() bool { return c.stdin }

// Set parses auto, none, NAME, text:..., hex:..., file:PATH or -. It reads a
// file at once; - is left to Load.
func (c *Choice) Set(s string) error {
	n := Choice{text: s}
	kind, value, prefixed := strings.Cut(s, ":")
	var err error
	switch {
	case s == "auto":
	case s == "-":
		n.stdin, n.label = true, "stdin"
	case value == "" && (kind == "text" || kind == "hex") && prefixed: // of an unset variable
		return fmt.Errorf("the payload behind %s is empty: for an empty datagram, say none", s)
	case kind == "text" && prefixed:
		n.custom, n.label = []byte(value), kind
	case kind == "hex" && prefixed:
		n.label = kind
		if n.custom, err = parseHex(value); err != nil {
			return err
		}
	case kind == "file" && prefixed:
		n.label = kind
		f, err := os.Open(value)
		if err != nil {
			return err
		}
		defer f.Close()
		if n.custom, err = readAll(f, value); err != nil {
			return err
		}
	case ByName(s) != nil:
		n.name = s
	default:
		return fmt.Errorf("unknown payload %q: auto, text:, hex:, file:, - or one of --list-payloads", s)
	}
	if len(n.custom) > MaxSize {
		return fmt.Errorf("payload of %d bytes does not fit a datagram (%d)", len(n.custom), MaxSize)
	}
	*c = n
	return nil
}

// Load reads the payload to the end of stdin if - was chosen.
func (c *Choice) Load(stdin io.Reader) error {
	if !c.stdin {
		return nil
	}
	b, err := readAll(stdin, "stdin")
	c.custom, c.stdin = b, false
	return err
}

// readAll reads r to its end. More than fits a datagram is an error, in which
// name stands for r.
func readAll(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err == nil && len(b) > MaxSize {
		err = fmt.Errorf("payload from %s does not fit a datagram (%d bytes)", name, MaxSize)
	}
	return b, err
}

// parseHex decodes hex digits, with blanks, colons and commas anywhere between
// them.
func parseHex(s string) ([]byte, error) {
	s = strings.NewReplacer(" ", "", ":", "", ",", "").Replace(s)
	b, err := hex.DecodeString(s)
	var odd hex.InvalidByteError
	switch {
	case errors.As(err, &odd):
		return nil, fmt.Errorf("hex invalid: %q is no hexadecimal digit: say hex:0aff", byte(odd))
	case err != nil:
		return nil, errors.New("hex invalid: the number of digits is odd: say hex:0aff")
	}
	return b, nil
}

// Payloads returns the payloads that take turns in the requests to a port. If
// loose is true, the service is not known, and any reply is as good as one that
// matches.
func (c *Choice) Payloads(port uint16, expect *Expect, haveSecret bool) (payloads []*Payload, loose bool) {
	switch {
	case c.custom != nil:
		p := &Payload{Name: c.label, Build: func(*Target) []byte { return c.custom }}
		return []*Payload{p}, true
	case c.name != "":
		p := ByName(c.name)
		return []*Payload{p}, p.Match == nil
	case expect.payload != nil && expect.payload.Build != nil: // a DNS answer is expected, so the request is DNS
		return []*Payload{expect.payload}, false
	}
	payloads, listed := ForPort(port, haveSecret)
	return payloads, !listed
}

// GetsSecret reports whether a request of p may carry the user's secret: if p
// needs one, or was chosen by name. With "auto", the secret for one service
// must not be sent to another.
func (c *Choice) GetsSecret(p *Payload) bool { return p.NeedsSecret || c.name == p.Name }

// Custom reports whether the payload is the user's own bytes.
func (c *Choice) Custom() bool { return c.custom != nil }

// Expect is a condition on a reply. It is a flag.Value; the zero value holds
// for every reply.
type Expect struct {
	text    string
	prefix  []byte
	pattern *regexp.Regexp
	payload *Payload
}

// String returns the text given to Set.
func (e *Expect) String() string { return e.text }

// Given reports whether Set was called, be it with "any".
func (e *Expect) Given() bool { return e.text != "" }

// Set parses any, prefix-hex:..., regex:... or the name of a payload, which
// must match the reply.
func (e *Expect) Set(s string) error {
	n := Expect{text: s}
	kind, value, prefixed := strings.Cut(s, ":")
	var err error
	switch {
	case s == "any":
	case kind == "prefix-hex" && prefixed:
		if n.prefix, err = parseHex(value); err == nil && len(n.prefix) == 0 {
			err = errors.New("prefix-hex: needs at least one byte")
		}
	case s == "regex:": // of an unset variable: it would hold for every reply
		err = errors.New("regex: needs a pattern")
	case kind == "regex" && prefixed:
		n.pattern, err = regexp.Compile(value)
	default:
		n.payload = ByName(s)
		if n.payload == nil || n.payload.Match == nil {
			err = fmt.Errorf("unknown expectation %q: any, prefix-hex:, regex: or a name of --list-payloads that answers", s)
		}
	}
	if err != nil {
		return err
	}
	*e = n
	return nil
}

// Holds reports whether a reply is as expected.
func (e *Expect) Holds(x *Exchange) bool {
	switch {
	case e.prefix != nil:
		return bytes.HasPrefix(x.Reply, e.prefix)
	case e.pattern != nil:
		return e.pattern.Match(x.Reply)
	case e.payload != nil:
		_, ok := e.payload.Match(x)
		return ok
	}
	return true
}
