package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// The forms of PEERS 2.8 and DESIGN 3, as the getopt pass rewrites them. The
// table has the options of a scan and of a proxy too: the pass knows nothing of
// what they mean.
func TestGetoptArgs(t *testing.T) {
	t.Parallel()
	flags := []cli.Flag{
		&cli.BoolFlag{Name: "listen", Aliases: []string{"l"}},
		&cli.BoolFlag{Name: "keep-open", Aliases: []string{"k"}},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}},
		&cli.BoolFlag{Name: "nodns", Aliases: []string{"n"}},
		&cli.BoolFlag{Name: "udp", Aliases: []string{"u"}},
		&cli.BoolFlag{Name: "unixsock", Aliases: []string{"U"}},
		&cli.BoolFlag{Name: "z"}, &cli.BoolFlag{Name: "4"}, &cli.BoolFlag{Name: "6"},
		&cli.BoolFlag{Name: "no-shutdown"},
		&cli.StringFlag{Name: "source-port", Aliases: []string{"p"}},
		&cli.StringFlag{Name: "source", Aliases: []string{"s"}},
		&cli.StringFlag{Name: "wait", Aliases: []string{"w"}},
		&cli.StringFlag{Name: "proxy", Aliases: []string{"x"}},
		&cli.StringFlag{Name: "X"}, &cli.StringFlag{Name: "P"}, &cli.StringFlag{Name: "q"}, &cli.StringFlag{Name: "i"},
		&cli.StringFlag{Name: "idle-timeout"},
		&cli.StringFlag{Name: "send-file"}, &cli.BoolFlag{Name: "send-only"},
	}
	for _, test := range []struct {
		args string // words between blanks; an empty word is written ''
		want string
	}{
		// PEERS 2.8, in its order.
		{"-lvnp 4444", "--listen --verbose --nodns --source-port=4444 --"},
		{"-w3 h p", "--wait=3 -- h p"},
		{"-zvw1 h p", "--z --verbose --wait=1 -- h p"},
		{"-vw 1 -z h p", "--verbose --wait=1 --z -- h p"},
		{"h p -v", "--verbose -- h p"},
		{"h -v p", "--verbose -- h p"},
		{"-zv -- h p", "--z --verbose -- h p"},
		{"-lk 4444", "--listen --keep-open -- 4444"},
		{"-l 127.0.0.1 4444", "--listen -- 127.0.0.1 4444"},
		{"-l -p 4444", "--listen --source-port=4444 --"},
		{"-s 127.0.0.1 -p 4444 -l", "--source=127.0.0.1 --source-port=4444 --listen --"},
		{"-zv h 20-30", "--z --verbose -- h 20-30"},
		{"-zv h http 20 22-23", "--z --verbose -- h http 20 22-23"},
		{"-x10.2.3.4:8080 -Xconnect -Pruser h 42", "--proxy=10.2.3.4:8080 --X=connect --P=ruser -- h 42"},
		{"-lU path", "--listen --unixsock -- path"},
		{"-uU path", "--udp --unixsock -- path"},
		{"-U @abstract", "--unixsock -- @abstract"},
		// Not accepted by any peer.
		{"h:80", "-- h:80"},
		{"[::1]:80", "-- [::1]:80"},
		{"-l -p P H", "--listen --source-port=P -- H"},
		{"-w 0.5 h p", "--wait=0.5 -- h p"},
		// What a library gets wrong (PEERS 1g, FACTS 1.1).
		{"-lp4444", "--listen --source-port=4444 --"},
		{"-p4444 h 80", "--source-port=4444 -- h 80"},
		{"-p46 h 80", "--source-port=46 -- h 80"},
		{"-w6 h 80", "--wait=6 -- h 80"},
		{"-wv 3", "--wait=v -- 3"},
		{"-4 -6", "--4 --6 --"},
		{"-46", "--4 --6 --"},
		{"-vv -v", "--verbose --verbose --verbose --"},
		{"-v --verbose", "--verbose --verbose --"},
		{"-lvvnp4444", "--listen --verbose --verbose --nodns --source-port=4444 --"},
		{"-listen", "--listen --i=sten --"}, // one dash: letters, as getopt reads them
		// Values that look like options.
		{"-w -1 h", "--wait=-1 -- h"},
		{"-q -1 h p", "--q=-1 -- h p"},
		{"-q-1 h p", "--q=-1 -- h p"},
		{"-p -- h", "--source-port=-- -- h"},
		{"--wait -5 h", "--wait=-5 -- h"},
		{"-w=5", "--wait==5 --"},
		{"-w '' h", "--wait= -- h"},
		{"--wait= h", "--wait= -- h"},
		{"-s a=b h", "--source=a=b -- h"},
		{"--source=a=b=c h", "--source=a=b=c -- h"},
		{"--source -- h", "--source=-- -- h"},
		// Long names.
		{"--listen 80", "--listen -- 80"},
		{"80 --listen", "--listen -- 80"},
		{"--source-port=80", "--source-port=80 --"},
		{"--source-port 80 --listen", "--source-port=80 --listen --"},
		{"--source x", "--source=x --"}, // a full name is no abbreviation of a longer one
		{"--lis 80", "--listen -- 80"},
		{"--wa=3", "--wait=3 --"},
		{"--source-p 3", "--source-port=3 --"},
		{"--idle 3", "--idle-timeout=3 --"},
		{"--send-f x", "--send-file=x --"},
		// The end of options.
		{"-l -- -v", "--listen -- -v"},
		{"-- -l -v", "-- -l -v"},
		{"h -- -v", "-- h -v"},
		{"h -l -- -- x", "--listen -- h -- x"},
		{"- 80", "-- - 80"},
		{"'' 80", "-- '' 80"},
		{"", "--"},
		{"--", "--"},
	} {
		got, _, err := getoptArgs(flags, words(test.args))
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
			continue
		}
		want := words(test.want)
		if strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Errorf("%s: got %q, want %q", test.args, got, want)
		}
	}
	for _, test := range []struct{ args, want string }{
		{"-p", "option -p needs a value"},
		{"-lvp", "option -p needs a value"},
		{"h 80 -p", "option -p needs a value"},
		{"--source-port", "option --source-port needs a value"},
		{"--source-p", "option --source-p needs a value"},
		{"--listen=yes", `option --listen takes no value: leave out "=yes"`},
		{"--listen=", `option --listen takes no value: leave out "="`},
		{"--send", "option --send is ambiguous: --send-file, --send-only"},
		{"--no", "option --no is ambiguous: --no-shutdown, --nodns"},
		{"--nosuch", `unknown option --nosuch: "purr --help" lists them all`},
		{"--nosuch=5", `unknown option --nosuch: "purr --help" lists them all`},
		{"-l?", `unknown option -?: "purr --help" lists them all`},
		{"-lé", `unknown option -é: "purr --help" lists them all`},
		{"--l", `unknown option --l: "purr --help" lists them all`}, // a letter is no long name
		{"--=x", `unknown option --: "purr --help" lists them all`},
		{"---", `unknown option ---: "purr --help" lists them all`},
	} {
		got, _, err := getoptArgs(flags, words(test.args))
		if err == nil {
			t.Errorf("%s: got %q, want an error", test.args, got)
		} else if err.Error() != test.want {
			t.Errorf("%s: %q, want %q", test.args, err, test.want)
		}
	}
}

// words splits a row of a table; two quotes are an empty word.
func words(s string) []string {
	var out []string
	for _, w := range strings.Fields(s) {
		if w == "''" {
			w = ""
		}
		out = append(out, w)
	}
	return out
}

// Whatever the arguments, the pass does not panic, and what it returns is what
// the flag package reads without guessing: known names, each with a value if it
// takes one, then "--" and the operands.
func FuzzGetoptArgs(f *testing.F) {
	for _, seed := range []string{"-lvnp 4444", "-w3 h p", "-p", "--", "h -- -v", "--wait=3", "-\xff", "--w\xff=", "-p46 h"} {
		f.Add(seed)
	}
	flags := newFlagSet().flags
	takesValue := make(map[string]bool)
	for _, fl := range flags {
		takesValue[fl.Names()[0]] = fl.(cli.DocGenerationFlag).TakesValue()
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		got, _, err := getoptArgs(flags, args)
		if err != nil {
			return
		}
		end := slices.Index(got, "--")
		if end < 0 {
			t.Fatalf("%q became %q", args, got)
		}
		for _, option := range got[:end] {
			name, _, hasValue := strings.Cut(strings.TrimPrefix(option, "--"), "=")
			if wants, known := takesValue[name]; !known || wants != hasValue {
				t.Errorf("%q became %q: what is %s?", args, got, option)
			}
		}
		for _, operand := range got[end+1:] {
			if !slices.Contains(args, operand) {
				t.Errorf("%q became %q: where is %q from?", args, got, operand)
			}
		}
	})
}
