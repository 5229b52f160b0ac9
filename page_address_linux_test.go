package main

import (
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Where a phone finds the page of --push and --pull.

// On a terminal a listener prints the page's addresses, and with --qr draws the
// first. The drawing is a QR code, in both colours, with a margin.
func TestPageAddress(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	dir := t.TempDir()
	s.enter("clear; purr -v --qr --pull -l 127.0.0.1 0 " + dir)
	s.shows(`(?m)^Listening on \S+ \d+$`)
	s.shows(`(?m)^purr: for a browser: http://127\.0\.0\.1:\d+/$`)
	s.shows(`(?m)^ {4}█▀▀▀▀▀█ .* █▀▀▀▀▀█ *$`)
	s.shows(`(?m)^ {4}▀▀▀▀▀▀▀ `)
	listening := regexp.MustCompile(`Listening on \S+ (\d+)`).FindStringSubmatch(s.text())
	if address := regexp.MustCompile(`http://127\.0\.0\.1:(\d+)/`).FindStringSubmatch(s.text()); address[1] != listening[1] {
		t.Errorf("the page is at port %s, and the listener at %s", address[1], listening[1])
	}
	coloured, err := exec.Command("tmux", "-S", s.socket, "capture-pane", "-pe").Output()
	if err != nil {
		t.Fatal(err)
	}
	if before, _, _ := strings.Cut(string(coloured), "█▀▀▀▀▀█"); !strings.Contains(before, "38;5;16") || !strings.Contains(before, "48;5;231") {
		t.Errorf("the code is in the terminal's colours: %q", before)
	}
	s.press("C-c")
	s.shows(`(?m)\$ *$`)

	s.enter("clear; purr --push -l 0 " + dir)
	s.shows(`(?m)^purr: for a browser: http://\S+:\d+/$`)
	if text := s.text(); strings.Contains(text, "█") {
		t.Errorf("a code without --qr:\n%s", text)
	}
	s.press("C-c")
	s.shows(`(?m)\$ *$`)
	for options, sign := range map[string]string{
		"--quiet --push -l 0":             `clear text`,
		"--key-new --push -l 0":           `a new key`,
		"--json --push -l 0":              `"event":"listen"`,
		"-v --push -l -U " + s.dir + "/s": `Listening`,
	} {
		s.enter("clear; purr " + options + " " + dir)
		s.shows(sign)
		s.press("C-c")
		s.shows(`(?m)\$ *$`)
		if text := s.text(); strings.Contains(text, "browser") {
			t.Errorf("with %s:\n%s", options, text)
		}
	}
}

// Elsewhere the addresses are printed with --qr only.
func TestPageAddressElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startPurr(t, opts{}, "--push", "-l", "0", dir)
	p.port()
	p.signal(syscall.SIGTERM)
	p.status()
	if said := p.err.String(); strings.Contains(said, "browser") {
		t.Errorf("said %s", said)
	}
	p = startPurr(t, opts{}, "--qr", "--push", "-l", "::1", "0", dir)
	m := p.waitErr(regexp.MustCompile(`(?m)^purr: for a browser: (http://\[::1\]:\d+/)\n\x1b\[38;5;16;48;5;231m +\x1b\[0m\n`))
	if want := "http://[::1]:" + p.port() + "/"; m[1] != want {
		t.Errorf("%s, want %s", m[1], want)
	}
}

// --qr without a page is a wrong command line.
func TestPageAddressUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for args, want := range map[string]string{
		"--qr -l 0":                            "option --qr needs -l with --push or --pull",
		"--qr h 80":                            "option --qr needs -l with --push or --pull",
		"--qr --push h 80 " + dir:              "option --qr needs -l with --push or --pull",
		"--qr --push -l -U s " + dir:           "options --qr and -U exclude each other",
		"--qr --json --pull -l 0 " + dir:       "options --qr and --json exclude each other",
		"--qr --key-new --pull -l 0 " + dir:    "options --qr and a key exclude each other",
		"--qr --key-file k --push -l 0 " + dir: "options --qr and a key exclude each other",
	} {
		if _, err := newConfig(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}
