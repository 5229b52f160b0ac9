package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// listenAfterRefusal listens on port as soon as the process has been refused
// and has printed it, under -v.
func listenAfterRefusal(t *testing.T, p *process, network, addr, says string) {
	t.Helper()
	p.waitErr(regexpRefused)
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(says))
			_ = c.Close()
		}
	}()
}

// A port that is refused at first and opens later: for a conversation, for -z,
// for a command; over TCP and a Unix socket.
func TestWaitFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		args   []string
		status int
		out    string
	}{
		{"dial", []string{"-v", "--wait-for", "30", "ADDR"}, 0, "hello"},
		{"retry", []string{"-v", "--retry", "100", "ADDR"}, 0, "hello"},
		{"-z", []string{"-zv", "--wait-for", "30s", "ADDR"}, 0, ""},
		{"-z --json", []string{"-zv", "--json", "--wait-for", "30s", "ADDR"}, 0, "open"},
		{"command", []string{"-v", "--wait-for", "30", "ADDR", "--", "sh", "-c", "echo $0; exit 7", "-v"}, 7, "-v\n"},
		{"-z command", []string{"-zv", "--wait-for", "30", "ADDR", "--", "echo", "-n", "it is up"}, 0, "it is up"},
		{"command, signal", []string{"-v", "--wait-for", "30", "ADDR", "--", "sh", "-c", "kill -TERM $$"}, 143, ""},
	} {
		for _, network := range []string{"tcp", "unix"} {
			if network == "unix" && strings.Contains(c.name, "json") {
				continue
			}
			t.Run(c.name+" "+network, func(t *testing.T) {
				t.Parallel()
				addr := "127.0.0.1:" + freePort(t, "tcp")
				words := strings.ReplaceAll(strings.Join(c.args, "\x00"), "ADDR", addr)
				if network == "unix" {
					addr = filepath.Join(testkit.SocketDir(t), "s")
					words = "-U\x00" + strings.ReplaceAll(strings.Join(c.args, "\x00"), "ADDR", addr)
				}
				p := startPurr(t, opts{}, strings.Split(words, "\x00")...)
				listenAfterRefusal(t, p, network, addr, "hello")
				p.ends(c.status)
				if out := p.out.String(); c.out == "open" && strings.Count(out, "\n") == 1 && strings.Contains(out, `"open"`) {
					return
				} else if out != c.out {
					t.Errorf("stdout %q, want %q", out, c.out)
				}
			})
		}
	}
}

// The command has purr's stdin, and gets its signals.
func TestWaitForCommandStdin(t *testing.T) {
	t.Parallel()
	port := portOf(t, listenTest(t).Addr())
	p := startPurr(t, opts{stdin: strings.NewReader("input")}, "--wait-for", "5", "127.0.0.1", port, "--", "cat")
	p.ends(0)
	p.printed("input")
	p = startPurr(t, opts{openStdin: true}, "--wait-for", "5", "127.0.0.1", port, "--", "sh", "-c", "trap 'exit 9' TERM; echo ready; read x")
	p.waitOut("ready")
	p.signal(syscall.SIGTERM)
	p.ends(9)
}

// After the timeout the last cause is printed, with the status of the table.
func TestWaitForGivesUp(t *testing.T) {
	t.Parallel()
	port, silent := closedPorts(t, 1)[0], silentPort(t)
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"--wait-for 1 127.0.0.1 " + port, 1, "refused"},
		{"--retry 2 127.0.0.1 " + port, 1, "refused"},
		{"--retry 0 127.0.0.1 " + port, 1, "refused"},
		{"-z --wait-for 1000ms 127.0.0.1 " + port, 1, "refused"},
		{"-z --wait-for 1000ms 127.0.0.1 " + port + " -- echo no", 1, "refused"},
		{"-zu --wait-for 1000ms 127.0.0.1 " + silent, 3, "no-answer"},
		{"-U --wait-for 1 /nonexistent/s", 1, "No such file"},
		{"--wait-for 1 no..such 80", 1, "not known"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			p := startPurr(t, opts{}, strings.Fields(c.args)...)
			p.ends(c.status)
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			said := p.err.String()
			if !strings.Contains(said, c.says) || strings.Count(said, c.says) != 1 || !strings.Contains(said, "gave up after") && !strings.Contains(c.args, "--retry 0") && c.status != 3 {
				t.Errorf("said %q", said)
			}
			if strings.Contains(p.out.String(), "no\n") {
				t.Errorf("printed %q", p.out.String())
			}
		})
	}
	p := startPurr(t, opts{}, "-v", "--wait-for", "60", "127.0.0.1", port)
	p.waitErr(regexpRefused)
	p.signal(syscall.SIGTERM)
	p.endsWithin(143, testkit.Promptly())
}

// -zu waits for an answer.
func TestWaitForUDP(t *testing.T) {
	t.Parallel()
	port := freePort(t, "udp")
	p := startPurr(t, opts{}, "-zuv", "--wait-for", "30", "127.0.0.1", port, "--", "echo", "up")
	p.waitErr(regexpClosed)
	echo := startPurr(t, opts{stdout: devNull(t)}, "-u", "-l", "-k", "--echo", "127.0.0.1", port)
	p.ends(0)
	if out := p.out.String(); strings.Count(out, "\n") != 2 || !strings.Contains(out, "open") || !strings.HasSuffix(out, "up\n") {
		t.Errorf("printed %q", out)
	}
	echo.runs()
}

// --port-file and --ready-fd report the address once clients are accepted, for
// every kind of listener, and the file is removed at the end.
func TestReady(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"-l 127.0.0.1 0", "-l -k 127.0.0.1 0", "-u -l 127.0.0.1 0", "-u -l -k --echo 127.0.0.1 0", "-l -U PATH", "-u -l -U PATH"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dir := testkit.SocketDir(t)
			path, file, ready := filepath.Join(dir, "s"), filepath.Join(dir, "port"), filepath.Join(dir, "ready")
			args := strings.ReplaceAll(mode, "PATH", path)
			if err := os.WriteFile(file, []byte("an old one that is longer than the new one\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := exec.Command("mkfifo", ready).Run(); err != nil {
				t.Fatal(err)
			}
			p := shell(t, opts{openStdin: true}, `exec purr --ready-fd 5 --port-file "$1" `+args+` 5>"$2"`, file, ready)
			reader := start(t, opts{}, "cat", ready) // to its end: purr has closed it
			reader.ends(0)
			said := reader.out.String()
			written, err := os.ReadFile(file)
			if err != nil || string(written) != said {
				t.Fatalf("ready %q, file %q %v", said, written, err)
			}
			if strings.Contains(mode, "-U") {
				if said != path+"\n" {
					t.Errorf("said %q", said)
				}
			} else if _, port := p.bound(); said != port+"\n" {
				t.Errorf("said %q, bound %s", said, port)
			}
			if strings.HasPrefix(mode, "-l 1") {
				c := dialTest(t, "tcp", "127.0.0.1:"+strings.TrimSpace(said))
				_ = c.Close()
				_ = p.stdin.Close()
				p.ends(0)
			} else {
				p.signal(syscall.SIGTERM)
				p.ends(143)
			}
			testkit.Absent(t, file)
			if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A listener that cannot keep its file binds nothing. If its descriptor has no
// reader, it fails.
func TestReadyFails(t *testing.T) {
	t.Parallel()
	p := shell(t, opts{}, `exec purr -l --ready-fd 5 127.0.0.1 0 5</dev/null`)
	p.ends(2)
	p.complains("--ready-fd", "reading only")
	p = shell(t, opts{}, `exec purr -l --ready-fd 5 127.0.0.1 0 5>/dev/full`)
	p.ends(1)
	p.complains("ready descriptor 5", "no space left")
	file := testkit.TempFile(t, "somebody else's\n")
	p = startPurr(t, opts{openStdin: true}, "-l", "-v", "--port-file", file, "127.0.0.1", "0")
	p.bound()
	dialTest(t, "tcp", p.addr()) // a client is accepted once the file is written
	p.waitErr(regexp.MustCompile("Connection received"))
	if err := os.Rename(testkit.TempFile(t, "another\n"), file); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGINT)
	p.ends(130)
	if b, err := os.ReadFile(file); string(b) != "another\n" {
		t.Errorf("another's file is %q, %v", b, err)
	}
}
