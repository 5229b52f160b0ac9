package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"purr/internal/testkit"
)

// The same command line with another netcat and with purr under its name, and
// the same other end: what arrives, the exit statuses and the words that
// scripts grep for are compared, option by option. Where purr differs, the row
// has the reason, and the test fails once it no longer does.

// A peerRow is one option of a netcat in one command line.
type peerRow struct {
	flag string        // as the peer's help has it
	line string        // for the shell; PORT, SOCKET, DIR and other names are replaced
	with func(*rowRun) // starts the line and is the other end
	want rowEnd        // with the peer
	ours *rowDiff      // with purr, nil if it is the same
	why  string        // why it is not
	// cannot is the reason why the option cannot be run here.
	cannot string
}

// A rowEnd is what a line results in.
type rowEnd struct {
	status string   // "stays" if it goes on when the other end has done its part
	out    string   // stdout; "*": any
	got    string   // what the other end received, and <FIN> or <RST> at its end
	words  []string // regular expressions that stderr matches; "!" in front: does not
}

// A rowDiff is what is other than the peer's with purr. An empty field is
// the same; "-" is an empty one.
type rowDiff rowEnd

// with returns the end of purr's run, given that of the peer's.
func (o rowEnd) with(d *rowDiff) rowEnd {
	if d == nil {
		return o
	}
	change := func(field *string, to string) {
		switch to {
		case "":
		case "-":
			*field = ""
		default:
			*field = to
		}
	}
	change(&o.status, d.status)
	change(&o.out, d.out)
	change(&o.got, d.got)
	if d.words != nil {
		o.words = d.words
	}
	return o
}

// A rowRun is one run of a row's line.
type rowRun struct {
	*testing.T
	row     *peerRow
	want    rowEnd
	names   map[string]string // what is replaced in the line and in what is expected
	ours    bool
	path    string // the directory in which the program has its name
	opts    opts
	p       *process
	got     bytes.Buffer
	stopped atomic.Bool
}

// pathOf returns the directory in which the programs have the names of the
// other netcats: those themselves, or purr.
func pathOf(t testing.TB, ours bool) string {
	t.Helper()
	dir, err := namedPrograms()
	if err != nil {
		t.Fatal(err)
	}
	if ours {
		return filepath.Join(dir, "ours")
	}
	return filepath.Join(dir, "theirs")
}

var namedPrograms = sync.OnceValues(func() (string, error) {
	purr, err := purrLink()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(purr)
	for of, programs := range map[string]map[string]string{"ours": {"nc": purr, "ncat": purr}, "theirs": {"nc": "nc.openbsd", "ncat": "ncat"}} {
		if err := os.Mkdir(filepath.Join(dir, of), 0o755); err != nil {
			return "", err
		}
		for name, program := range programs {
			path, err := exec.LookPath(program)
			if err != nil {
				continue // testkit.Program reports it
			}
			if err := os.Symlink(path, filepath.Join(dir, of, name)); err != nil {
				return "", err
			}
		}
	}
	return dir, nil
})

// rowsAtOnce is the number of rows of one netcat that run at the same time.
// They wait most of the time, and so are not counted among the tests that run
// in parallel.
const rowsAtOnce = 8

// runRows runs rows with the peer and then with purr, as many rows at the same
// time as atOnce.
func runRows(t *testing.T, program, pkg string, atOnce int, rows []peerRow) {
	t.Helper()
	testkit.Program(t, program, pkg)
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	defer all.Wait()
	for i := range rows {
		row := &rows[i]
		if row.cannot != "" {
			t.Logf("not run: %s: %s", row.flag, row.cannot)
			continue
		}
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			t.Run(strings.ReplaceAll(row.flag+" "+row.line, "/", "_"), func(t *testing.T) { row.run(t, program) })
		})
	}
}

// run runs a row with the peer and with purr.
func (row *peerRow) run(t *testing.T, program string) {
	t.Helper()
	if (row.ours == nil) != (row.why == "") {
		t.Fatal("a difference and its reason go together")
	}
	ours := row.want.with(row.ours)
	if row.ours != nil && slices.Equal(ours.words, row.want.words) && ours.status+"\n"+ours.out+"\n"+ours.got == row.want.status+"\n"+row.want.out+"\n"+row.want.got {
		t.Fatal("the difference is none")
	}
	for of, want := range map[string]rowEnd{program: row.want, "purr": ours} {
		t.Run(of, func(t *testing.T) {
			s := &rowRun{T: t, row: row, want: want, ours: of == "purr", path: pathOf(t, of == "purr"), names: map[string]string{"DIR": t.TempDir()}}
			row.with(s)
			s.check()
		})
	}
}

// replaced returns text with the run's values for PORT and the other names.
func (s *rowRun) replaced(text string) string {
	var pairs []string
	for name, value := range s.names {
		pairs = append(pairs, name, value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// start starts the line.
func (s *rowRun) start() {
	s.Helper()
	s.opts.env = append(s.opts.env, "PATH="+s.path+":"+os.Getenv("PATH"))
	if !s.ours { // Ncat reads all authorities whenever it dials, for 50 ms
		s.opts.env = append(s.opts.env, "SSL_CERT_FILE=/dev/null")
	}
	s.p = start(s.T, s.opts, "/bin/sh", "-c", s.replaced(s.row.line))
}

// check compares what has happened with what is expected.
func (s *rowRun) check() {
	s.Helper()
	status := "stays"
	if s.want.status == status {
		if out := s.replaced(s.want.out); out != "*" {
			testkit.Eventually(s.T, "what is expected on stdout", func() bool { return s.p.out.String() == out || ended(s.p) })
		}
		select {
		case <-s.p.ended:
			status = fmt.Sprint(s.p.status())
		case <-time.After(s.lasting()):
		}
		s.p.kill()
	} else {
		status = fmt.Sprint(s.p.status())
	}
	if status != s.want.status {
		s.Errorf("%s: status %s, want %s", s.p.name, status, s.want.status)
	}
	if got, want := s.got.String(), s.replaced(s.want.got); got != want && want != "*" {
		s.Errorf("%s: the other end has %s, want %s", s.p.name, testkit.Brief(got), testkit.Brief(want))
	}
	if s.p.out != nil && s.want.out != "*" {
		if got, want := s.p.out.String(), s.replaced(s.want.out); got != want {
			s.Errorf("%s: stdout is %s, want %s", s.p.name, testkit.Brief(got), testkit.Brief(want))
		}
	}
	for _, word := range s.want.words {
		pattern, absent := strings.CutPrefix(s.replaced(word), "!")
		if matches := regexp.MustCompile("(?m)" + pattern).MatchString(s.p.err.String()); matches == absent {
			s.Errorf("%s: stderr matches %q: %v", s.p.name, pattern, matches)
		}
	}
	if s.Failed() {
		s.Log(s.p.heard())
	}
}

// lasting returns the time after which a program that goes on is taken to stay:
// purr's own clocks are up to a second.
func (s *rowRun) lasting() time.Duration {
	if s.ours {
		return 1300 * time.Millisecond
	}
	return 150 * time.Millisecond
}

// note adds to what the other end has.
func (s *rowRun) note(format string, args ...any) { fmt.Fprintf(&s.got, format, args...) }

// take reads n bytes as the other end.
func (s *rowRun) take(c net.Conn, n int) {
	s.Helper()
	s.got.WriteString(testkit.ReadN(s.T, c, n))
}

// rest reads to the end. If none is expected it waits for a short time only.
func (s *rowRun) rest(c net.Conn) {
	s.Helper()
	limit := 200 * time.Millisecond
	if strings.Contains(s.want.got, "<") {
		limit = testkit.Patience
	}
	_ = c.SetReadDeadline(time.Now().Add(limit))
	switch _, err := io.Copy(&s.got, c); {
	case err == nil:
		s.note("<FIN>")
	case errors.Is(err, io.ErrUnexpectedEOF):
		s.note("<cut>")
	case !os.IsTimeout(err):
		s.note("<RST>")
	}
}
