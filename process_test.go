//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"purr/internal/testkit"
)

// This file starts programs and watches them. Nothing in it waits by sleeping
// for something to be ready, and nothing waits for ever.

// opts sets how a program is started. The zero value gives it /dev/null as
// stdin and collects its output.
type opts struct {
	stdin     io.Reader // nil: /dev/null. A *os.File is handed over as it is, anything else through a pipe
	openStdin bool      // stdin is a pipe that process.stdin writes to
	stdout    *os.File  // nil: kept, through a pipe
	ownStdout bool      // stdout is a pipe that only process.stdout reads from
	stderr    *os.File  // nil: kept
	env       []string
	dir       string
}

// A process is a program that was started by a test and ends with it.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	name   string
	stdin  *os.File        // with openStdin
	stdout *os.File        // with ownStdout
	out    *testkit.Output // its stdout, nil if that went elsewhere
	err    *testkit.Output
	ended  chan struct{} // closed when it has ended and all it wrote is kept
	begun  time.Time
	took   time.Duration // from start to end, once it has ended
}

// startPurr starts purr.
func startPurr(t testing.TB, o opts, args ...string) *process {
	t.Helper()
	return start(t, o, purrPath(t), args...)
}

var purrLink = sync.OnceValues(func() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	// Not named after the process: in a PID namespace each one is number 1.
	dir, err := os.MkdirTemp(filepath.Dir(exe), "bin")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // others run it, too
		return "", err
	}
	atEnd = append(atEnd, func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "purr")
	if err := os.Symlink(exe, path); err != nil {
		return "", err
	}
	return path, nil
})

// purrPath is the program, under its own name so that a shell finds it in PATH.
// The link is beside the test binary, which "go test" removes with it.
func purrPath(t testing.TB) string {
	t.Helper()
	path, err := purrLink()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shell starts a shell script in which purr is a command.
func shell(t testing.TB, o opts, script string, args ...string) *process {
	t.Helper()
	path := "PATH=" + filepath.Dir(purrPath(t)) + ":" + os.Getenv("PATH")
	o.env = append([]string{path}, o.env...)
	return start(t, o, "/bin/sh", append([]string{"-c", script, "sh"}, args...)...)
}

// start starts a program.
func start(t testing.TB, o opts, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Base(program) + " " + strings.Join(args, " "), ended: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir = o.dir
	// Unless disabled, the race detector sleeps for a second at exit.
	p.cmd.Env = append(append(os.Environ(), runAsPurr+"=1", "GORACE=atexit_sleep_ms=0", "LC_ALL=C.UTF-8"), o.env...)
	// A group of its own, so that a shell's children end with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	var theirs []*os.File
	pipe := func() (r, w *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		return r, w
	}
	var feed func()
	switch in := o.stdin.(type) {
	case nil:
		if o.openStdin {
			r, w := pipe()
			p.cmd.Stdin, p.stdin = r, w
			theirs = append(theirs, r)
		}
	case *os.File:
		p.cmd.Stdin = in
	default:
		r, w := pipe()
		p.cmd.Stdin = r
		theirs = append(theirs, r)
		// The first bytes are there when the program starts, as with a shell
		// whose echo was faster.
		_, _ = io.CopyN(w, in, 32<<10)
		feed = func() {
			_, _ = io.Copy(w, in)
			_ = w.Close()
		}
	}
	var reading sync.WaitGroup
	keep := func() (*os.File, *testkit.Output) {
		r, w := pipe()
		theirs = append(theirs, w)
		k := &testkit.Output{More: make(chan struct{})}
		reading.Add(1)
		go func() {
			defer reading.Done()
			_, _ = io.Copy(k, r)
			_ = r.Close()
			k.Close()
		}()
		return w, k
	}
	switch {
	case o.stdout != nil:
		p.cmd.Stdout = o.stdout
	case o.ownStdout:
		r, w := pipe()
		p.cmd.Stdout, p.stdout = w, r
		theirs = append(theirs, w)
	default:
		p.cmd.Stdout, p.out = keep()
	}
	if o.stderr != nil {
		p.cmd.Stderr, p.err = o.stderr, &testkit.Output{More: make(chan struct{})}
	} else {
		p.cmd.Stderr, p.err = keep()
	}
	p.begun = time.Now()
	err := p.cmd.Start()
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if feed != nil {
		go feed()
	}
	go func() {
		_ = p.cmd.Wait()
		p.took = time.Since(p.begun)
		reading.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if p.stdin != nil {
			_ = p.stdin.Close()
		}
		if p.stdout != nil {
			_ = p.stdout.Close()
		}
	})
	return p
}

// kill ends the process and those it started, and waits for the end.
func (p *process) kill() {
	select {
	case <-p.ended:
		return
	default:
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	select {
	case <-p.ended:
	case <-time.After(testkit.Patience):
		p.t.Errorf("%s: does not end when it is killed", p.name)
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: signal %v: %v", p.name, s, err)
	}
}

// status waits for the end and returns the exit status as a shell counts it.
func (p *process) status() int {
	p.t.Helper()
	return p.statusWithin(testkit.Patience)
}

func (p *process) statusWithin(limit time.Duration) int {
	p.t.Helper()
	begun := time.Now()
	for over := false; !over; {
		select {
		case <-p.ended:
			over = true
		case <-time.After(limit - testkit.Since(begun)):
			if testkit.Since(begun) >= limit {
				p.t.Fatalf("%s: still running after %v%s", p.name, limit, p.heard())
			}
		}
	}
	state := p.cmd.ProcessState
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}

// ends waits for the end and checks the exit status.
func (p *process) ends(status int) {
	p.t.Helper()
	p.endsWithin(status, testkit.Patience)
}

func (p *process) endsWithin(status int, limit time.Duration) {
	p.t.Helper()
	if got := p.statusWithin(limit); got != status {
		p.t.Errorf("%s: status %d, want %d%s", p.name, got, status, p.heard())
	}
}

// runs fails the test if the process has ended.
func (p *process) runs() {
	p.t.Helper()
	select {
	case <-p.ended:
		p.t.Fatalf("%s: has ended with status %d%s", p.name, p.status(), p.heard())
	default:
	}
}

// heard returns the output of the process, for the messages of tests.
func (p *process) heard() string {
	s := "\nstderr: " + p.err.String()
	if p.out != nil {
		out := p.out.String()
		if len(out) > 500 {
			out = fmt.Sprintf("%q... (%d bytes)", out[:500], len(out))
		}
		s += "\nstdout: " + out
	}
	return s
}

// busy is the processor time that an ended process used.
func (p *process) busy() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

var announcement = regexp.MustCompile(`(?m)^(?:Listening|Bound) on (\S+) (\d+)$`)

// addr waits until purr prints its address, and returns it for dialing.
func (p *process) addr() string {
	p.t.Helper()
	host, port := p.bound()
	switch host {
	case "0.0.0.0", "localhost":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// port is the port that purr listens on.
func (p *process) port() string {
	p.t.Helper()
	_, port := p.bound()
	return port
}

func (p *process) bound() (host, port string) {
	p.t.Helper()
	m := p.waitErr(announcement)
	return m[1], m[2]
}

// waitErr waits until stderr matches, and returns the submatches.
func (p *process) waitErr(re *regexp.Regexp) []string {
	p.t.Helper()
	m := p.err.Wait(re)
	if m == nil {
		p.t.Fatalf("%s: stderr never matched %q%s", p.name, re, p.heard())
	}
	return m
}

// waitOut waits until stdout matches.
func (p *process) waitOut(pattern string) {
	p.t.Helper()
	if p.out.Wait(regexp.MustCompile(pattern)) == nil {
		p.t.Fatalf("%s: stdout never matched %q%s", p.name, pattern, p.heard())
	}
}

// said returns the stderr of an ended process, less the line with its address.
func (p *process) said() string {
	p.t.Helper()
	p.status()
	return announcement.ReplaceAllString(p.err.String(), "\x00")
}

// complains checks that an ended process printed exactly one line on stderr
// (beside its address) and that it contains each of the words.
func (p *process) complains(words ...string) {
	p.t.Helper()
	said := strings.ReplaceAll(p.said(), "\x00\n", "")
	if strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "purr: ") {
		p.t.Errorf("%s: said %q, want one line of purr's", p.name, said)
	}
	for _, word := range words {
		if !strings.Contains(said, word) {
			p.t.Errorf("%s: said %q, want it to mention %q", p.name, said, word)
		}
	}
}

// quiet checks that an ended process printed nothing but its address.
func (p *process) quiet() {
	p.t.Helper()
	if said := strings.ReplaceAll(p.said(), "\x00\n", ""); said != "" {
		p.t.Errorf("%s: said %q, want nothing", p.name, said)
	}
}

// printed checks the stdout of an ended process.
func (p *process) printed(want string) {
	p.t.Helper()
	p.status()
	if got := p.out.String(); got != want {
		p.t.Errorf("%s: stdout is %s, want %s%s", p.name, testkit.Brief(got), testkit.Brief(want), "\nstderr: "+p.err.String())
	}
}

// dialTest connects to addr and gives the connection a deadline.
func dialTest(t testing.TB, network, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(network, addr, testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return c
}

// listenTest listens on a free port of 127.0.0.1.
func listenTest(t testing.TB) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(testkit.Patience))
	return ln.(*net.TCPListener)
}

// acceptTest accepts one client.
func acceptTest(t testing.TB, ln *net.TCPListener) *net.TCPConn {
	t.Helper()
	c, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	return c
}

// The ports that freePort hands out lie below those that systems choose from
// for ":0" and for clients, so that no other socket takes one before its bind.
const firstPort, lastPort, portsOfOne = 10000, 32000, 1000

// ownPorts is the first of the ports that this process hands out. It is bound
// until the process ends, so that another suite takes other ports.
var ownPorts = sync.OnceValues(func() (int, error) {
	for port := firstPort; port < lastPort; port += portsOfOne {
		if _, err := bindEverywhere(syscall.SOCK_STREAM, port); err == nil {
			return port, nil
		}
	}
	return 0, errors.New("too many suites run on this machine")
})

var nextPort atomic.Uint32

// freePort returns a port without a bound socket, on any address.
func freePort(t testing.TB, proto string) string {
	t.Helper()
	kind := syscall.SOCK_STREAM
	if proto == "udp" {
		kind = syscall.SOCK_DGRAM
	}
	// A process that is being started has our descriptors until it is another
	// program, and would keep the port bound for that long.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	first, err := ownPorts()
	if err != nil {
		t.Fatal(err)
	}
	for range portsOfOne {
		port := first + 1 + int(nextPort.Add(1)%(portsOfOne-1))
		if fd, err := bindEverywhere(kind, port); err == nil {
			_ = syscall.Close(fd)
			return fmt.Sprint(port)
		}
	}
	t.Fatal("no port is free")
	return ""
}

// closedPorts returns TCP ports without a listener. They stay bound on every
// address, so that no other process can listen.
func closedPorts(t testing.TB, n int) (ports []string) {
	t.Helper()
	for range n {
		syscall.ForkLock.RLock()
		fd, err := bindEverywhere(syscall.SOCK_STREAM, 0)
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Close(fd) })
		name, err := syscall.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		switch name := name.(type) {
		case *syscall.SockaddrInet6:
			ports = append(ports, fmt.Sprint(name.Port))
		case *syscall.SockaddrInet4:
			ports = append(ports, fmt.Sprint(name.Port))
		}
	}
	return ports
}

// bindEverywhere binds a socket to a port of every address; 0 is one that the
// system chooses. The caller holds syscall.ForkLock, and closes the socket.
func bindEverywhere(kind, port int) (fd int, err error) {
	var everywhere syscall.Sockaddr = &syscall.SockaddrInet6{Port: port}
	fd, err = syscall.Socket(syscall.AF_INET6, kind, 0)
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0)
	} else { // no IPv6
		everywhere = &syscall.SockaddrInet4{Port: port}
		fd, err = syscall.Socket(syscall.AF_INET, kind, 0)
	}
	if err != nil {
		return -1, err
	}
	syscall.CloseOnExec(fd)
	if err := syscall.Bind(fd, everywhere); err != nil {
		_ = syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// portOf is the port of an address, as text.
func portOf(t testing.TB, a net.Addr) string {
	t.Helper()
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func writeAll(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

// opened opens a file for a child to read.
func opened(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// listeningOn is the line that purr -v prints once it accepts clients, for any
// kind of socket.
var listeningOn = regexp.MustCompile(`(?m)^Listening on (.*)$`)

// regexpStatus1 is printed by the tests' shell scripts for a failed purr.
var regexpStatus1 = regexp.MustCompile(`(?m)^status 1$`)

// boundOn is the first line of purr -v -l -U, whether streams or datagrams.
var boundOn = regexp.MustCompile(`(?m)^Bound on (.*)$`)

// The messages for a peer without a listener: over TCP or a Unix socket, and
// over UDP.
var (
	regexpRefused = regexp.MustCompile(`(?m)^purr: connect to .* failed: (Connection refused|No such file or directory)$`)
	regexpClosed  = regexp.MustCompile(`(?m)^purr: .* \(udp\): closed: `)
)
