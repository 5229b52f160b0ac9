//go:build unix

package child

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/fdio"
	"purr/internal/sock"
	"purr/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.AtOnce(8)
	m.Run()
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"cat":                {"cat"},
		"  a  b\tc ":         {"a", "b", "c"},
		`a "b  c" 'd  e'`:    {"a", "b  c", "d  e"},
		`a b\ c \"d\\`:       {"a", "b c", `"d\`},
		`a "x\"y\\z" 'x\y'`:  {"a", `x"y\z`, `x\y`},
		`a"b"'c'd "" ''`:     {"abcd", "", ""},
		`a "it's" 'say "x"'`: {"a", "it's", `say "x"`},
		"ä \\ö":              {"ä", "ö"},
	} {
		got, err := Split(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", line, got, err, want)
		}
	}
	for _, line := range []string{"", "  ", `a "b`, "a 'b", `a \`, `"" a`} {
		if got, err := Split(line); err == nil {
			t.Errorf("%q: %q", line, got)
		}
	}
	if _, err := Parse("no-such-program x"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func TestEnv(t *testing.T) {
	t.Parallel()
	env := Env(&net.TCPAddr{IP: net.ParseIP("::ffff:10.0.0.1"), Port: 80}, &net.TCPAddr{IP: net.ParseIP("10.0.0.2"), Port: 4000})
	for _, want := range []string{"NCAT_LOCAL_ADDR=10.0.0.1", "NC_LOCAL_PORT=80", "NCAT_REMOTE_ADDR=10.0.0.2", "NC_REMOTE_PORT=4000", "NCAT_PROTO=TCP", "NC_PROTO=TCP"} {
		if !slices.Contains(env, want) {
			t.Errorf("%q has no %s", env, want)
		}
	}
	env = Env(&net.TCPAddr{IP: net.ParseIP("10.0.0.1"), Port: 80}, &sock.HostAddr{Host: "behind.test", Port: 4000})
	for _, want := range []string{"NCAT_LOCAL_ADDR=10.0.0.1", "NCAT_REMOTE_ADDR=behind.test", "NC_REMOTE_PORT=4000", "NCAT_PROTO=TCP"} {
		if !slices.Contains(env, want) {
			t.Errorf("%q has no %s", env, want)
		}
	}
	env = Env(&net.UnixAddr{Name: "/x", Net: "unix"}, &net.UnixAddr{Name: "@", Net: "unix"})
	for _, want := range []string{"NC_LOCAL_ADDR=/x", "NC_LOCAL_PORT=", "NCAT_REMOTE_ADDR=", "NC_PROTO=UNIX"} {
		if !slices.Contains(env, want) {
			t.Errorf("%q has no %s", env, want)
		}
	}
}

// A serving runs Serve.
type serving struct {
	runner *Runner
	theirs *net.TCPConn
	status int
	err    error
	ended  chan struct{}
}

func serve(t *testing.T, grace time.Duration, script string) *serving {
	t.Helper()
	ours, theirs := testkit.TcpPair(t)
	_ = theirs.SetDeadline(time.Now().Add(testkit.Patience))
	s := &serving{runner: &Runner{Command: Shell(script), Grace: grace, Stderr: os.Stderr}, theirs: theirs, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.status, s.err = s.runner.Serve(t.Context(), ours, nil)
		_ = ours.Close()
	}()
	return s
}

func (s *serving) wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(testkit.Patience):
		t.Fatal("it does not end")
	}
}

// The end of what the peer sends is the command's end of input, and its late
// answer arrives, with its status.
func TestHalfCloseIsEOF(t *testing.T) {
	t.Parallel()
	s := serve(t, time.Minute, "n=$(wc -c); sleep 0.3; echo late $n; exit 3")
	testkit.WriteString(t, s.theirs, "hello")
	_ = s.theirs.CloseWrite()
	if got := strings.Join(strings.Fields(testkit.ReadAll(t, s.theirs)), " "); got != "late 5" {
		t.Errorf("%q", got)
	}
	s.wait(t)
	if s.status != 3 || s.err != nil {
		t.Errorf("status %d, %v", s.status, s.err)
	}
}

// What the command leaves unread does not turn its answer into a reset.
func TestUnreadInputDoesNotResetTheAnswer(t *testing.T) {
	t.Parallel()
	sent := filepath.Join(t.TempDir(), "sent")
	s := serve(t, time.Minute, "while [ ! -e "+sent+" ]; do sleep 0.01; done; head -c 300000 /dev/zero")
	testkit.WriteString(t, s.theirs, testkit.Noise(100_000))
	testkit.WriteFile(t, sent, "")
	if n, err := io.ReadFull(s.theirs, make([]byte, 300_000)); err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := s.theirs.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%d, %v; want the end", n, err)
	}
	_ = s.theirs.CloseWrite()
	s.wait(t)
	if s.status != 0 || s.err != nil {
		t.Errorf("status %d, %v", s.status, s.err)
	}
}

// When the peer has reset the connection, the group of the command gets
// SIGTERM, and what ignores it SIGKILL after the grace.
func TestResetEndsTheGroup(t *testing.T) {
	t.Parallel()
	for script, status := range map[string]int{
		"trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done": 9,
		"echo ready; sleep 1000; :":                                    128 + int(syscall.SIGTERM),
		"trap '' TERM; echo ready; sleep 1000; sleep 1000":             128 + int(syscall.SIGKILL),
		"trap '' TERM; (sleep 1000; :) & echo ready; exec sleep 1000":  128 + int(syscall.SIGKILL),
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			s := serve(t, 300*time.Millisecond, script)
			testkit.ReadN(t, s.theirs, 6)
			var pid int
			s.runner.mu.Lock()
			for p := range s.runner.live {
				pid = p.cmd.Process.Pid
			}
			s.runner.mu.Unlock()
			testkit.Reset(t, s.theirs)
			s.wait(t)
			if s.status != status || !errors.Is(s.err, syscall.ECONNRESET) {
				t.Errorf("status %d, %v; want %d", s.status, s.err, status)
			}
			testkit.Eventually(t, "the group is gone", func() bool { return syscall.Kill(-pid, 0) == syscall.ESRCH })
		})
	}
}

// A Unix client that sends everything and closes is no reason to end the
// command: it gets all of it, and ends by itself.
func TestUnixPeerMayClose(t *testing.T) {
	t.Parallel()
	ours, theirs := testkit.UnixPair(t)
	path := t.TempDir() + "/got"
	r := &Runner{Command: Shell("sleep 0.3; cat >" + path + "; exit 4"), Grace: testkit.Patience, Stderr: os.Stderr}
	testkit.WriteString(t, theirs, "everything")
	_ = theirs.Close()
	status, err := r.Serve(t.Context(), ours, nil)
	if status != 4 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	testkit.HasContent(t, path, "everything")
}

// Close ends the commands that run, and none is started any more.
func TestCloseLeavesNoProcess(t *testing.T) {
	t.Parallel()
	s := serve(t, 200*time.Millisecond, "trap '' TERM; echo ready; sleep 1000; :")
	testkit.ReadN(t, s.theirs, 6)
	s.runner.Close()
	s.wait(t)
	if s.status != 128+int(syscall.SIGKILL) {
		t.Errorf("status %d", s.status)
	}
	if _, err := s.runner.Start(nil, nil, nil); err != ErrClosed {
		t.Errorf("%v", err)
	}
}

// A command with pipes that reads nothing ends in order, and so does one that
// closes its output before its input ends.
func TestPipes(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"echo hi; exit 5", "echo hi; exec >&-; cat >/dev/null; exit 5"} {
		stop, err := fdio.NewInterrupt()
		if err != nil {
			t.Fatal(err)
		}
		defer stop.Close()
		r := &Runner{Command: Shell(script), Grace: testkit.Patience, Stderr: os.Stderr}
		p, err := r.NewPipes(stop)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(nil); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(p); err != nil || string(b) != "hi\n" {
			t.Errorf("%q, %v", b, err)
		}
		if n, err := p.Write([]byte(testkit.Noise(200_000))); n != 200_000 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if status, err := p.Wait(t.Context(), false); status != 5 || err != nil {
			t.Errorf("status %d, %v", status, err)
		}
	}
}

// A command that runs on after its conversation is terminated: after the grace
// with an error, at once without one if its peer is gone.
func TestPipesTerminated(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		stop, err := fdio.NewInterrupt()
		if err != nil {
			t.Fatal(err)
		}
		defer stop.Close()
		r := &Runner{Command: Shell("echo hi; exec sleep 1000"), Grace: testkit.Patience, Stderr: os.Stderr}
		want := error(nil)
		if !gone {
			r.Grace, want = 10*time.Millisecond, ErrTerminated
		}
		p, err := r.NewPipes(stop)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(nil); err != nil {
			t.Fatal(err)
		}
		if got := testkit.ReadN(t, p, 3); got != "hi\n" {
			t.Errorf("%q", got)
		}
		begun := time.Now()
		status, err := p.Wait(t.Context(), gone)
		if status != 143 || err != want || time.Since(begun) > testkit.Patience/2 {
			t.Errorf("%v: status %d, %v after %v", gone, status, err, time.Since(begun))
		}
	}
}

// A line for the shell is one argument of it; a blank one is an error.
func TestParseShell(t *testing.T) {
	t.Parallel()
	if c, err := ParseShell("echo 'a  b' | cat"); err != nil || c.Args[len(c.Args)-1] != "echo 'a  b' | cat" || c.Path == "" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, line := range []string{"", " \t"} {
		if c, err := ParseShell(line); err == nil {
			t.Errorf("%q: %+v", line, c)
		}
	}
}
