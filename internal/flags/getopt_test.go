package flags

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// testOptions has options of several netcats.
func testOptions() (options []Option) {
	for _, names := range []string{
		"listen l", "keep-open k", "verbose v", "nodns n", "udp u", "unixsock U", "z", "4", "6", "no-shutdown", "send-only",
		"source-port p =", "source s =", "wait w =", "proxy x =", "X =", "P =", "q =", "i =", "idle-timeout =", "send-file =",
	} {
		names, takesValue := strings.CutSuffix(names, " =")
		options = append(options, Option{strings.Fields(names), takesValue})
	}
	return options
}

// reserved are the long options of other programs.
func reserved(name string) bool { return name == "idle" }

// Each form of a command line that a netcat accepts, as Getopt rewrites it.
func TestGetopt(t *testing.T) {
	t.Parallel()
	options := testOptions()
	for _, test := range []struct {
		args string // words between blanks; an empty word is written ''
		want string
	}{
		// Forms in use.
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
		// Not accepted by any other netcat.
		{"h:80", "-- h:80"},
		{"[::1]:80", "-- [::1]:80"},
		{"-l -p P H", "--listen --source-port=P -- H"},
		{"-w 0.5 h p", "--wait=0.5 -- h p"},
		// Forms that Go's flag package and urfave/cli read as something else.
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
		{"-liste", "--listen --i=ste --"}, // one dash: letters, as getopt reads them
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
		{"--idle-t 3", "--idle-timeout=3 --"},
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
		got, _, _, err := Getopt(options, words(test.args), reserved)
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
		{"-p", "option requires an argument -- 'p'"},
		{"-lvp", "option requires an argument -- 'p'"},
		{"h 80 -p", "option requires an argument -- 'p'"},
		{"--source-port", "option '--source-port' requires an argument"},
		{"--source-p", "option '--source-p' requires an argument"},
		{"--listen=yes", `option --listen takes no value: leave out "=yes"`},
		{"--listen=", `option --listen takes no value: leave out "="`},
		{"--send", "option --send is ambiguous: --send-file, --send-only"},
		{"--no", "option --no is ambiguous: --no-shutdown, --nodns"},
		{"--idle 3", `unknown option --idle`}, // of another program
		{"--idle=3", `unknown option --idle`},
		{"-listen", "option -listen: a long option has two dashes: say --listen"}, // although -l -i sten can be read
		{"-udp", "option -udp: a long option has two dashes: say --udp"},
		{"-verbose=2", "option -verbose: a long option has two dashes: say --verbose"},
		{"--nosuch", `unknown option --nosuch`},
		{"--nosuch=5", `unknown option --nosuch`},
		{"-l?", `unknown option -?`},
		{"-lé", `unknown option -é`},
		{"--l", `unknown option --l`}, // a letter is no long name
		{"--=x", `unknown option --`},
		{"---", `unknown option ---`},
	} {
		got, _, _, err := Getopt(options, words(test.args), reserved)
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

// For any arguments, Getopt does not panic, and package flag reads its result
// without guessing: canonical names, each with a value if it takes one, then
// "--" and the operands, the last of which are those behind a "--".
func FuzzGetopt(f *testing.F) {
	for _, seed := range []string{"-lvnp 4444", "-w3 h p", "-p", "--", "h -- -v", "--wait=3", "-\xff", "--w\xff=", "-p46 h"} {
		f.Add(seed)
	}
	takesValue := make(map[string]bool)
	for _, o := range testOptions() {
		takesValue[o.Names[0]] = o.TakesValue
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		got, _, behind, err := Getopt(testOptions(), args, reserved)
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
		operands := got[end+1:]
		for _, operand := range operands {
			if !slices.Contains(args, operand) {
				t.Errorf("%q became %q: where is %q from?", args, got, operand)
			}
		}
		if behind > len(operands) || !slices.Equal(operands[len(operands)-behind:], args[len(args)-behind:]) {
			t.Errorf("%q became %q, with %d operands behind --", args, got, behind)
		}
	})
}

func TestUnknownError(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{"-le": "-e e", "--exec x": "--exec exec", "--exec=x": "--exec exec", "---exec": "---exec -exec", "--e": "--e e"} {
		_, _, _, err := Getopt(testOptions(), words(args), reserved)
		unknown, ok := errors.AsType[*UnknownError](err)
		if !ok {
			t.Errorf("%s: %v", args, err)
		} else if got := unknown.Option + " " + unknown.Name(); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}
