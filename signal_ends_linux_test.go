package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/fdio"
	"purr/internal/testkit"
)

// SIGQUIT and SIGABRT end every mode like SIGTERM: no dump of goroutines.
func TestSignalsWithoutDump(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT} {
		for _, args := range []string{"-l", "-l -k --echo", "-u -l", "-u -l -k --echo"} {
			t.Run(s.String()+" "+args, func(t *testing.T) {
				t.Parallel()
				p := startPurr(t, opts{openStdin: true}, append(strings.Fields(args), "127.0.0.1", "0")...)
				p.addr()
				checkSignal(t, p, s)
			})
		}
		t.Run(s.String()+" connected", func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			p := startPurr(t, opts{openStdin: true}, "127.0.0.1", portOf(t, ln.Addr()))
			c := acceptTest(t, ln)
			writeAll(t, c, "x")
			p.waitOut("x")
			checkSignal(t, p, s)
		})
		t.Run(s.String()+" connecting", func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{}, "127.0.0.1", deafPort(t))
			testkit.Eventually(t, "purr connects", func() bool { return connecting(t, p) })
			testkit.Eventually(t, "purr catches signals", func() bool { return catches(t, p, syscall.SIGUSR1) })
			checkSignal(t, p, s)
		})
		t.Run(s.String()+" waiting", func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{}, "-v", "--wait-for", "60s", "127.0.0.1", closedPorts(t, 1)[0])
			p.waitErr(regexpRefused)
			testkit.Eventually(t, "purr catches signals", func() bool { return catches(t, p, syscall.SIGUSR1) })
			p.signal(s)
			p.ends(128 + int(s))
			if strings.Contains(p.err.String(), "goroutine") {
				t.Errorf("said %q", p.err)
			}
		})
	}
}

// signalSet reads one of the signal masks in /proc/PID/status.
func signalSet(t *testing.T, p *process, name string) (set uint64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, name+":"); found {
			_, _ = fmt.Sscanf(rest, "%x", &set)
		}
	}
	return set
}

// catches reports whether a dialer no longer ignores a signal that it ignores
// until it catches all of them.
func catches(t *testing.T, p *process, s syscall.Signal) bool {
	t.Helper()
	return signalSet(t, p, "SigIgn")&(1<<(s-1)) == 0
}

// Signals that were ignored at the start stay ignored, as a shell has it for
// its background jobs; others end the run.
func TestIgnoredAtStart(t *testing.T) {
	t.Parallel()
	const ignored = `trap "" INT QUIT; `
	t.Run("listener", func(t *testing.T) {
		t.Parallel()
		p := shell(t, opts{}, ignored+`exec purr -l 127.0.0.1 0`)
		c := dialTest(t, "tcp", p.addr())
		writeAll(t, c, "before ")
		p.waitOut("before ")
		p.signal(syscall.SIGINT)
		p.signal(syscall.SIGQUIT)
		writeAll(t, c, "after")
		p.waitOut("after")
		p.runs()
		p.signal(syscall.SIGTERM)
		p.ends(143)
		p.quiet()
	})
	t.Run("dialer", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		p := shell(t, opts{}, ignored+`exec purr 127.0.0.1 $1`, portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		writeAll(t, c, "before ")
		p.waitOut("before ")
		p.signal(syscall.SIGQUIT)
		p.signal(syscall.SIGINT)
		writeAll(t, c, "after")
		_ = c.Close()
		p.ends(0)
		p.printed("before after")
	})
	t.Run("command after a wait", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		p := shell(t, opts{}, ignored+`exec purr --wait-for 9s 127.0.0.1 $1 -- grep SigIgn /proc/self/status`, portOf(t, ln.Addr()))
		p.ends(0)
		if p.printed("SigIgn:\t0000000000000006\n"); t.Failed() {
			t.Log("want SIGINT and SIGQUIT")
		}
	})
	t.Run("no shell", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		p := startPurr(t, opts{}, "--wait-for", "9s", "127.0.0.1", portOf(t, ln.Addr()), "--", "grep", "SigIgn", "/proc/self/status")
		p.ends(0)
		p.printed("SigIgn:\t0000000000000000\n")
	})
}

// What cannot be printed changes no status: a stderr without a reader, or with
// one that reads nothing.
func TestStderrWithoutReader(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args   string
		status int
	}{
		{"127.0.0.1 CLOSED", 1},
		{"-v 127.0.0.1 CLOSED", 1},
		{"-v --retry 2 127.0.0.1 CLOSED", 1},
		{"-v -z 127.0.0.1 CLOSED", 1},
		{"--push 127.0.0.1 CLOSED go.mod", 1},
		{"--no-such-option", 2},
		{"", 2},
		{"-v 127.0.0.1 OPEN", 0},
		{"-vv -w 60 127.0.0.1 OPEN", 0},
		{"--json 127.0.0.1 OPEN", 0},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			args := strings.ReplaceAll(test.args, "CLOSED", closedPorts(t, 1)[0])
			if strings.Contains(args, "OPEN") {
				ln := listenTest(t)
				args = strings.ReplaceAll(args, "OPEN", portOf(t, ln.Addr()))
				go func() {
					if c, err := ln.Accept(); err == nil {
						_, _ = io.WriteString(c, "hello")
						_ = c.Close()
					}
				}()
			}
			r, w := testkit.StdioPipe(t)
			_ = r.Close()
			p := startPurr(t, opts{stderr: w}, strings.Fields(args)...)
			p.ends(test.status)
			if strings.Contains(test.args, "OPEN") {
				p.printed("hello")
			}
		})
	}
	t.Run("full", func(t *testing.T) {
		t.Parallel()
		r, w := testkit.StdioPipe(t)
		p := startPurr(t, opts{stderr: w}, "-v", "-l", "-k", "--port-file", t.TempDir()+"/port", "127.0.0.1", "0")
		line := make([]byte, 100)
		n, err := r.Read(line)
		m := announcement.FindStringSubmatch(strings.TrimSpace(string(line[:n])))
		if err != nil || m == nil {
			t.Fatalf("got %q, %v", line[:n], err)
		}
		setNonblock(t, w)
		for fd := fdio.New(w, nil).FD(); err == nil; {
			_, err = syscall.Write(fd, make([]byte, 4096))
		}
		dialTest(t, "tcp", "127.0.0.1:"+m[2]) // whose line has no room
		p.signal(syscall.SIGTERM)
		p.ends(143)
	})
}

// As process 1, which the system does not end by a signal, SIGTERM ends a wait
// with its status.
func TestSignalsAsProcessOne(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespaces(t) {
		return
	}
	// In a build with cgo, as for the race detector, Landlock finds the threads
	// in /proc, which here is that of the outer namespace, and may wait for ever.
	for _, args := range []string{"-v --wait-for 60s 127.0.0.1 1", "-v --retry 1000 127.0.0.1 1 -- true", "-v --no-sandbox --wait-for 60s -z 127.0.0.1 1"} {
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
			cmd := exec.Command(purrPath(t), strings.Fields(args)...)
			cmd.Env = append(os.Environ(), runAsPurr+"=1")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
			out := &testkit.Output{More: make(chan struct{})}
			cmd.Stderr = out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			watchdog := time.AfterFunc(testkit.Patience, func() { _ = cmd.Process.Kill() })
			if out.Wait(regexpRefused) == nil {
				t.Errorf("said %q", out)
			}
			_ = cmd.Process.Signal(s)
			_ = cmd.Wait()
			watchdog.Stop()
			if got := cmd.ProcessState.ExitCode(); got != 128+int(s) || bytes.Contains([]byte(out.String()), []byte("goroutine")) {
				t.Errorf("%s, %v: status %d (%v), said %q", args, s, got, cmd.ProcessState, out)
			}
		}
	}
}

// Ctrl-Z in the line editor stops purr, with the terminal as it was, also in a
// shell that does not see to that (dash); fg goes on with the line. SIGQUIT
// gives the terminal back as well.
func TestInteractiveSuspended(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	before := s.modes()
	c := s.dial("--interactive")
	writeAll(t, c, "welcome\n")
	s.shows(`(?m)^welcome$`)
	s.press("-l", "half a")
	s.shows(`(?m)^> half a *$`)
	s.press("C-z")
	s.shows(`Stopped`)
	if stopped := s.modes(); stopped != before {
		t.Errorf("the terminal was\n%sand is\n%s", before, stopped)
	}
	writeAll(t, c, "meanwhile\n")
	s.enter("clear; fg")
	s.shows(`(?m)^meanwhile$\n^> half a *$`)
	s.press("-l", " line")
	s.press("Enter")
	if got := testkit.ReadN(t, c, 12); got != "half a line\n" {
		t.Errorf("got %q", got)
	}
	// By a signal, and again.
	s.enter("bye")
	if got := testkit.ReadN(t, c, 4); got != "bye\n" {
		t.Errorf("got %q", got)
	}
	pid := s.pid()
	testkit.MustRun(t, "kill -TSTP "+pid)
	s.shows(`(?s)bye.*Stopped`)
	if stopped := s.modes(); stopped != before {
		t.Errorf("the terminal was\n%sand is\n%s", before, stopped)
	}
	s.enter("clear; fg; echo STATUS $?")
	s.press("-l", "again")
	s.press("Enter")
	if got := testkit.ReadN(t, c, 6); got != "again\n" {
		t.Errorf("got %q", got)
	}
	testkit.MustRun(t, "kill -QUIT "+pid)
	s.status(131)
	if strings.Contains(s.text(), "goroutine") {
		t.Errorf("the screen shows\n%s", s.text())
	}
	if after := s.modes(); after != before {
		t.Errorf("the terminal was\n%sand is\n%s", before, after)
	}
}

// pid returns the process number of the purr in the terminal.
func (s *screen) pid() string {
	s.t.Helper()
	shell, err := exec.Command("tmux", "-S", s.socket, "display-message", "-p", "#{pane_pid}").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	pid := strings.TrimSpace(string(shell))
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(children))
}
