//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"purr/internal/testkit"
)

// startAs starts purr under another name, by a link.
func startAs(t testing.TB, name string, o opts, args ...string) *process {
	t.Helper()
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(purrPath(t), link); err != nil {
		testkit.NotHere(t, "symbolic links: "+err.Error())
	}
	return start(t, o, link, args...)
}

// Without -N, nc does not pass the end of stdin on, and with it at once; ncat
// always does at once.
func TestNamesPassTheEndOn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, args string
		passes     bool
	}{{"nc", "", false}, {"nc", "-N", true}, {"netcat", "", false}, {"ncat", "", true}, {"ncat", "--no-shutdown", false}} {
		ln := listenTest(t)
		args := append(strings.Fields(test.args), "127.0.0.1", portOf(t, ln.Addr()))
		p := startAs(t, test.name, opts{stdin: strings.NewReader("x")}, args...)
		c := acceptTest(t, ln)
		testkit.ReadN(t, c, 1)
		if !test.passes { // longer than purr would wait for an answer
			_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			n, err := c.Read(make([]byte, 1))
			if timeout, ok := err.(net.Error); n != 0 || !ok || !timeout.Timeout() {
				t.Errorf("%s %s: %d bytes, %v", test.name, test.args, n, err)
			}
		} else if rest := testkit.ReadAll(t, c); rest != "" {
			t.Errorf("%s %s: %q", test.name, test.args, rest)
		}
		writeAll(t, c, "answer")
		_ = c.Close()
		p.ends(0)
		p.printed("answer")
		if p.err.String() != "" {
			t.Errorf("%s %s: %s", test.name, test.args, p.heard())
		}
	}
}

// Under the name of ncat, -k keeps a dialler's session after the end of the
// peer: what stdin has later still arrives. Without it nothing is waited for.
func TestNamesKeepDialling(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-k", ""} {
		ln := listenTest(t)
		p := startAs(t, "ncat", opts{openStdin: true}, append(strings.Fields(args), "127.0.0.1", portOf(t, ln.Addr()))...)
		c := acceptTest(t, ln)
		writeAll(t, c, "bye\n")
		_ = c.CloseWrite()
		p.waitOut("bye\n")
		if args != "" {
			time.Sleep(200 * time.Millisecond)
			p.runs()
			writeAll(t, p.stdin, "later")
			_ = p.stdin.Close()
			if got := testkit.ReadAll(t, c); got != "later" {
				t.Errorf("the peer got %q", got)
			}
		}
		p.ends(0)
	}
}

// Silence: Ncat's -i is a failure, with the error of Ncat's prefix; nc's -w is
// none.
func TestNamesIdle(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, args string
		status     int
		said       string
	}{{"ncat", "-i 100ms", 1, "Ncat: 127.0.0.1 port PORT: idle for 100ms\n"}, {"nc", "-w 0.1", 0, ""}} {
		ln := listenTest(t)
		port := portOf(t, ln.Addr())
		p := startAs(t, test.name, opts{openStdin: true}, append(strings.Fields(test.args), "127.0.0.1", port)...)
		acceptTest(t, ln)
		p.ends(test.status)
		if want := strings.ReplaceAll(test.said, "PORT", port); p.err.String() != want {
			t.Errorf("%s said %q, want %q", test.name, p.err.String(), want)
		}
	}
}

// listening is the line of a listener under any name.
var listening = regexp.MustCompile(`(?m)^(?:Ncat: )?Listening on \S+[ :](\d+)$`)

// A command's status is passed on under every name.
func TestNamesPassStatusesOn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nc", "ncat"} {
		p := startAs(t, name, opts{}, "-l", "--sh-exec", "exit 5", "127.0.0.1", "0")
		line := p.waitErr(listening)
		dialTest(t, "tcp", "127.0.0.1:"+line[1])
		p.ends(5)
	}
}
