package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// Every command in README.md and docs/ is run as it stands there, in namespaces
// in which HOST, PROXY and the other names of the documents are machines.

// documents are the files whose examples are run.
func documents(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("docs/*.md")
	if err != nil || len(paths) < 5 {
		t.Fatalf("docs/*.md: %v, %v", paths, err)
	}
	return append([]string{"README.md"}, paths...)
}

// An example is an indented block of a document, or a row of a table of
// commands.
type example struct {
	at    string // file:line
	skip  string // why it is not run, "" if it is
	with  string // the name of what it needs, in preparations
	lines []string
}

var (
	marker = pattern(`^<!-- (skip|with): (.+) -->$`)
	span   = pattern("``? ?(.+?) ?`?`([^`]*)")
)

// examplesOf returns the examples of a document. A block that is not run, or
// needs something, stands behind a line <!-- skip: REASON --> or <!-- with:
// NAME -->. A row of a table is an example if its last cell begins with a purr
// command.
func examplesOf(t testing.TB, path string) (all []example) {
	t.Helper()
	var e example
	blank, inside := true, false
	for i, line := range strings.Split(document(t, path), "\n") {
		text := strings.TrimSpace(line)
		code := strings.HasPrefix(line, "    ") && (blank || inside)
		if inside && !code && text != "" {
			all, e = append(all, e), example{}
		}
		if code && !inside {
			e.at = fmt.Sprintf("%s:%d", path, i+1)
		}
		if inside = code || inside && text == ""; inside {
			e.lines = append(e.lines, line)
		}
		if m := marker().FindStringSubmatch(text); m != nil && m[1] == "skip" {
			e.skip = m[2]
		} else if m != nil {
			e.with = m[2]
		} else if text != "" && !code {
			e = example{}
		}
		if row := strings.Split(strings.ReplaceAll(strings.Trim(line, "| "), `\|`, "\x00"), " | "); len(row) > 1 && strings.HasPrefix(row[len(row)-1], "`purr ") {
			r := example{at: fmt.Sprintf("%s:%d", path, i+1)}
			for _, m := range span().FindAllStringSubmatch(strings.ReplaceAll(row[len(row)-1], "\x00", "|"), -1) {
				if m[2] = strings.TrimSpace(m[2]); m[2] != "" {
					m[1] += " # " + m[2]
				}
				r.lines = append(r.lines, m[1])
			}
			all = append(all, r)
		}
		blank = text == ""
	}
	if inside {
		all = append(all, e)
	}
	return all
}

// apart splits blocks without prompts at their blank lines.
func apart(blocks []example) (all []example) {
	for _, e := range blocks {
		text := strings.Join(e.lines, "\n")
		if console().MatchString(text) {
			all = append(all, e)
			continue
		}
		for i, part := range regexp.MustCompile(`\n\s*\n`).Split(strings.TrimRight(text, "\n "), -1) {
			piece := e
			piece.lines = strings.Split(part, "\n")
			if i > 0 {
				piece.at = fmt.Sprintf("%s.%d", e.at, i+1)
			}
			all = append(all, piece)
		}
	}
	return all
}

// A command is a line for the shell.
type command struct {
	line   string
	dir    string // here or there
	input  string
	output string // of a console
	shown  bool   // output counts, "" too
	prints string
	status int
	script bool // it has many lines, and ends what it has started
}

// listens reports whether a command is a listener that other commands wait for.
func (c command) listens() bool { return !c.script && servesIn().MatchString(c.line) }

var (
	console   = pattern(`(?m)^\s*\w*\$ `)
	prompt    = pattern(`^(here|there|sender|receiver|)\$ (.*)$`)
	remark    = pattern(`\s+# (.*)$`)
	servesIn  = pattern(`(purr|nc) (.* )?(-[a-zA-Z46]*l[a-zA-Z]*|--listen)( |$)`)
	keeps     = pattern(` -[a-zA-Z46]*k|--keep-open|--broker|--chat|-l.* --proxy-type| -u -l| -[a-z]*ul`)
	statusIn  = pattern(`status (\d+)`)
	printsIn  = pattern(`prints (.+)$`)
	assigns   = pattern(`^[a-z]+=\$\(.*\)$`)
	takesText = pattern(`cat >key\)$`)
)

// commands returns the commands of an example: of a script all lines in one, of
// a console, whose lines are
// prompts and what was printed, or else a command on each line.
func (e example) commands() (all []command) {
	if e.with == "script" {
		return []command{{dir: "here", script: true, line: "set -e\n" + strings.Join(e.lines, "\n") + "\ntrap '' TERM; kill 0"}}
	}
	console := console().MatchString(strings.Join(e.lines, "\n"))
	continued := false
	for _, line := range e.lines {
		text := strings.TrimSpace(line)
		m := prompt().FindStringSubmatch(text)
		switch {
		case text == "":
		case console && m != nil:
			c := command{line: m[2], dir: "here", shown: true}
			if m[1] == "there" || m[1] == "receiver" {
				c.dir = "there"
			}
			all = append(all, c)
		case console && len(all) > 0 && takesText().MatchString(all[len(all)-1].line):
			all[len(all)-1].input += text + "\n"
		case console && len(all) > 0:
			all[len(all)-1].output += text + "\n"
		case continued:
			all[len(all)-1].line += text
		default:
			all = append(all, scripted(text))
		}
		if continued = !console && (strings.HasSuffix(text, `\`) || assigns().MatchString(text)); continued {
			last := &all[len(all)-1].line
			*last = strings.TrimSuffix(*last+"\n", "\\\n")
		}
	}
	return all
}

// scripted returns the command of a line, whose remark may name the machine,
// the status and the output.
func scripted(text string) command {
	c := command{dir: "here"}
	if m := remark().FindStringSubmatch(text); m != nil {
		text = strings.TrimSuffix(text, m[0])
		if strings.Contains(m[1], "there") {
			c.dir = "there"
		}
		if s := statusIn().FindStringSubmatch(m[1]); s != nil {
			c.status, _ = strconv.Atoi(s[1])
		}
		if p := printsIn().FindStringSubmatch(m[1]); p != nil {
			c.prints = p[1] + "\n"
		}
	}
	c.line = text
	return c
}

// worlds is the number of examples that run at the same time.
const worlds = 4

// TestDocuments runs the examples of the documents. They are dealt out to
// worlds, in each of which one runs after the other. The worlds begin together,
// and not when other tests make room: they last long.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for program, pkg := range map[string]string{"curl": "curl", "wget": "wget", "openssl": "openssl", "nc.openbsd": "netcat-openbsd"} {
		testkit.Program(t, program, pkg)
	}
	var all []example
	for _, path := range documents(t) {
		for _, e := range apart(examplesOf(t, path)) {
			if only := os.Getenv("PURR_TEST_EXAMPLE"); only == "" || strings.HasPrefix(e.at, only) {
				all = append(all, e)
			}
		}
	}
	var running sync.WaitGroup
	defer running.Wait()
	for i := range worlds {
		running.Go(func() {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				if !testkit.InNamespaces(t) {
					return
				}
				w := newWorld(t)
				for n := i; n < len(all); n += worlds {
					t.Run(all[n].at, func(t *testing.T) { w.run(t, all[n]) })
				}
			})
		})
	}
}

// A running is a command that was started and is not waited for yet.
type running struct {
	command
	p *process
}

// run runs the commands of an example, one after the other. A listener is
// waited for until it listens, and ended after the last command, unless that
// has ended it.
func (w *world) run(t *testing.T, e example) {
	if e.skip != "" {
		t.Logf("not run: %s", e.skip)
		return
	}
	begun := time.Now()
	all := e.commands()
	listeners := 0
	for _, c := range all {
		if c.listens() {
			listeners++
		}
	}
	home := w.lay(t, e.with, listeners > 0)
	random := map[string]string{}
	var waiting []running
	for _, c := range all {
		before := w.sockets(t)
		r := running{c, w.begin(t, c, home, random)}
		if !c.listens() {
			w.finish(t, r, random)
			continue
		}
		waiting = append(waiting, r)
		testkit.Eventually(t, c.line+" listens", func() bool {
			select {
			case <-r.p.ended:
				t.Fatalf("%s: ends with status %d%s", c.line, r.p.status(), r.p.heard())
			default:
			}
			return len(w.sockets(t)) > len(before)
		})
		r.keepKey(t, home)
		if pinIn().MatchString(c.output) {
			r.p.out.Wait(pinIn())
		}
		note(random, c.output, r.p.out.String())
		if listeners == len(all) {
			w.visit(t, before)
		}
	}
	for _, r := range waiting {
		if t.Failed() {
			r.p.kill() // what should have ended it did not happen
			continue
		}
		if keeps().MatchString(r.line) {
			_ = syscall.Kill(-r.p.cmd.Process.Pid, syscall.SIGTERM)
			r.status = 128 + int(syscall.SIGTERM)
		}
		w.finish(t, r, random)
	}
	sameFiles(t, home)
	t.Logf("%.1f s", time.Since(begun).Seconds())
}

// begin starts a command in its directory below home.
func (w *world) begin(t *testing.T, c command, home string, random map[string]string) *process {
	t.Helper()
	path := "PATH=" + home + "/bin:" + filepath.Dir(purrPath(t)) + ":" + os.Getenv("PATH")
	o := opts{dir: filepath.Join(home, c.dir), env: append([]string{"HOME=" + home, path}, w.env...)}
	line := replaceAll(c.line, random)
	if c.input != "" {
		o.stdin = strings.NewReader(replaceAll(c.input, random))
	}
	if c.shown {
		line = "{ " + line + "\n} 2>&1"
	}
	return shell(t, o, asHOST, line)
}

// keepKey puts the key that a listener has made into the file key of both
// machines.
func (r running) keepKey(t *testing.T, home string) {
	t.Helper()
	if !strings.Contains(r.line, "--key-new") {
		return
	}
	printed := r.p.err
	if r.shown {
		printed = r.p.out
	}
	m := printed.Wait(keyIn())
	if m == nil {
		t.Fatalf("%s: prints no key%s", r.line, r.p.heard())
	}
	for _, dir := range []string{"here", "there"} {
		if err := os.WriteFile(filepath.Join(home, dir, "key"), []byte(m[0]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// asHOST runs a line on a machine that is called HOST: to a purr that serves
// browsers its own name is one of its addresses.
const asHOST = `exec unshare --uts /bin/sh -c 'hostname HOST; exec /bin/sh -c "$1"' sh "$1"`

// finish waits for a command and compares its status and what it printed.
func (w *world) finish(t *testing.T, r running, random map[string]string) {
	t.Helper()
	if got := r.p.status(); !r.shown && got != r.status {
		t.Errorf("%s: status %d, want %d\nstdout: %s\nstderr: %s", r.line, got, r.status, testkit.Brief(r.p.out.String()), r.p.err)
	}
	if out := strings.ReplaceAll(r.p.out.String(), "\r", ""); r.prints != "" && out != r.prints {
		t.Errorf("%s: printed %q, want %q%s", r.line, out, r.prints, r.p.err)
	}
	if !r.shown {
		return
	}
	got, want := strings.TrimSpace(r.p.out.String()), strings.TrimSpace(r.output)
	note(random, want, got)
	if !strings.Contains(want, "clear text on") {
		got = clearText().ReplaceAllString(got, "")
	}
	if got, want := plain(got), plain(want); !regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(want), `\.\.\.`, ".*") + "$").MatchString(got) {
		t.Errorf("%s:\nprinted %s\n   want %s", r.line, got, want)
	}
}

// What differs between two runs.
var (
	clearText = pattern(`(?m)^purr: clear text .*\n?`)
	keyIn     = pattern(`\b[A-Z2-7]{27}\b`)
	pinIn     = pattern(`sha256:[A-Za-z0-9+/]{43}=`)
	digits    = pattern(`\b[0-9a-f]{16,}\b`)
	figures   = pattern(`\d+(\.\d+)*( ([KMGT]iB|[KMG]?B|bytes|ms|s)\b)?`)
)

// plain returns a text without what differs between two runs: figures, and
// whether a reset is met first in sending or in receiving.
func plain(text string) string {
	for _, re := range []*regexp.Regexp{keyIn(), pinIn(), digits(), figures()} {
		text = re.ReplaceAllString(text, "N")
	}
	text = strings.ReplaceAll(text, "purr: receive from ", "purr: send to ")
	return strings.Join(strings.Fields(text), " ")
}

// note adds what is random in an output to the words to replace from now on.
func note(random map[string]string, want, got string) {
	for _, re := range []*regexp.Regexp{keyIn(), pinIn()} {
		if w, g := re.FindString(want), re.FindString(got); w != "" && g != "" {
			random[w] = g
		}
	}
}

func replaceAll(text string, words map[string]string) string {
	for old, word := range words {
		text = strings.ReplaceAll(text, old, word)
	}
	return text
}

// sameFiles compares the files that both machines have.
func sameFiles(t *testing.T, home string) {
	t.Helper()
	there := filepath.Join(home, "there")
	_ = filepath.Walk(there, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		name, _ := filepath.Rel(there, path)
		want, err := os.ReadFile(filepath.Join(home, "here", name))
		if err != nil {
			return nil
		}
		if got := testkit.ReadFile(t, path); got != string(want) {
			t.Errorf("%s: %s arrived, want %s", name, testkit.Brief(got), testkit.Brief(string(want)))
		}
		return nil
	})
}

// An example that is not run names what does it instead, unless it is no
// command.
func TestExamplesLeftOut(t *testing.T) {
	t.Parallel()
	for _, path := range documents(t) {
		for _, e := range examplesOf(t, path) {
			if e.skip == "" || e.skip == "a compose file" {
				continue
			}
			instead := regexp.MustCompile(`\S+_test\.go|packaging/check|\.ci/run`).FindString(e.skip)
			if _, err := os.Stat(instead); err != nil {
				t.Errorf("%s: %q names nothing that runs it: %v", e.at, e.skip, err)
			}
		}
	}
}
