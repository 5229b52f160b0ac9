//go:build unix

package main

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// The overview of the help fits a window of 60 lines and 80 columns, and lists
// the topics in their order.
func TestHelpOverview(t *testing.T) {
	t.Parallel()
	overview, err := helpOn("")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(overview, "\n"), "\n")
	if len(lines) > 60 {
		t.Errorf("the overview has %d lines, want 60 at most", len(lines))
	}
	for _, line := range lines {
		if utf8.RuneCountInString(line) > 80 {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
	_, list, _ := strings.Cut(overview, "(purr --help TOPIC):\n")
	list, _, _ = strings.Cut(list, "\n\n")
	var listed, have []string
	for line := range strings.Lines(list) {
		listed = append(listed, strings.Fields(line)[0])
	}
	for _, m := range regexp.MustCompile(`(?m)^# ([a-z]+)`).FindAllStringSubmatch(help, -1) {
		have = append(have, m[1])
	}
	have = append(have, "all")
	if got, want := strings.Join(listed, " "), strings.Join(have, " "); got != want {
		t.Errorf("the overview lists the topics %s, and there are %s", got, want)
	}
}

// Each topic has a part of the help of its own, by each of its names, and "all"
// is everything.
func TestHelpTopics(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, m := range regexp.MustCompile(`(?m)^# ([^:\n]+): .+$`).FindAllStringSubmatch(help, -1) {
		for _, name := range strings.Split(m[1], ", ") {
			seen++
			text, err := helpOn(name)
			if err != nil || !strings.HasPrefix(text, m[1]+": ") || strings.Contains(text, "\n# ") || !strings.HasSuffix(text, "\n") ||
				!strings.Contains(text, "\n  purr ") && !strings.Contains(text, " purr ") || !strings.Contains(help, text) {
				t.Errorf("%s: %v: %q", name, err, text)
			}
		}
	}
	if seen < 16 {
		t.Errorf("only %d names of topics", seen)
	}
	if text, err := helpOn("all"); err != nil || text != help {
		t.Errorf("all: %v, %d bytes, want %d", err, len(text), len(help))
	}
}

// purr --help TOPIC, and a topic that there is not: status 2, and the topics.
func TestHelpTopicOnTheCommandLine(t *testing.T) {
	t.Parallel()
	push, err := helpOn("push")
	if err != nil {
		t.Fatal(err)
	}
	p := startPurr(t, opts{}, "--help", "push")
	p.ends(0)
	p.printed(push)
	p.quiet()
	for _, args := range [][]string{{"--help", "nosuch\x1b"}, {"--help", "push", "pull"}, {"--help", ""}} {
		p := startPurr(t, opts{}, args...)
		if args[1] == "" { // an unset variable
			p.ends(0)
			continue
		}
		p.ends(2)
		p.printed("")
		p.complains("no help on ", "the topics are connect, pipe, ", "push, ", " and all")
		if strings.Contains(p.err.String(), "\x1b") {
			t.Errorf("unescaped: %q", p.err)
		}
	}
}
