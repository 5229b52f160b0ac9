package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"purr/internal/push"
	"purr/internal/testkit"
)

// A tree of which a part is not stored ends with the names of that part.

// lastLines returns the lines of a transfer's end, without that of -v about the
// connection.
func lastLines(p *process) []string {
	p.t.Helper()
	p.status()
	var last []string
	for line := range strings.Lines(p.err.String()) {
		sum := regexp.MustCompile(`^purr: \d+ files?, \d+ bytes stored`).MatchString(line)
		if sum || len(last) > 0 && strings.HasPrefix(line, "purr: not stored: ") {
			last = append(last, strings.TrimSuffix(line, "\n"))
		}
	}
	return last
}

// The last lines of both ends name the failures that lines about stored files
// have buried, ten lines in all, and count the rest.
func TestPushedInPart(t *testing.T) {
	t.Parallel()
	for _, hidden := range []int{0, 1, 30} {
		t.Run(fmt.Sprint(hidden, " hidden files"), func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, listening push.Role) {
				x := newTransfer(t, listening, "d", "other")
				for i := range 20 {
					x.file(fmt.Sprint("d/file", i), "content")
				}
				x.file("other", testkit.Noise(300_000)) // is large, so that it comes last
				for i := range hidden {
					x.file(fmt.Sprint("d/.hidden", i), "")
				}
				if hidden > 0 {
					if err := syscall.Mkfifo(filepath.Join(x.from, "d/fifo"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				failed := 0
				if hidden > 0 {
					failed = hidden + 1
				}
				x.start().ends(map[bool]int{false: 0, true: 4}[failed > 0])
				for _, p := range []*process{x.sender, x.receiver} {
					last := lastLines(p)
					switch {
					case failed == 0:
						if len(last) != 1 || strings.Contains(last[0], "not stored") {
							t.Errorf("%q", last)
						}
						continue
					case !strings.HasSuffix(last[0], fmt.Sprintf("; %d not stored", failed)), len(last) != min(failed+1, 10):
						t.Errorf("%q", last)
					}
					if more := failed - 8; failed > 9 && last[len(last)-1] != fmt.Sprintf("purr: not stored: %d more", more) {
						t.Errorf("%q, want %d more", last, more)
					}
					if failed <= 9 && !slices.ContainsFunc(last, func(line string) bool {
						return strings.Contains(line, "d/fifo") && strings.Contains(line, ": neither a file, a directory nor a link")
					}) {
						t.Errorf("%q: the FIFO is not named", last)
					}
				}
			})
		})
	}
}

// Failures that are the last lines anyway are not named twice.
func TestPushedInPartOnce(t *testing.T) {
	t.Parallel()
	x := newTransfer(t, push.Receiver, "a", "b")
	x.file("a", "new")
	x.file("b", "new")
	testkit.WriteFile(t, filepath.Join(x.into, "a"), "old")
	testkit.WriteFile(t, filepath.Join(x.into, "b"), "old")
	x.start().ends(4)
	for _, p := range []*process{x.sender, x.receiver} {
		if last := lastLines(p); len(last) != 1 || !strings.Contains(last[0], "purr: 0 files, 0 bytes stored") || !strings.HasSuffix(last[0], "; 2 not stored") {
			t.Errorf("%q", last)
		}
	}
}

// The summary of --json counts and names them as well.
func TestPushedInPartEvent(t *testing.T) {
	t.Parallel()
	x := newTransfer(t, push.Receiver, "d")
	x.file("d/good", "good")
	x.file("d/.hidden", "")
	x.send = []string{"--json"}
	x.start().ends(4)
	var summary struct {
		Event     string
		Files     int
		NotStored int      `json:"not_stored"`
		Paths     []string `json:"not_stored_paths"`
	}
	for line := range strings.Lines(x.sender.err.String()) {
		if strings.Contains(line, `"event":"summary"`) {
			if err := json.Unmarshal([]byte(line), &summary); err != nil {
				t.Fatal(err)
			}
		}
	}
	if summary.Files != 1 || summary.NotStored != 1 || !slices.Equal(summary.Paths, []string{"d/.hidden"}) {
		t.Errorf("%+v in %s", summary, x.sender.err.String())
	}
}
