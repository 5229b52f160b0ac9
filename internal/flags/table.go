package flags

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// A Table is the options of a program: their names, and where their values go.
// The zero value has none. Options are declared by Bool, Count, Text, Func and
// Value; then Parse is called once.
//
// urfave/cli contributes the flags, which tie a name and a type to a variable,
// and which Go's flag.FlagSet parses. Its App stays unused: setting one up
// takes longer than a connect on the loopback, it claims operands such as
// "help", prints usage errors on stdout, and reads -p46 as -p -4 -6.
type Table struct {
	options []tableOption
	typed   map[string]string // the last value of each option that was given, by canonical name
	valued  []string          // the options with a value, as they were typed, that are still to be set
	invalid error             // of the first value that could not be parsed
}

// A tableOption is an option and where its values go: to one of to, count and
// set.
type tableOption struct {
	Option
	to    *bool
	count *int
	set   func(text string) error
}

// A ValueError is an option's value that was not accepted.
type ValueError struct {
	Option string // its name as it was typed: "-w" or "--wait"
	Err    error
}

// Error names the option before the cause.
func (e *ValueError) Error() string { return "option " + e.Option + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ValueError) Unwrap() error { return e.Err }

// Options returns the options in the order of their declaration.
func (t *Table) Options() []Option {
	options := make([]Option, len(t.options))
	for i, o := range t.options {
		options[i] = o.Option
	}
	return options
}

// Bool declares an option without a value, which sets *to to true. The first of
// the names is canonical, here and in the other declarations.
func (t *Table) Bool(to *bool, names ...string) {
	t.add(tableOption{Option{names, false}, to, nil, nil})
}

// Count declares an option without a value. Each time it is given, *to grows by
// 1.
func (t *Table) Count(to *int, names ...string) {
	t.add(tableOption{Option{names, false}, nil, to, nil})
}

// Text declares an option whose value is stored in *to as it is. An empty value
// is an error, in which the word what names the value: an empty one comes from
// an unset variable in a script, and does not mean that the option was left
// out.
func (t *Table) Text(to *string, what string, names ...string) {
	t.Func(func(text string) error {
		if text == "" {
			return fmt.Errorf("the %s is empty", what)
		}
		*to = text
		return nil
	}, names...)
}

// Func declares an option whose values are passed to set. An error of set
// becomes a *ValueError of Parse.
func (t *Table) Func(set func(text string) error, names ...string) {
	t.add(tableOption{Option{names, true}, nil, nil, set})
}

// Value declares an option of t. Its value is read by parse and stored in *to.
// An error of parse leaves *to as it is, and becomes a *ValueError of Parse.
func Value[T any](t *Table, to *T, parse func(string) (T, error), names ...string) {
	t.Func(func(text string) error {
		v, err := parse(text)
		if err == nil {
			*to = v
		}
		return err
	}, names...)
}

// Optional is Value for an option without a default: *to stays nil unless it is
// given.
func Optional[T any](t *Table, to **T, parse func(string) (T, error), names ...string) {
	t.Func(func(text string) error {
		v, err := parse(text)
		if err == nil {
			*to = &v
		}
		return err
	}, names...)
}

// Rename makes name a name of the declared option whose canonical name is
// option, after its others, and takes it from the option that has it. An option
// without names is gone. If option is not declared, name is unknown afterwards.
func (t *Table) Rename(name, option string) {
	var kept []tableOption
	for _, o := range t.options {
		o.Names = slices.DeleteFunc(slices.Clone(o.Names), func(n string) bool { return n == name })
		if len(o.Names) > 0 && o.Names[0] == option {
			o.Names = append(o.Names, name)
		}
		if len(o.Names) > 0 {
			kept = append(kept, o)
		}
	}
	t.options = kept
}

// add declares an option. It is called seventy times at the start: inlined, it
// would be 30 KB of code to read from the disk.
//
//go:noinline
func (t *Table) add(o tableOption) {
	if t.options == nil {
		t.options = make([]tableOption, 0, 96) // each step of a growing one would touch pages of its own
	}
	t.options = append(t.options, o)
}

// flag returns the cli.Flag that stores the values of the option o.
func (t *Table) flag(o tableOption) cli.Flag {
	if o.set != nil {
		return &cli.GenericFlag{Name: o.Names[0], Value: &setter{table: t, set: o.set}}
	}
	return &cli.BoolFlag{Name: o.Names[0], Destination: o.to, Count: o.count}
}

// Parse reads args as Getopt does, stores the values of the options, and
// returns the operands. behind and reserved are those of Getopt. An error is
// one of Getopt's, or the *ValueError of the first value that was not accepted;
// then all other values are stored, and the operands are valid.
func (t *Table) Parse(args []string, reserved func(name string) bool) (operands []string, behind int, err error) {
	t.invalid = nil
	args, t.valued, behind, err = Getopt(t.Options(), args, reserved)
	if err != nil {
		return nil, 0, err
	}
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	// Making and applying all flags would take as long as a connect on the
	// loopback.
	for _, arg := range args[:slices.Index(args, "--")] {
		name, _, _ := strings.Cut(arg[2:], "=")
		if set.Lookup(name) != nil {
			continue
		}
		i := slices.IndexFunc(t.options, func(o tableOption) bool { return o.Names[0] == name })
		if err := t.flag(t.options[i]).Apply(set); err != nil {
			return nil, 0, err
		}
	}
	if err := set.Parse(args); err != nil {
		return nil, 0, err
	}
	t.typed = make(map[string]string)
	set.Visit(func(f *flag.Flag) { t.typed[f.Name] = f.Value.String() })
	return set.Args(), behind, t.invalid
}

// Typed returns the last value of the option with this canonical name as it was
// typed, and reports whether the option was given.
func (t *Table) Typed(name string) (text string, given bool) {
	text, given = t.typed[name]
	return text, given
}

// A setter is a cli.Generic that keeps an error back until parsing is over: the
// flag package would wrap it, with a name that the user has not typed.
type setter struct {
	table *Table
	set   func(text string) error
	typed string // the last value
}

// Set stores a value. It always returns nil: if the value is not accepted, the
// error is kept in s.table.invalid, unless an earlier one is there.
func (s *setter) Set(text string) error {
	s.typed = text
	option := s.table.valued[0]
	s.table.valued = s.table.valued[1:]
	if err := s.set(text); err != nil && s.table.invalid == nil {
		s.table.invalid = &ValueError{option, err}
	}
	return nil
}

// String returns the last value.
func (s *setter) String() string { return s.typed }
