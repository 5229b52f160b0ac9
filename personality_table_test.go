package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"purr/internal/personality"
)

// newConfig reads a command line under purr's own name.
func newConfig(args []string) (*config, error) {
	return readConfig(personality.Personality{}, args)
}

// What a command line is under each name.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, args string
		holds      func(*config) bool
	}{
		// The end of stdin.
		{"purr", "h 80", func(c *config) bool { return !c.noShutdown && !c.shutdownAtOnce && !c.passesOn }},
		{"nc", "h 80", func(c *config) bool { return c.noShutdown && !c.shutdownAtOnce && !c.passesOn }},
		{"nc.openbsd", "-l 80", func(c *config) bool { return c.noShutdown }},
		{"netcat", "-U path", func(c *config) bool { return c.noShutdown }},
		{"nc", "-uU path", func(c *config) bool { return c.noShutdown }},
		{"nc", "-u h 80", func(c *config) bool { return !c.noShutdown }},
		{"nc", "-N h 80", func(c *config) bool { return !c.noShutdown && c.shutdownAtOnce }},
		{"nc", "-q 0 h 80", func(c *config) bool { return !c.noShutdown && c.shutdownAtOnce }},
		{"nc", "-q 1 h 80", func(c *config) bool { return !c.noShutdown && c.shutdownAtOnce && c.quitAfter == time.Second }},
		{"nc", "--no-shutdown -q 1 h 80", func(c *config) bool { return c.noShutdown && !c.shutdownAtOnce && c.quitAfter == time.Second }},
		{"nc", "--send-only h 80", func(c *config) bool { return !c.noShutdown }},
		{"nc", "-l --exec cat 80", func(c *config) bool { return !c.noShutdown }},
		{"nc", "-l --echo 80", func(c *config) bool { return !c.noShutdown }},
		{"nc", "-l -L h:80 80", func(c *config) bool { return !c.noShutdown }},
		{"nc", "-l --key-new 80", func(c *config) bool { return !c.noShutdown }},
		{"nc", "--pull -l 80 .", func(c *config) bool { return !c.noShutdown }},
		{"ncat", "h 80", func(c *config) bool { return !c.noShutdown && c.passesOn }},
		{"ncat", "--no-shutdown h 80", func(c *config) bool { return c.noShutdown }},
		{"ncat", "-q 1 h 80", func(c *config) bool { return c.quitAfter == time.Second }},

		// Letters.
		{"purr", "-w 3 h 80", func(c *config) bool { return c.idleTimeout == 3*time.Second && c.connectTimeout == 3*time.Second }},
		{"nc", "-w 3 h 80", func(c *config) bool { return c.idleTimeout == 3*time.Second && c.connectTimeout == 3*time.Second }},
		{"ncat", "-w 3 h 80", func(c *config) bool { return c.idleTimeout == 0 && c.connectTimeout == 3*time.Second }},
		{"ncat", "--wait 3 -l 80", func(c *config) bool { return c.idleTimeout == 0 }},
		{"ncat", "-u -w 3 h 80", func(c *config) bool { return c.idleTimeout == 0 }},
		{"ncat", "h 80", func(c *config) bool { return c.connectTimeout == 10*time.Second && c.idleFails }},
		{"ncat", "-i 3 h 80", func(c *config) bool { return c.idleTimeout == 3*time.Second && c.interval == 0 && c.idleFails }},
		{"nc", "-i 3 h 80", func(c *config) bool { return c.idleTimeout == 0 && c.interval == 3*time.Second && !c.idleFails }},
		{"ncat", "-lkm 7 80", func(c *config) bool { return c.maxConns == 7 && c.socket.MinTTL == 0 }},
		{"ncat", "-lm 7 80", func(c *config) bool { return c.maxConns == 7 && !c.keep }},
		{"ncat", "-m 7 h 80", nil},
		{"nc", "--max-conns 7 -l 80", nil},
		{"nc", "-m 7 h 80", func(c *config) bool { return c.maxConns == 0 }},
		{"ncat", "-lk 80", func(c *config) bool { return c.maxConns == 100 && c.keep && !c.stays }},
		{"nc", "-lk 80", func(c *config) bool { return c.maxConns == 0 }},
		{"ncat", "-l 80", func(c *config) bool { return c.maxConns == 0 }},
		{"ncat", "-k h 80", func(c *config) bool { return !c.keep && c.stays }},
		{"ncat", "-c cat h 80", func(c *config) bool { return c.exec != nil && c.exec.Path == "/bin/sh" }},
		{"ncat", "-zu -c cat h 80", nil}, // no pings
		{"ncat", "-d 2 h 80", func(c *config) bool { return c.delay == 2*time.Second && !c.noStdin }},
		{"nc", "-d h 80", func(c *config) bool { return c.delay == 0 && c.noStdin }},
		{"ncat", "-o out h 80", func(c *config) bool { return c.dump.Output == "out" && c.dump.Hex == "" }},
		{"ncat", "-x hex h 80", func(c *config) bool { return c.dump.Hex == "hex" && c.proxy == nil }},
		{"ncat", "-x hex --append-output -o out h 80", func(c *config) bool { return c.dump.Append }},
		{"nc", "-x h:1 h 80", func(c *config) bool { return c.dump.Hex == "" && c.proxy != nil }},
		{"ncat", "-e cat h 80", func(c *config) bool { return c.exec != nil && c.exec.Path != "/bin/sh" }},
		{"purr", "-k h 80", nil},
		{"nc", "-k h 80", nil},
		{"purr", "--test -l 80", nil},
		{"nc", "--test -l 80", nil},
		{"ncat", "--test -l 80", func(c *config) bool { return c.announce }},

		// Ports.
		{"ncat", "h", func(c *config) bool { return c.host == "h" && slices.Equal(c.ports, []int{31337}) }},
		{"ncat", "h:80", func(c *config) bool { return c.host == "h" && slices.Equal(c.ports, []int{80}) }},
		{"ncat", "-l", func(c *config) bool { return c.host == "" && slices.Equal(c.ports, []int{31337}) }},
		{"ncat", "-l 80", func(c *config) bool { return c.host == "" && slices.Equal(c.ports, []int{80}) }},
		{"ncat", "-l h", func(c *config) bool { return c.host == "h" && slices.Equal(c.ports, []int{31337}) }},
		{"ncat", "-l -p 80", func(c *config) bool { return slices.Equal(c.ports, []int{80}) }},
		{"ncat", "-l -p 80 h", func(c *config) bool { return c.host == "h" && slices.Equal(c.ports, []int{80}) }},
		{"ncat", "-p 81 h", func(c *config) bool { return c.sourcePort == 81 && slices.Equal(c.ports, []int{31337}) }},
		{"ncat", "-U path", func(c *config) bool { return c.path == "path" }},
		{"ncat", "", nil},
		{"nc", "h", nil},
		{"nc", "-l", nil},
		{"purr", "-l", nil},

		// TLS and probes.
		{"ncat", "--ssl h 80", func(c *config) bool { return c.ssl.insecure }},
		{"ncat", "--ssl --ssl-verify h 80", func(c *config) bool { return !c.ssl.insecure }},
		{"ncat", "--ssl-servername x h 80", func(c *config) bool { return c.ssl.insecure }},
		{"ncat", "--pin sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= h 80", func(c *config) bool { return !c.ssl.insecure }},
		{"ncat", "h 80", func(c *config) bool { return !c.ssl.insecure && !c.ssl.on }},
		{"nc", "--ssl h 80", func(c *config) bool { return !c.ssl.insecure }},
		{"ncat", "-zu h 80", func(c *config) bool { return c.check.payload.String() == "hex:00" && len(c.check.sends) == 1 }},
		{"ncat", "-zu --payload dns h 80", func(c *config) bool { return c.check.payload.String() == "dns" && c.check.sends == nil }},
		{"nc", "-zu h 80", func(c *config) bool { return !c.check.payload.Given() && c.check.sends == nil }},
		{"ncat", "-z h 80", func(c *config) bool { return !c.check.payload.Given() }},
	} {
		c, err := readConfig(personality.Of(test.name), strings.Fields(test.args))
		switch {
		case test.holds == nil && err == nil:
			t.Errorf("%s %s: it is accepted", test.name, test.args)
		case test.holds != nil && err != nil:
			t.Errorf("%s %s: %v", test.name, test.args, err)
		case test.holds != nil && !test.holds(c):
			t.Errorf("%s %s: it is not as under that name: %+v", test.name, test.args, c)
		}
	}
}

// The options in the help of each name are those of the flag table under it,
// with and without a value.
func TestNamesHelp(t *testing.T) {
	t.Parallel()
	inHelp := regexp.MustCompile(`^(?:\t\t|  |      )(-[\w-]+)(?:, (--[\w-]+))?( \S+)?(?:\t|  )`)
	for _, name := range []string{"nc", "ncat"} {
		as := personality.Of(name)
		l := newCommandLine()
		l.rename(as)
		takesValue := make(map[string]bool)
		for _, o := range l.Options() {
			for _, name := range o.Names {
				takesValue[name] = o.TakesValue
			}
		}
		found := 0
		for line := range strings.Lines(as.Help) {
			m := inHelp.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			for _, dashed := range slices.DeleteFunc(m[1:3], func(s string) bool { return s == "" }) {
				takes, known := takesValue[strings.TrimLeft(dashed, "-")]
				// Ncat's help leaves some values out.
				if shown := m[3] != ""; !known || shown && !takes || takes && !shown && name == "nc" {
					t.Errorf("%s %s: in the table %t, with a value %t: %q", name, dashed, known, takes, line)
				}
			}
			found++
		}
		if found < 30 {
			t.Errorf("%s: %d options in the help", name, found)
		}
	}
}
