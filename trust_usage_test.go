package main

import (
	"testing"
)

// Command lines that other programs or a slip of the memory suggest name what
// to type instead.
func TestUsageHints(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"-l 80 81", `option -l takes one port, and 80 is no address: say "purr -l 80" or "purr -l HOST 81"`},
		{"--pull -l internal 80", `internal is a path, and the address comes first: say "purr --pull -l PORT [DIR]"`},
		{"--push -l go.mod 80", `go.mod is a path, and the address comes first: say "purr --push -l PORT PATH..."`},
		{"--push go.mod h 80", `go.mod is a path, and the address comes first: say "purr --push HOST PORT PATH..."`},
		{"[::1]:80 81", `[::1]:80 and 81 both name a port: say "purr [::1]:80" or "purr ::1 81"`},
		{"h:80 81", `h:80 and 81 both name a port: say "purr h:80" or "purr h 81"`},
		{"-l h:80 81", `h:80 and 81 both name a port: say "purr -l h:80" or "purr -l h 81"`},
		{"-zu [::1]:80 81", `[::1]:80 and 81 both name a port: say "purr -z -u [::1]:80" or "purr -z -u ::1 81"`},
		{"http://localhost 80", `http://localhost is a URL: say "purr localhost PORT"`},
		{"http://localhost:80/x", `http://localhost:80/x is a URL: say "purr localhost:80"`},
		{"-l tcp://:80", `tcp://:80 is a URL: say "purr -l :80"`},
		{"--push http://localhost 80 go.mod", `http://localhost is a URL: say "purr --push localhost PORT"`},
		{"-n localhost 80", "option -n looks no names up, and localhost is no IP address: leave -n out"},
		{"-n -s localhost ::1 80", "option -n looks no names up, and localhost is no IP address: leave -n out"},
		{"-n -l localhost 80", "option -n looks no names up, and localhost is no IP address: leave -n out"},
		{"8080 localhost", `port number invalid: localhost (the host comes first: "purr localhost 8080")`},
		{"localhost", `no port in localhost: say "purr localhost PORT"`},
		{"::1", `no port in ::1: say "purr ::1 PORT"`},
		{"[::1]", `no port in [::1]: say "purr ::1 PORT"`},
		{"-help", "option -help: a long option has two dashes: say --help"},
		{"-version", "option -version: a long option has two dashes: say --version"},
		{"-zu --payload hex:zz h 80", `option --payload: hex invalid: 'z' is no hexadecimal digit: say hex:0aff`},
		{"-zu --payload hex:012 h 80", `option --payload: hex invalid: the number of digits is odd: say hex:0aff`},
		{"-l --port 80", `option --port: the peer's port is an operand: say "purr HOST PORT" or "purr -l PORT"; for the port to send from, say --source-port (-p)`},
		{"--interval 1 h 80", "option --interval: the option has no long name: say -i"},
		{"--timeout 1 h 80", "option --timeout: -w is --wait here: say -w TIME"},
	} {
		c, err := newConfig(words(test.args))
		if err == nil {
			t.Errorf("%s: accepted as %+v", test.args, c)
			continue
		}
		if _, usage := err.(usageError); !usage || err.Error() != test.want {
			t.Errorf("%s: %q, want %q", test.args, err, test.want)
		}
	}
	for _, args := range []string{"--push localhost 80 go.mod", "--push internal 80 go.mod", "--pull internal 80", "-l 0 80", "-n 127.1 80", "a:b 80"} {
		if _, err := newConfig(words(args)); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// An empty value, as of an unset variable, is no value for any option that
// takes one.
func TestEmptyValues(t *testing.T) {
	t.Parallel()
	options := 0
	for _, o := range newCommandLine().Options() {
		if !o.TakesValue {
			continue
		}
		options++
		for _, form := range [][]string{{"--" + o.Names[0] + "="}, {"--" + o.Names[0], ""}} {
			if len(o.Names[0]) == 1 {
				form = []string{"-" + o.Names[0], ""}
			}
			for _, operands := range [][]string{{"h", "80"}, {"-l", "80"}, {"-z", "h", "80"}, {"-zu", "h", "80"}} {
				args := append(append([]string{}, form...), operands...)
				c, err := newConfig(args)
				if _, usage := err.(usageError); !usage {
					t.Errorf("%q: %v, %+v", args, err, c)
				}
			}
		}
	}
	if options < 20 {
		t.Errorf("%d options take a value", options)
	}
}
