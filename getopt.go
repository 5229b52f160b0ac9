package main

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// A usageError is a mistake on the command line: status 2, and a promise that
// nothing was opened, bound or created.
type usageError struct{ error }

func usageErrorf(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func (e usageError) Unwrap() error { return e.error }

// foreign explains the options that other netcats have and purr does not, by
// their name without dashes: a script that uses one deserves better than
// "unknown option".
var foreign = map[string]string{
	"g": "source routing is dropped by today's routers (RFC 7126) and not supported: leave -g out",
	"G": "source routing is dropped by today's routers (RFC 7126) and not supported: leave -G out (for a connect timeout, say --connect-timeout)",
	"S": "TCP MD5 signatures are not supported: for a protected stream, run purr through ssh",
	"V": "routing tables are not supported: leave -V out (for the version, say --version)",
	"Z": "DCCP was removed from Linux in 2025 and is not supported: leave -Z out",
	"F": "passing the connected descriptor is not supported: use \"ProxyCommand purr %h %p\" without ProxyUseFdpass",
	"H": "-H is not supported: for keepalive, say --keepalive IDLE,INTERVAL,COUNT",
	"L": "tunnels are not supported: connect two purrs with a FIFO, as the manual shows",
	"e": "purr runs no commands: connect it to one with a FIFO (\"purr -l PORT <fifo | CMD >fifo\"), or use --echo or --upper",
	"o": "transcripts are not supported: put tee(1) into the pipe instead",
	"x": "proxies and hex dumps are not supported: for a dump, pipe through xxd(1)",
	"X": "proxies are not supported: leave -X out",
	"P": "proxies are not supported: leave -P out",

	"sh-exec": "e", "exec": "e", "lua-exec": "e",
	"output": "o", "hex-dump": "x", "append-output": "o",
	"proxy": "X", "proxy-type": "X", "proxy-auth": "P", "proxy-dns": "X",
	"ssl": "certificates are not supported: to encrypt between two purrs, say --key-new on the listener and PURR_KEY=KEY on the dialer; for other peers, use ncat --ssl or openssl s_client", "ssl-verify": "ssl", "ssl-cert": "ssl", "ssl-key": "ssl",
	"broker": "--broker is not supported: -l -k sends stdin to every client, but not one client's bytes to another", "chat": "broker",
	"allow": "access lists are not supported: bind to one address with -s, or use the firewall", "deny": "allow",
	"allowfile": "allow", "denyfile": "allow",
	"delay": "--delay is not supported: -i waits between lines",
	"sctp":  "SCTP is not supported: leave --sctp out", "vsock": "AF_VSOCK is not supported: leave --vsock out",
}

// unknownOption words the error for an option that purr lacks; typed is what
// the user wrote, name the same without dashes.
func unknownOption(typed, name string) error {
	why, known := foreign[name]
	if alias, isAlias := foreign[why]; isAlias {
		why = alias
	}
	if known {
		return usageErrorf("option %s: %s", typed, why)
	}
	return usageErrorf("unknown option %s: \"purr --help\" lists them all", typed)
}

// An option is what the getopt pass needs to know of a flag.
type option struct {
	name       string // the primary name
	takesValue bool
}

// getoptArgs rewrites args (without the program's name) as getopt_long(3)
// would read them: options may be bundled (-lvp80), carry their value
// attached (-w3), follow operands, be abbreviated as long as they stay unique,
// and end at "--". The result spells every option by its primary name with the
// value behind "=", and puts the operands behind "--", which is the only form
// that urfave/cli v2 reads without surprises (it would take -p46 for -p -4 -6).
// Of the operands the last behind are those that the user wrote behind "--":
// they may be a command.
func getoptArgs(flags []cli.Flag, args []string) (out []string, behind int, err error) {
	options := make(map[string]option)
	for _, f := range flags {
		names := f.Names()
		for _, name := range names {
			options[name] = option{names[0], f.(cli.DocGenerationFlag).TakesValue()}
		}
	}

	var operands []string
	for rest := args; len(rest) > 0; {
		arg := rest[0]
		rest = rest[1:]
		var expanded []string
		switch {
		case arg == "--":
			operands, behind, rest = append(operands, rest...), len(rest), nil
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			operands = append(operands, arg)
		case strings.HasPrefix(arg, "--"):
			expanded, rest, err = expandLong(options, arg, rest)
		default:
			expanded, rest, err = expandBundle(options, arg, rest)
		}
		if err != nil {
			return nil, 0, err
		}
		out = append(out, expanded...)
	}
	return append(append(out, "--"), operands...), behind, nil
}

// expandLong reads --name, --name=value and --name value; it returns the
// canonical option and what is left of rest.
func expandLong(options map[string]option, arg string, rest []string) ([]string, []string, error) {
	name, value, attached := strings.Cut(arg[2:], "=")
	o, err := findLong(options, name)
	switch {
	case err != nil:
		return nil, nil, err
	case attached && !o.takesValue:
		return nil, nil, usageErrorf("option --%s takes no value: leave out \"=%s\"", o.name, value)
	case attached:
		return []string{"--" + o.name + "=" + value}, rest, nil
	case !o.takesValue:
		return []string{"--" + o.name}, rest, nil
	case len(rest) == 0:
		return nil, nil, usageErrorf("option --%s needs a value", name)
	}
	return []string{"--" + o.name + "=" + rest[0]}, rest[1:], nil
}

// findLong finds a long option by its name or by an unambiguous beginning.
func findLong(options map[string]option, name string) (option, error) {
	if o, ok := options[name]; ok && len(name) > 1 {
		return o, nil
	}
	if _, known := foreign[name]; known || len(name) < 2 {
		return option{}, unknownOption("--"+name, name)
	}
	matches := make(map[string]bool)
	for full := range options {
		if strings.HasPrefix(full, name) {
			matches[full] = true
		}
	}
	if len(matches) == 1 {
		for full := range matches {
			return options[full], nil
		}
	}
	if len(matches) > 1 {
		var all []string
		for full := range matches {
			all = append(all, "--"+full)
		}
		sort.Strings(all)
		return option{}, usageErrorf("option --%s is ambiguous: %s", name, strings.Join(all, ", "))
	}
	return option{}, unknownOption("--"+name, name)
}

// expandBundle reads short options: -l, -lvp 80, -lvp80. The first one that
// takes a value takes the rest of the word, or the next word.
func expandBundle(options map[string]option, arg string, rest []string) (out, left []string, err error) {
	for i, c := range arg[1:] {
		o, ok := options[string(c)]
		if !ok {
			return nil, nil, unknownOption("-"+string(c), string(c))
		}
		if !o.takesValue {
			out = append(out, "--"+o.name)
			continue
		}
		value := arg[1+i+utf8.RuneLen(c):]
		if value == "" {
			if len(rest) == 0 {
				return nil, nil, usageErrorf("option -%c needs a value", c)
			}
			value, rest = rest[0], rest[1:]
		}
		return append(out, "--"+o.name+"="+value), rest, nil
	}
	return out, rest, nil
}
