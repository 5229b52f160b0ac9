package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"purr/internal/flags"
)

// A usageError is a mistake on the command line: status 2, and a promise that
// nothing was opened, bound or created.
type usageError struct{ error }

func usageErrorf(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func (e usageError) Unwrap() error { return e.error }

// A commandLine is the flag table, and the results of parsing that only rules
// and defaults need.
//
// urfave/cli contributes the flags, which tie names and a type to a field of
// the config, and which Go's flag.FlagSet parses. Its App stays unused: setting
// one up takes longer than a connect on the loopback, it claims operands such
// as "help", prints usage errors on stdout, and reads -p46 as -p -4 -6.
type commandLine struct {
	config  *config
	options []option

	typed      map[string]string // the last value of each option that was given, by canonical name
	wait       time.Duration     // -w: the default of idleTimeout and connectTimeout
	secretFile string
	invalid    error // of the first value that could not be parsed
}

// An option is a cli.Flag beside its description for Getopt: the flag's own
// Names method runs a regular expression over each name.
type option struct {
	flags.Option
	flag cli.Flag
}

// given reports whether the option with this canonical name was given.
func (l *commandLine) given(name string) bool {
	_, given := l.typed[name]
	return given
}

// newCommandLine declares every option. A letter means what it means in OpenBSD
// nc; a long name is Ncat's where Ncat has one.
func newCommandLine() *commandLine {
	l := &commandLine{config: newDefaults(), typed: make(map[string]string)}
	l.options = slices.Concat(l.addressFlags(), l.talkFlags(), l.limitFlags(), l.socketFlags(), l.waitFlags(),
		l.checkFlags(), l.fileFlags(), l.keyFlags(), l.paceFlags(), l.pushFlags())
	return l
}

// addressFlags are the options that select the socket, and the general ones.
func (l *commandLine) addressFlags() []option {
	c := l.config
	return []option{
		toggle(&c.help, "help", "h"),
		toggle(&c.version, "version"),
		counter(&c.verbose, "verbose", "v"),

		toggle(&c.ipv4, "4"),
		toggle(&c.ipv6, "6"),
		toggle(&c.udp, "udp", "u"),
		toggle(&c.unix, "unixsock", "U"),
		toggle(&c.listen, "listen", "l"),
		toggle(&c.keep, "keep-open", "k"),
		text(l, &c.portText, "port", "source-port", "p"),
		text(l, &c.sourceText, "address", "source", "s"),
		toggle(&c.numeric, "nodns", "n"),
		toggle(&c.shuffle, "r"),
	}
}

// talkFlags are the options of a conversation.
func (l *commandLine) talkFlags() []option {
	c := l.config
	return []option{
		toggle(&c.noStdin, "d"),
		toggle(new(bool), "recv-only"),
		toggle(&c.sendOnly, "send-only"),
		toggle(new(bool), "N"),
		toggle(&c.noShutdown, "no-shutdown"),
		toggle(&c.echo, "echo"),
		toggle(&c.upper, "upper"),
		toggle(&c.crlf, "crlf", "C"),
		toggle(&c.telnet, "telnet", "t"),
		toggle(&c.interactive, "interactive"),
		text(l, &c.quitWord, "word", "quit-word"),
	}
}

// limitFlags are the options that end or delay a conversation.
func (l *commandLine) limitFlags() []option {
	c := l.config
	return []option{
		value(l, &l.wait, flags.ParseSeconds, "wait", "w"),
		value(l, &c.idleTimeout, flags.ParseSeconds, "idle-timeout"),
		value(l, &c.connectTimeout, flags.ParseSeconds, "connect-timeout"),
		value(l, &c.acceptTimeout, flags.ParseSeconds, "accept-timeout"),
		value(l, &c.quitAfter, flags.ParseSignedSeconds, "q"),
		value(l, &c.receiveLimit, number("receive limit", 1, math.MaxInt32), "W"),
		value(l, &c.maxConns, number("connection limit", 1, math.MaxInt32), "max-conns"),
		value(l, &c.interval, flags.ParseSeconds, "i"),
	}
}

// socketFlags are the options of sockets.
func (l *commandLine) socketFlags() []option {
	c := l.config
	tos := func(text string) (*int, error) {
		n, err := flags.ParseTOS(text)
		return &n, err
	}
	return []option{
		toggle(&c.socket.Broadcast, "b"),
		value(l, &c.socket.ReceiveBuf, flags.ParseBufferSize, "I"),
		value(l, &c.socket.SendBuf, flags.ParseBufferSize, "O"),
		value(l, &c.socket.TTL, number("ttl", 1, 255), "M"),
		value(l, &c.socket.MinTTL, number("minimum ttl", 1, 255), "m"),
		value(l, &c.socket.TOS, tos, "T"),
		value(l, &c.keepalive, flags.ParseKeepalive, "keepalive"),
		toggle(new(bool), "D"), // SO_DEBUG: without effect, as in nc for users other than root
	}
}

// waitFlags are the options of waiting for a peer, and of being waited for.
func (l *commandLine) waitFlags() []option {
	c := l.config
	return []option{
		value(l, &c.waitFor, flags.ParseSeconds, "wait-for"),
		value(l, &c.retries, number("number of retries", 0, math.MaxInt32), "retry"),
		value(l, &c.readyFD, number("file descriptor", 3, 1<<20), "ready-fd"),
		text(l, &c.portFile, "name of the file", "port-file"),
	}
}

// checkFlags are the options of -z.
func (l *commandLine) checkFlags() []option {
	c := &l.config.check
	return []option{
		toggle(&l.config.zero, "z"),
		toggle(&c.all, "all"),
		toggle(&c.any, "any"),
		toggle(&c.banner, "banner"),
		value(l, &c.parallel, number("number at once", 1, 65535), "parallel"),
		toggle(&l.config.listPayloads, "list-payloads"),
		l.setter(c.payload.Set, "payload"),
		l.setter(c.expect.Set, "expect"),
		text(l, &l.secretFile, "name of the file", "secret-file"),
		toggle(&c.thorough, "thorough"),
		value(l, &c.pings, pingCount, "count", "c"),
		value(l, &c.maxLoss, flags.ParsePercent, "max-loss"),
	}
}

// pingCount parses the value of -c, and returns -1 for a text that is no
// number. In other netcats -c takes a command: a rule words the error.
func pingCount(text string) (int, error) {
	n, err := number("", 0, math.MaxInt32)(text)
	if err != nil {
		n = -1
	}
	return n, nil
}

// fileFlags are the options of raw files.
func (l *commandLine) fileFlags() []option {
	c := &l.config.file
	return []option{
		text(l, &l.config.sendFile, "name of the file", "send-file"),
		toggle(&c.sum, "sum"),
		text(l, &c.recv, "name of the file", "recv-file"),
		value(l, &c.expectSize, flags.ParseFileSize, "expect-size"),
		value(l, &c.expectSHA256, flags.ParseSHA256, "expect-sha256"),
		toggle(&c.keepPartial, "keep-partial"),
		toggle(&c.force, "force"),
	}
}

// keyFlags are the options of encryption.
func (l *commandLine) keyFlags() []option {
	c := &l.config.key
	return []option{
		text(l, &c.file, "name of the file", "key-file"),
		toggle(&c.fresh, "key-new"),
	}
}

// paceFlags are the options of progress and pace.
func (l *commandLine) paceFlags() []option {
	c := &l.config.pace
	return []option{
		toggle(&c.progress, "progress"),
		toggle(&c.noProgress, "no-progress"),
		toggle(&c.quiet, "quiet"),
		toggle(&c.json, "json"),
		value(l, &c.rate, flags.ParseRate, "rate"),
	}
}

// pushFlags are the options of --push and --pull.
func (l *commandLine) pushFlags() []option {
	c := &l.config.push
	return []option{
		toggle(&c.push, "push"),
		toggle(&c.pull, "pull"),
		toggle(&c.rename, "rename"),
		toggle(&c.noResume, "no-resume"),
		toggle(&c.live, "live"),
		value(l, &c.maxSize, flags.ParseSizeLimit, "max-size"),
		value(l, &c.helloTimeout, flags.ParseSeconds, "hello-timeout"),
	}
}

// toggle declares an option without a value that sets to.
func toggle(to *bool, names ...string) option {
	return option{flags.Option{Names: names}, &cli.BoolFlag{Name: names[0], Destination: to}}
}

// counter declares an option without a value that adds 1 to to each time.
func counter(to *int, names ...string) option {
	return option{flags.Option{Names: names}, &cli.BoolFlag{Name: names[0], Count: to}}
}

// text declares an option whose value is stored in to as it is. An empty one
// comes from an unset variable in a script: it does not mean that the option
// was left out. what names the value in the error.
func text(l *commandLine, to *string, what string, names ...string) option {
	return l.setter(func(text string) error {
		if text == "" {
			return fmt.Errorf("the %s is empty", what)
		}
		*to = text
		return nil
	}, names...)
}

// value declares an option whose parsed value is stored in to.
func value[T any](l *commandLine, to *T, parse func(string) (T, error), names ...string) option {
	return l.setter(func(text string) error {
		v, err := parse(text)
		if err == nil {
			*to = v
		}
		return err
	}, names...)
}

// number returns a parser of whole numbers; what names the number in errors.
func number(what string, low, high int64) func(string) (int, error) {
	return flags.Number{What: what, Low: low, High: high}.Int
}

// setter declares an option whose values are passed to set.
func (l *commandLine) setter(set func(text string) error, names ...string) option {
	return option{flags.Option{Names: names, TakesValue: true},
		&cli.GenericFlag{Name: names[0], Value: &setter{line: l, set: set, names: names}}}
}

// A setter is a cli.Generic that keeps an error back until parsing is over: the
// flag package would wrap it, with a name that the user has not typed.
type setter struct {
	line  *commandLine
	set   func(text string) error
	names []string
	typed string // the last value
}

func (s *setter) Set(text string) error {
	s.typed = text
	if err := s.set(text); err != nil && s.line.invalid == nil {
		s.line.invalid = usageErrorf("option %s: %w", dashed(s.names), err)
	}
	return nil
}

func (s *setter) String() string { return s.typed }

// dashed writes an option's names as the user types them, the canonical one
// last: "-w/--wait".
func dashed(names []string) string {
	var out []string
	for i := range names {
		name := names[(i+1)%len(names)]
		if len(name) == 1 {
			out = append(out, "-"+name)
		} else {
			out = append(out, "--"+name)
		}
	}
	return strings.Join(out, "/")
}

// newConfig reads the command line (without the program's name). An error is a
// usageError; nothing has been opened, bound or created.
func newConfig(args []string) (*config, error) {
	l := newCommandLine()
	c := l.config
	operands, behind, err := l.parse(args)
	if err != nil {
		return nil, err
	}
	if c.help || c.version {
		return c, nil
	}
	if l.invalid != nil {
		return nil, l.invalid
	}
	l.derive()
	if c.waits() {
		c.command = operands[len(operands)-behind:]
		operands = operands[:len(operands)-behind]
	}
	if err := l.conflict(); err != nil {
		return nil, err
	}
	if c.listPayloads {
		if len(operands) > 0 {
			return nil, usageErrorf("option --list-payloads takes no operands: say \"purr --list-payloads\"")
		}
		return c, nil
	}
	if err := c.setOperands(operands); err != nil {
		return nil, err
	}
	return c, l.checkFiles()
}

// parse stores the values of the options and returns the operands, the last
// behind of which followed a "--".
func (l *commandLine) parse(args []string) (operands []string, behind int, err error) {
	options := make([]flags.Option, len(l.options))
	byName := make(map[string]cli.Flag, len(l.options))
	for i, o := range l.options {
		options[i] = o.Option
		byName[o.Names[0]] = o.flag
	}
	args, behind, err = flags.Getopt(options, args, isForeign)
	if unknown, ok := errors.AsType[*flags.UnknownError](err); ok {
		return nil, 0, explain(unknown)
	}
	if err != nil {
		return nil, 0, usageError{err}
	}
	set := flag.NewFlagSet("purr", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	// Applying all flags would take as long as a connect on the loopback.
	for _, arg := range args[:slices.Index(args, "--")] {
		name, _, _ := strings.Cut(arg[2:], "=")
		if set.Lookup(name) != nil {
			continue
		}
		if err := byName[name].Apply(set); err != nil {
			return nil, 0, err
		}
	}
	if err := set.Parse(args); err != nil {
		return nil, 0, usageError{err}
	}
	set.Visit(func(f *flag.Flag) { l.typed[f.Name] = f.Value.String() })
	return set.Args(), behind, nil
}

// derive sets the fields that follow from several options.
func (l *commandLine) derive() {
	c := l.config
	c.network = "tcp"
	switch {
	case c.unix && c.udp:
		c.network = "unixgram"
	case c.unix:
		c.network = "unix"
	case c.udp:
		c.network = "udp"
	}
	c.noStdin = c.noStdin || l.given("recv-only") || c.file.recv != ""
	c.push.silence = cmp.Or(c.idleTimeout, c.push.silence)
	c.idleTimeout = cmp.Or(c.idleTimeout, l.wait)
	c.connectTimeout = cmp.Or(c.connectTimeout, l.wait)
	if l.given("q") && c.quitAfter < 0 {
		c.noShutdown = true
	}
	if c.quitAfter <= 0 {
		c.quitAfter = -1
	}
	c.check.ping = l.given("count")
	if c.zero { // --rate is in datagrams; a rule refuses 0
		c.pace.rate = 0
		c.check.rate, _ = number("", 1, 1_000_000)(l.typed["rate"])
	}
}
