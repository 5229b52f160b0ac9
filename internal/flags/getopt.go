// Package flags reads command lines: a pass that rewrites arguments as
// getopt_long(3) reads them, and the grammars of option values and port
// operands.
//
// The parsers of values are pure functions of the text, ParsePort excepted,
// which looks service names up. Their errors name the quantity and quote the
// text ("ttl too large: 256"); the option's name is the caller's to add.
package flags

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// An Option is an option as Getopt knows it.
type Option struct {
	// Names are without dashes. The first is canonical; a name of one character
	// is a short option, a longer one a long option.
	Names      []string
	TakesValue bool
}

// An UnknownError is an option that is not in the table. Option is the option
// as it was typed, with its dashes; a letter of a bundle gets a dash.
type UnknownError struct{ Option string }

// Error names the option as it was given.
func (e *UnknownError) Error() string { return "unknown option " + e.Option }

// Name returns the option without its dashes.
func (e *UnknownError) Name() string {
	return strings.TrimPrefix(strings.TrimPrefix(e.Option, "-"), "-")
}

// An index finds options by each of their names. A command line has few
// options, so that a map would cost more than it saves.
type index []Option

// find returns the option with a name, nil if there is none.
func (t index) find(name string) *Option {
	for i := range t {
		if slices.Contains(t[i].Names, name) {
			return &t[i]
		}
	}
	return nil
}

// Getopt rewrites args (without the program's name) as getopt_long(3) reads
// them: options may be bundled (-lvp80), carry their value attached (-w3),
// follow operands, and end at "--"; long ones may be abbreviated as long as
// they stay unique. In the result each option has the form --name or
// --name=value with its canonical name, and the operands follow "--": package
// flag reads this form without guessing.
//
// reserved reports whether a long name is an option of another program. Such a
// name is not read as an abbreviation, but unknown. A nil reserved reserves
// none.
//
// typed are the options with a value as they were typed, with their dashes and
// in the order of args; an abbreviation is written out. behind is the number of
// operands, at the end, that followed a "--" in args. An error is an
// *UnknownError, or a plain one whose text names the option as it was typed.
func Getopt(options []Option, args []string, reserved func(name string) bool) (out, typed []string, behind int, err error) {
	t := index(options)
	var operands []string
	for rest := args; len(rest) > 0; {
		arg := rest[0]
		rest = rest[1:]
		var expanded []string
		var valued string // the option among them that has a value
		switch {
		case arg == "--":
			operands, behind, rest = append(operands, rest...), len(rest), nil
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			operands = append(operands, arg)
		case strings.HasPrefix(arg, "--"):
			expanded, valued, rest, err = t.expandLong(arg, rest, reserved)
		default:
			expanded, valued, rest, err = t.expandBundle(arg, rest)
			// Also one that can be read as letters: -version is no -e.
			if name, _, _ := strings.Cut(arg[1:], "="); len(name) > 1 && t.find(name) != nil {
				err = fmt.Errorf("option -%s: a long option has two dashes: say --%s", name, name)
			}
		}
		if err != nil {
			return nil, nil, 0, err
		}
		if out = append(out, expanded...); valued != "" {
			typed = append(typed, valued)
		}
	}
	return append(append(out, "--"), operands...), typed, behind, nil
}

// expandLong reads --name, --name=value and --name value. It returns the
// canonical option, the whole name if there is a value, and the arguments of
// rest that are still to be read.
func (t index) expandLong(arg string, rest []string, reserved func(string) bool) (out []string, valued string, left []string, err error) {
	name, value, attached := strings.Cut(arg[2:], "=")
	o, full, err := t.findLong(name, reserved)
	if err != nil {
		return nil, "", nil, err
	}
	canonical := "--" + o.Names[0]
	switch {
	case attached && !o.TakesValue:
		return nil, "", nil, fmt.Errorf("option %s takes no value: leave out \"=%s\"", canonical, value)
	case attached:
		return []string{canonical + "=" + value}, full, rest, nil
	case !o.TakesValue:
		return []string{canonical}, "", rest, nil
	case len(rest) == 0:
		return nil, "", nil, fmt.Errorf("option '--%s' requires an argument", name)
	}
	return []string{canonical + "=" + rest[0]}, full, rest[1:], nil
}

// findLong finds a long option by its name or by an unambiguous beginning, and
// returns the whole name with its dashes. A reserved name is not taken for a
// beginning.
func (t index) findLong(name string, reserved func(string) bool) (o Option, full string, err error) {
	if len(name) < 2 {
		return Option{}, "", &UnknownError{"--" + name}
	}
	if o := t.find(name); o != nil {
		return *o, "--" + name, nil
	}
	if reserved != nil && reserved(name) {
		return Option{}, "", &UnknownError{"--" + name}
	}
	var matches []string
	for _, o := range t {
		for _, full := range o.Names {
			if strings.HasPrefix(full, name) {
				matches = append(matches, "--"+full)
			}
		}
	}
	switch len(matches) {
	case 0:
		return Option{}, "", &UnknownError{"--" + name}
	case 1:
		return *t.find(matches[0][2:]), matches[0], nil
	}
	slices.Sort(matches)
	return Option{}, "", fmt.Errorf("option --%s is ambiguous: %s", name, strings.Join(matches, ", "))
}

// expandBundle reads short options: -l, -lvp 80, -lvp80. The first one that
// takes a value takes the rest of the word, or the next word. It returns the
// canonical options, the letter with a value, and the arguments of rest that
// are still to be read.
func (t index) expandBundle(arg string, rest []string) (out []string, valued string, left []string, err error) {
	for i, c := range arg[1:] {
		o := t.find(string(c))
		if o == nil {
			return nil, "", nil, &UnknownError{"-" + string(c)}
		}
		canonical := "--" + o.Names[0]
		if !o.TakesValue {
			out = append(out, canonical)
			continue
		}
		value := arg[1+i+utf8.RuneLen(c):]
		if value == "" {
			if len(rest) == 0 {
				return nil, "", nil, fmt.Errorf("option requires an argument -- '%c'", c)
			}
			value, rest = rest[0], rest[1:]
		}
		return append(out, canonical+"="+value), "-" + string(c), rest, nil
	}
	return out, "", rest, nil
}
