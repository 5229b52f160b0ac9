package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// wordsOfREADME is the most words that README.md may have, as wc -w counts
// them.
const wordsOfREADME = 1500

func TestREADMEIsShort(t *testing.T) {
	t.Parallel()
	if n := len(strings.Fields(document(t, "README.md"))); n > wordsOfREADME {
		t.Errorf("README.md has %d words, want %d at most: what is not needed on the first day belongs in docs/", n, wordsOfREADME)
	}
}

var (
	link    = pattern(`\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"`)
	heading = pattern(`(?m)^#+ (.+)$`)
)

// Every link of a document leads to a file, and to a heading in it.
func TestLinks(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, path := range append(paths, "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "bench/README.md") {
		for i, line := range strings.Split(document(t, path), "\n") {
			for _, m := range link().FindAllStringSubmatch(line, -1) {
				target := m[1] + m[2]
				if strings.Contains(target, "://") {
					continue
				}
				checked++
				if why := broken(t, path, target); why != "" {
					t.Errorf("%s:%d: %s: %s", path, i+1, target, why)
				}
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d links", checked)
	}
}

// broken returns what is wrong with a link of the document at path, "" if
// nothing is.
func broken(t *testing.T, path, target string) string {
	file, anchor, has := strings.Cut(target, "#")
	if file != "" {
		path = filepath.Join(filepath.Dir(path), file)
	}
	if _, err := os.Stat(path); err != nil {
		return err.Error()
	}
	if !has {
		return ""
	}
	for _, m := range heading().FindAllStringSubmatch(document(t, path), -1) {
		if slug(m[1]) == anchor {
			return ""
		}
	}
	return fmt.Sprintf("%s has no such heading", path)
}

// slug returns the anchor that GitHub gives a heading.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

var (
	inlined  = pattern("`(purr [^`]+)`")
	redirect = pattern(`[<>]\S+|\|.*|2>.*`)
)

// Command lines in the running text, too, are ones that purr takes.
func TestInlineCommands(t *testing.T) {
	t.Setenv("PURR_KEY", "")
	os.Unsetenv("PURR_KEY")
	paths, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range append(paths, "README.md", "SECURITY.md", "CONTRIBUTING.md") {
		for i, line := range strings.Split(document(t, path), "\n") {
			if strings.HasPrefix(line, "|") {
				continue // a table of commands is run
			}
			for _, m := range inlined().FindAllStringSubmatch(line, -1) {
				args := strings.Fields(strings.ReplaceAll(redirect().ReplaceAllString(m[1], ""), "TOPIC", "push"))[1:]
				if len(args) < 2 {
					continue // names an option, and is no command line
				}
				seen++
				if _, err := newConfig(args); err != nil {
					t.Errorf("%s:%d: %s: %v", path, i+1, m[1], err)
				}
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d command lines", seen)
	}
}

var (
	memberIn  = pattern(`(?m)^\.(?:It )?Cm (.+)$`)
	backticks = pattern("`([a-z_0-9]+)`")
)

// The members of --json are the same in the manual and in docs/.
func TestMembersOfJSON(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ begin, end, path string }{
		{".Sh EVENTS", ".Sh FILES", "docs/scripting.md"},
		{".Ss JSON", ".Sh WAITING", "docs/probe.md"},
	} {
		_, section, _ := strings.Cut(document(t, "purr.1"), test.begin)
		section, _, _ = strings.Cut(section, test.end)
		_, text, _ := strings.Cut(document(t, test.path), "## JSON")
		named := map[string]bool{}
		for _, m := range backticks().FindAllStringSubmatch(text, -1) {
			named[m[1]] = true
		}
		seen := 0
		for _, m := range memberIn().FindAllStringSubmatch(section, -1) {
			for _, name := range strings.Fields(strings.NewReplacer(",", " ", ".", " ", ";", " ", " Ns", " ").Replace(m[1])) {
				if seen++; name != "No" && !named[name] {
					t.Errorf("%s does not name %s", test.path, name)
				}
			}
		}
		if seen < 20 {
			t.Errorf("%s: only %d members in the manual", test.begin, seen)
		}
	}
}

// What the manual calls not there is no option of purr.
func TestNotThere(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(document(t, "purr.1"), ".Sh COMPATIBILITY")
	section, _, _ = strings.Cut(section, ".Sh ")
	own := map[string]bool{}
	for _, o := range newCommandLine().Options() {
		for _, name := range o.Names {
			own[name] = true
		}
	}
	seen := 0
	for _, m := range regexp.MustCompile(`(?m)^\.Fl (.*)\n(?:is|are)\s+not there`).FindAllStringSubmatch(section, -1) {
		for _, name := range strings.Split(m[1], " , ") {
			if seen++; own[strings.TrimPrefix(name, "-")] {
				t.Errorf("purr.1 says that %s is not there", name)
			}
		}
	}
	if seen < 6 {
		t.Errorf("only %d options in the manual", seen)
	}
}
