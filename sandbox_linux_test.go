package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"purr/internal/confine"
	"purr/internal/testkit"
)

// needsLandlock skips the test where the kernel cannot limit TCP.
func needsLandlock(t *testing.T) {
	t.Helper()
	if version, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); int(version) < 4 {
		testkit.NotHere(t, "Landlock 4")
	}
}

// Each mode keeps the rights that it needs, and no others.
func TestRights(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(in(name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	type rules = confine.Rules
	for _, test := range []struct {
		args string
		want rules
	}{
		{"-l 9000", rules{}},
		{"-l -k --echo 9000", rules{}},
		{"-v -l 9000", rules{Names: true}},
		{"-v -n -l 9000", rules{}},
		{"-v -u -l 9000", rules{Names: true}},
		{"localhost 9000", rules{}},
		{"-v --wait-for 1 localhost 9000", rules{}},
		{"localhost 9000 9001", rules{Names: true, AnyTCP: true}},
		{"-n --retry 3 127.0.0.1 9000-9009", rules{AnyTCP: true}},
		{"-u localhost 9000", rules{}},
		{"-l --port-file DIR/port 9000", rules{Remove: []string{in("port")}}},
		{"-l --send-file DIR/a 9000", rules{Read: []string{in("a")}}},
		{"--send-file DIR/a localhost 9000", rules{Read: []string{in("a")}}},
		{"-l --recv-file DIR/new 9000", rules{Write: []string{dir}}},
		{"-l --recv-file /dev/null 9000", rules{Write: []string{"/dev/null"}}},
		{"--push -l 9000 DIR/a DIR/b", rules{Read: []string{in("a"), in("b")}}},
		{"--push localhost 9000 DIR", rules{Read: []string{dir}, Connect: []int{9000}, Bind: []int{0}}},
		{"--push -s 127.0.0.1 -p 9001 localhost 9000 DIR", rules{Read: []string{dir}, Connect: []int{9000}, Bind: []int{9001}}},
		{"--pull -l 9000 DIR", rules{Write: []string{dir}}},
		{"--pull localhost 9000 DIR", rules{Write: []string{dir}, Connect: []int{9000}, Bind: []int{0}}},
		{"--pull -l -U DIR/s DIR", rules{Write: []string{dir}, Remove: []string{in("s")}, UnixSockets: true}},
		{"-v -l -U DIR/s", rules{Remove: []string{in("s")}, UnixSockets: true}},
		{"-l -U @s", rules{Remove: []string{"@s"}, UnixSockets: true}},
		{"-U DIR/s", rules{UnixSockets: true}},
		{"-u -U -s DIR/own /run/s", rules{Remove: []string{in("own")}, UnixSockets: true}},
		{"-z localhost 9000", rules{Names: true, Connect: []int{9000}, Bind: []int{0}}},
		{"-z -n 127.0.0.1 9000 9001", rules{AnyTCP: true, Connect: []int{9000, 9001}, Bind: []int{0}}},
		{"-z --wait-for 1 localhost 9000", rules{Names: true, FreshNames: true, Connect: []int{9000}, Bind: []int{0}}},
	} {
		cfg, err := newConfig(strings.Fields(strings.ReplaceAll(test.args, "DIR", dir)))
		if err != nil {
			t.Fatal(test.args, err)
		}
		got := (&run{cfg: cfg}).rights()
		got.Remove = slices.DeleteFunc(got.Remove, func(path string) bool { return path == "" })
		if len(got.Remove) == 0 {
			got.Remove = nil
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("purr %s: %+v, want %+v", test.args, got, test.want)
		}
	}
}

// waitLine waits until stderr has a line that begins with text.
func waitLine(p *process, text string) {
	p.t.Helper()
	p.waitErr(regexp.MustCompile("(?m)^" + regexp.QuoteMeta(text)))
}

// isConfined reports whether every thread of a process has given up rights.
func isConfined(t *testing.T, p *process) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.cmd.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Fatal(threads, err)
	}
	confined := 0
	for _, thread := range threads {
		if status, err := os.ReadFile(thread); err == nil && strings.Contains(string(status), "\nNoNewPrivs:\t1\n") {
			confined++
		}
	}
	if confined != 0 && confined != len(threads) {
		t.Errorf("%d of %d threads are confined", confined, len(threads))
	}
	return confined > 0
}

// Every mode is confined once it talks, and only without --no-sandbox. -v names
// what holds.
func TestConfinedModes(t *testing.T) {
	t.Parallel()
	needsLandlock(t)
	dir := testkit.SocketDir(t)
	for _, sandbox := range []bool{true, false} {
		for _, args := range [][]string{
			{"-v", "-l", "-k", "127.0.0.1", "0"},
			{"-v", "-u", "-l", "-k", "--echo", "127.0.0.1", "0"},
			{"-v", "-l", "-k", "--upper", "--port-file", filepath.Join(dir, "port"), "127.0.0.1", "0"},
			{"-v", "--pull", "-l", "-k", "127.0.0.1", "0", dir},
			{"-v", "--push", "-l", "-k", "127.0.0.1", "0", dir},
		} {
			if !sandbox {
				args = append([]string{"--no-sandbox"}, args...)
			}
			p := startPurr(t, opts{}, args...)
			network := "tcp"
			if slices.Contains(args, "-u") {
				network = "udp"
			}
			writeAll(t, dialTest(t, network, p.addr()), "x")
			waitLine(p, "Connection received on ") // by now it is confined, or never
			if got := isConfined(t, p); got != sandbox {
				t.Errorf("%v: confined is %v, want %v", args, got, sandbox)
			}
			if got := strings.Contains(p.err.String(), "confined"); got != sandbox {
				t.Errorf("%v: said %q", args, p.err)
			}
			p.signal(unix.SIGTERM)
			p.status()
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 || err != nil {
		t.Error("left behind:", left, err)
	}

	// A dialer, once it is connected.
	ln := listenTest(t)
	p := startPurr(t, opts{openStdin: true}, "-v", "127.0.0.1", portOf(t, ln.Addr()))
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	waitLine(p, "purr: confined: no file; no TCP connection\n")
	if !isConfined(t, p) {
		t.Error("a dialer is not confined")
	}
	_ = c.Close()
	_ = p.stdin.Close()
	p.ends(0)

	// A command is not confined.
	p = startPurr(t, opts{}, "-v", "--wait-for", "1", "127.0.0.1", portOf(t, ln.Addr()), "--", "grep", "NoNewPrivs:", "/proc/self/status")
	p.ends(0)
	p.printed("NoNewPrivs:\t0\n")
}

// A file that takes the place of the one to send is not read: no
// byte of it is sent.
func TestConfinedToNamedFile(t *testing.T) {
	t.Parallel()
	needsLandlock(t)
	dir := t.TempDir()
	offered, secret := filepath.Join(dir, "offered"), filepath.Join(dir, "secret")
	for path, text := range map[string]string{offered: "offered", secret: "secret"} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	p := startPurr(t, opts{}, "-v", "-l", "-k", "--send-file", offered, "127.0.0.1", "0")
	waitLine(p, "purr: confined: reads "+offered)
	client := startPurr(t, opts{}, "-d", "127.0.0.1", p.port())
	client.ends(0)
	client.printed("offered")
	if err := os.Remove(offered); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("secret", offered); err != nil {
		t.Fatal(err)
	}
	client = startPurr(t, opts{}, "-d", "127.0.0.1", p.port())
	client.status()
	if out := client.out.String(); strings.Contains(out, "secret") {
		t.Errorf("received %q", out)
	}
}

// Names are looked up under -v by a listener, and for the second of several
// ports by a dialer.
func TestConfinedNames(t *testing.T) {
	t.Parallel()
	p := startPurr(t, opts{}, "-v", "-l", "127.0.0.1", "0")
	c := dialTest(t, "tcp", p.addr())
	waitLine(p, "Connection received on localhost ")
	_ = c.Close()
	p.ends(0)

	var ports []string
	for range 2 {
		ln := listenTest(t)
		ports = append(ports, portOf(t, ln.Addr()))
		go func() {
			if c, err := ln.Accept(); err == nil {
				_, _ = c.Write([]byte("hello\n"))
				_ = c.Close()
			}
		}()
	}
	p = startPurr(t, opts{}, append([]string{"-v", "localhost"}, ports...)...)
	p.ends(0)
	p.printed("hello\nhello\n")
	for _, port := range ports {
		waitLine(p, "Connection to localhost (127.0.0.1) "+port+" port ")
	}
	if n := strings.Count(p.err.String(), "confined"); n != 1 {
		t.Errorf("said %d times how it is confined: %s", n, p.err)
	}
}
