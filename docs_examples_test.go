package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// Examples in the documents can be typed as they stand.

// document returns the text of a file of the project.
func document(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The manual's examples fit a terminal of 80 columns: man(1) indents them by 5,
// and those with an offset by 6 more.
func TestManualFits(t *testing.T) {
	t.Parallel()
	room := 0 // 0: not in an example
	for i, line := range strings.Split(document(t, "purr.1"), "\n") {
		line = strings.ReplaceAll(strings.ReplaceAll(line, `\e`, `\`), `\-`, "-")
		switch {
		case strings.HasPrefix(line, ".Bd -literal"):
			if room = 80 - 5; strings.Contains(line, "indent") {
				room -= 6
			}
			continue
		case line == ".Ed":
			room = 0
		}
		line, single := strings.CutPrefix(line, ".Dl ")
		most := room
		if single {
			most = 80 - 5 - 6
		}
		if n := utf8.RuneCountInString(line); most > 0 && n > most {
			t.Errorf("purr.1:%d: %d columns, and there is room for %d: %s", i+1, n, most, line)
		}
	}
}

// The command lines for curl are the same in every document and on the page:
// their exit status is that of the transfer, and the answer to a refused upload
// is shown.
func TestCurlLines(t *testing.T) {
	t.Parallel()
	seen := 0
	paths, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, "README.md", "purr.1", "help.txt", "internal/web/page.html", "internal/web/fields.go") {
		for i, line := range strings.Split(document(t, path), "\n") {
			at := strings.Index(line, "curl -")
			if at < 0 || strings.Contains(line, "curl -C") {
				continue
			}
			seen++
			if upload := strings.Contains(line, "-T"); upload && !strings.Contains(line, "curl --fail-with-body -T ") ||
				!upload && !strings.HasPrefix(line[at:], "curl -f") {
				t.Errorf("%s:%d: %s", path, i+1, line)
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d lines have curl", seen)
	}
}
