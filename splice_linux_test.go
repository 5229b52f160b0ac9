package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"

	"purr/internal/fdio"
)

// conn is what both kinds of stream sockets are.
type streamConn interface {
	net.Conn
	CloseWrite() error
}

// Each pair of descriptors takes the way that was measured to be the fastest
// for it, and every byte passes.
func TestWays(t *testing.T) {
	content := strings.ReplaceAll(testkit.Noise(3<<20+4321), "\xff", "\xfe") // nothing for -t to find
	for _, test := range []struct {
		args            string
		network         string
		stdin, stdout   string
		sends, receives string
	}{
		{"h 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"h 80", "tcp", "fifo", "fifo", "splice", "splice"},
		{"h 80", "tcp", "file", "file", "buffer", "splice to file"},
		{"h 80", "tcp", "file", "append", "buffer", "buffer"},
		{"h 80", "tcp", "pipe", "null", "splice", "discard"},
		{"--send-only h 80", "tcp", "pipe", "pipe", "splice", "discard"},
		{"-l 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"-w 20 h 80", "tcp", "pipe", "file", "splice", "splice to file"}, // a time limit costs nothing
		{"-W 1000000 h 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"-vv h 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"-U path", "unix", "pipe", "pipe", "splice", "splice"},
		{"-U path", "unix", "file", "file", "buffer", "splice to file"},
		{"-U path", "unix", "pipe", "null", "splice", "buffer"},
		{"--send-file FILE h 80", "tcp", "none", "pipe", "buffer", "splice"},
		{"-lk 80", "tcp", "pipe", "pipe", "buffer", "splice"}, // stdin is shared
		// A limit and a bar work in slices.
		{"--rate 1G h 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"--rate 20M --progress h 80", "tcp", "pipe", "file", "splice", "splice to file"},
		{"--rate 1G -U path", "unix", "pipe", "pipe", "splice", "splice"},
		{"--progress h 80", "tcp", "pipe", "pipe", "splice", "splice"},
		{"--progress h 80", "tcp", "pipe", "null", "splice", "discard"},
		{"--progress -l 80", "tcp", "file", "file", "buffer", "splice to file"},
		// What must see the bytes takes a buffer.
		{"--upper h 80", "tcp", "pipe", "pipe", "buffer", "buffer"},
		{"-C h 80", "tcp", "pipe", "pipe", "buffer", "splice"},
		{"-t h 80", "tcp", "pipe", "pipe", "splice", "buffer"},
	} {
		t.Run(strings.Join([]string{test.args, test.network, test.stdin, test.stdout}, " "), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "in")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			var stdin, stdout *os.File
			feed := func() {}
			printed := func() string { return "" }
			open := func(name string, flags int) *os.File {
				f, err := os.OpenFile(name, flags, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = f.Close() })
				return f
			}
			fifo := func(name string) (r, w *os.File) {
				name = filepath.Join(dir, name)
				if err := syscall.Mkfifo(name, 0o600); err != nil {
					t.Fatal(err)
				}
				both := open(name, os.O_RDWR)
				r, w = open(name, os.O_RDONLY), open(name, os.O_WRONLY)
				_ = both.Close()
				return r, w
			}
			switch test.stdin {
			case "pipe", "fifo":
				var w *os.File
				if test.stdin == "pipe" {
					stdin, w = stdioPipe(t)
				} else {
					stdin, w = fifo("stdin")
				}
				feed = func() { _, _ = io.WriteString(w, content); _ = w.Close() }
			case "file":
				stdin = open(path, os.O_RDONLY)
			}
			got := make(chan string, 1)
			switch test.stdout {
			case "pipe", "fifo":
				var r *os.File
				if test.stdout == "pipe" {
					r, stdout = stdioPipe(t)
				} else {
					r, stdout = fifo("stdout")
				}
				go func() {
					b, _ := io.ReadAll(r)
					got <- string(b)
				}()
				printed = func() string { _ = stdout.Close(); return <-got }
			case "file", "append":
				flags := os.O_WRONLY | os.O_CREATE
				if test.stdout == "append" {
					flags |= os.O_APPEND
				}
				name := filepath.Join(dir, "out")
				stdout = open(name, flags)
				printed = func() string { b, _ := os.ReadFile(name); return string(b) }
			}
			var ways []string
			testHookWay = func(name string) { ways = append(ways, name) }
			defer func() { testHookWay = nil }()

			p, ctx := testPurr(t, stdin, stdout, words(strings.ReplaceAll(test.args, "FILE", path))...)
			var ours net.Conn
			var theirs streamConn
			if test.network == "tcp" {
				ours, theirs = testkit.TcpPair(t)
			} else {
				ours, theirs = testkit.UnixPair(t)
			}
			go feed()
			if test.stdin == "pipe" || test.stdin == "fifo" {
				in := fdio.New(stdin, nil)
				testkit.Eventually(t, "stdin has something", in.Ready)
			}
			result := converses(p, ctx, ours)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = io.WriteString(theirs, content)
				_ = theirs.CloseWrite()
			}()
			b, err := io.ReadAll(theirs)
			if err != nil {
				t.Error(err)
			}
			want := content
			switch {
			case strings.Contains(test.args, "--upper"):
				want = string(upperASCII([]byte(content)))
			case strings.Contains(test.args, "-C"):
				want = plainCRLF(content)
			}
			if string(b) != want {
				t.Errorf("%d of %d bytes were sent, or others", len(b), len(want))
			}
			<-sent
			_ = theirs.Close()
			if err := ends(t, result); err != nil && !strings.Contains(test.args, "--send-only") {
				t.Error(err)
			}
			if wantWays := []string{test.sends, test.receives}; !reflect.DeepEqual(ways, wantWays) {
				t.Errorf("the ways out and in are %q, want %q", ways, wantWays)
			}
			out := printed()
			switch {
			case test.stdout == "null" || strings.Contains(test.args, "--send-only"):
				want = ""
			case strings.Contains(test.args, "--upper"):
			default:
				want = content
			}
			if out != want {
				t.Errorf("%d of %d bytes were printed, or others", len(out), len(want))
			}
		})
	}
}

// A wrapped connection is not the socket: no way goes past the wrapper.
func TestNoWayPastAWrapper(t *testing.T) {
	ours, _ := testkit.TcpPair(t)
	type wrapped struct{ net.Conn }
	r, w := stdioPipe(t)
	a, err := fdio.NewInterrupt()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if way := fastWay(fdio.New(w, a), wrapped{ours}); way != nil {
		t.Errorf("%T", way)
	}
	if way := fastWay(wrapped{ours}, fdio.New(r, a)); way != nil {
		t.Errorf("%T", way)
	}
}

// kindOf tells what stdin and stdout can be.
func TestKindOf(t *testing.T) {
	dir := t.TempDir()
	open := func(name string, flags int) *os.File {
		t.Helper()
		f, err := os.OpenFile(name, flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	r, w := stdioPipe(t)
	if err := syscall.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", dir+"/null"); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(pair[0]), "socket")
	defer socket.Close()
	defer unix.Close(pair[1])
	for _, test := range []struct {
		name string
		f    *os.File
		want fdio.Kind
	}{
		{"file", open(dir+"/file", os.O_CREATE|os.O_RDWR), fdio.Regular},
		{"append", open(dir+"/file", os.O_APPEND|os.O_WRONLY), fdio.Append},
		{"pipe, read", r, fdio.Pipe},
		{"pipe, write", w, fdio.Pipe},
		{"fifo", open(dir+"/fifo", os.O_RDWR), fdio.FIFO},
		{"null", open("/dev/null", os.O_RDONLY), fdio.Null},
		{"null by another name", open(dir+"/null", os.O_WRONLY), fdio.Null},
		{"zero", open("/dev/zero", os.O_RDONLY), fdio.Other},
		{"full", open("/dev/full", os.O_WRONLY), fdio.Other},
		{"directory", open(dir, os.O_RDONLY), fdio.Other},
		{"socket", socket, fdio.Socket},
		{"terminal", open("/dev/ptmx", os.O_RDWR), fdio.Terminal},
	} {
		if got := fdio.KindOf(test.f); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

// The socket options of the command line reach the socket.
func TestSocketOptions(t *testing.T) {
	get := func(t *testing.T, c net.Conn, level, name int) int {
		t.Helper()
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		value := -1
		if err := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	for _, test := range []struct {
		args        string
		level, name int
		want        int
	}{
		{"", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"--keepalive 30s,10s,3", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"--keepalive 30s,10s,3", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 30},
		{"--keepalive 30s,10s,3", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 10},
		{"--keepalive 30s,10s,3", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		{"--keepalive 0", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0},
		{"", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"-T lowdelay", unix.IPPROTO_IP, unix.IP_TOS, 0x10},
		{"-T 0x28", unix.IPPROTO_IP, unix.IP_TOS, 0x28},
		{"-M 7", unix.IPPROTO_IP, unix.IP_TTL, 7},
		{"-m 5", unix.IPPROTO_IP, unix.IP_MINTTL, 5},
		{"-I 64k", unix.SOL_SOCKET, unix.SO_RCVBUF, 2 * 64 << 10}, // the kernel doubles it
		{"-O 64k", unix.SOL_SOCKET, unix.SO_SNDBUF, 2 * 64 << 10},
		{"-b", unix.SOL_SOCKET, unix.SO_BROADCAST, 1},
	} {
		t.Run(test.args+" dial", func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			port := ln.Addr().(*net.TCPAddr).Port
			p, ctx := testPurr(t, nil, nil, append(words(test.args), "127.0.0.1", portOf(t, ln.Addr()))...)
			c, err := p.dial(ctx, port)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := get(t, c, test.level, test.name); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
		t.Run(test.args+" listen", func(t *testing.T) {
			if test.args == "-b" {
				t.Skip("does not pass from a listener to its connections")
			}
			p, ctx := testPurr(t, nil, nil, append(words(test.args), "-l", "127.0.0.1", "0")...)
			ln, err := p.openListener(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			theirs, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			c, err := p.accept(ctx, ln)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := get(t, c, test.level, test.name); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}
