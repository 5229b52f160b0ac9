package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/fdio"
	"purr/internal/testkit"
)

// Descriptors that other processes hold too: their flags and their offset.

// setNonblock sets O_NONBLOCK, for every process that holds the open file.
func setNonblock(t *testing.T, f *os.File) {
	t.Helper()
	if err := syscall.SetNonblock(fdio.New(f, nil).FD(), true); err != nil {
		t.Fatal(err)
	}
}

// Another holder makes purr's stdout non-blocking while it runs: purr waits,
// in each mode, and no byte is lost.
func TestStdoutTurnsNonblocking(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight)
	for _, mode := range []string{"-l", "-l -k", "-l --upper", "-l -w 60", "-l --echo", "-l -k --echo"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r, w := testkit.StdioPipe(t)
			p := startPurr(t, opts{stdout: w}, append(strings.Fields(mode), "127.0.0.1", "0")...)
			c := dialTest(t, "tcp", p.addr())
			want := content
			writeAll(t, c, want[:1])
			head := testkit.ReadN(t, r, 1)
			setNonblock(t, w)
			go func() {
				_, _ = io.WriteString(c, want[1:])
				_ = c.(interface{ CloseWrite() error }).CloseWrite()
			}()
			go func() { _, _ = io.Copy(io.Discard, c) }() // the echo
			testkit.Eventually(t, "the pipe is full", func() bool { return fdio.New(r, nil).Unread() >= 60_000 })
			got := head + testkit.ReadN(t, r, len(want)-1)
			if strings.Contains(mode, "upper") {
				want = string(upperASCII([]byte(want)))
			}
			if got != want {
				t.Errorf("%d of %d bytes arrived, or others", len(got), len(want))
			}
			if strings.Contains(mode, "-k") {
				p.runs()
				p.signal(syscall.SIGTERM)
				p.ends(143)
			} else {
				p.ends(0)
			}
			p.quiet()
		})
	}
}

// Likewise its stdin.
func TestStdinTurnsNonblocking(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight)
	for _, mode := range []string{"", "--upper", "-l", "-l -k", "--quit-word none"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r, w := testkit.StdioPipe(t)
			var p *process
			var c net.Conn
			if strings.HasPrefix(mode, "-l") {
				p = startPurr(t, opts{stdin: r}, append(strings.Fields(mode), "127.0.0.1", "0")...)
				c = dialTest(t, "tcp", p.addr())
			} else {
				ln := listenTest(t)
				p = startPurr(t, opts{stdin: r}, append(strings.Fields(mode), "127.0.0.1", portOf(t, ln.Addr()))...)
				c = acceptTest(t, ln)
			}
			want := content[:4095] + "\n" + content[4096:] // lines are read whole
			writeAll(t, w, want[:4096])
			head := testkit.ReadN(t, c, 4096)
			setNonblock(t, r)
			go func() {
				_, _ = io.WriteString(w, want[4096:])
				_ = w.Close()
			}()
			got := head + testkit.ReadAll(t, c)
			if strings.Contains(mode, "upper") {
				want = string(upperASCII([]byte(want)))
			}
			if got != want {
				t.Errorf("%d of %d bytes arrived, or others", len(got), len(want))
			}
			_ = c.Close()
			if strings.Contains(mode, "-k") {
				p.runs()
				p.signal(syscall.SIGTERM)
				p.ends(143)
			} else {
				p.ends(0)
			}
			p.quiet()
		})
	}
}

// Likewise its stderr: every line comes, and whole.
func TestStderrTurnsNonblocking(t *testing.T) {
	t.Parallel()
	r, w := testkit.StdioPipe(t)
	p := startPurr(t, opts{stderr: w}, "-v", "-n", "-l", "-k", "127.0.0.1", "0")
	in := bufio.NewReader(r)
	line, err := in.ReadString('\n')
	m := announcement.FindStringSubmatch(strings.TrimSpace(line))
	if err != nil || m == nil {
		t.Fatalf("got %q, %v", line, err)
	}
	setNonblock(t, w)
	_ = w.Close()
	defer time.AfterFunc(testkit.Patience, p.kill).Stop() // the end of what is read
	const room = 4096                                     // of the pipe
	if _, err := unix.FcntlInt(uintptr(fdio.New(r, nil).FD()), unix.F_SETPIPE_SZ, room); err != nil {
		t.Fatal(err)
	}
	const clients = 300 // whose lines are more than that
	dialled := make(chan struct{})
	go func() {
		defer close(dialled)
		for range clients {
			c, err := net.DialTimeout("tcp", "127.0.0.1:"+m[2], testkit.Patience)
			if err != nil {
				t.Error(err)
				break
			}
			_ = c.Close()
		}
	}()
	testkit.Eventually(t, "the pipe is full", func() bool { return fdio.New(r, nil).Unread() > room-100 })
	received := 0
	for received < clients {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "Connection received on 127.0.0.1 ") && strings.Count(line, "Connection") == 1 {
			received++
		} else if !strings.HasPrefix(line, "purr: ") {
			t.Errorf("a line is %q", line)
		}
	}
	<-dialled // the last line may come before its client knows of the connection
	go func() { _, _ = io.Copy(io.Discard, in) }()
	p.signal(syscall.SIGTERM)
	p.ends(143)
}

// Several clients write to one file, and a shell that has it open as well: each
// line is there, whole and once.
func TestSharedFile(t *testing.T) {
	t.Parallel()
	const clients, each = 20, 500
	for _, redirect := range []string{">f", ">>f", "1<>f"} {
		t.Run(redirect, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := shell(t, opts{dir: dir, openStdin: true}, `
				exec 3>&2 `+redirect+`
				purr -l -k 127.0.0.1 0 <&- 2>&3 & 
				while read -r line; do echo "$line"; done
				kill $!; wait $!`)
			addr := p.addr()
			var sent sync.WaitGroup
			for i := range clients {
				c := dialTest(t, "tcp", addr)
				sent.Go(func() {
					for n := range each {
						_, _ = fmt.Fprintf(c, "client %d line %d\n", i, n)
					}
					_ = c.(*net.TCPConn).CloseWrite()
					_, _ = io.Copy(io.Discard, c)
				})
			}
			for n := range each {
				_, _ = fmt.Fprintf(p.stdin, "client %d line %d\n", clients, n)
			}
			sent.Wait()
			_ = p.stdin.Close()
			p.ends(143)
			lines := make(map[string]int)
			for line := range strings.Lines(testkit.ReadFile(t, dir+"/f")) {
				lines[line]++
			}
			for i := range clients + 1 {
				for n := range each {
					line := fmt.Sprintf("client %d line %d\n", i, n)
					if lines[line] != 1 {
						t.Fatalf("%q is there %d times", line, lines[line])
					}
					delete(lines, line)
				}
			}
			if len(lines) > 0 {
				t.Errorf("also there: %v", lines)
			}
		})
	}
}

// Each client of --send-file gets the file that was there at the start,
// although its name has become a link to another.
func TestSendFileReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content, secret := testkit.Noise(quick), "secret"
	testkit.WriteFile(t, dir+"/f", content)
	testkit.WriteFile(t, dir+"/secret", secret)
	p := startPurr(t, opts{dir: dir}, "-l", "-k", "--send-file", "f", "127.0.0.1", "0")
	addr := p.addr()
	for _, replace := range []func() error{
		func() error { return nil },
		func() error { return os.Rename(dir+"/f", dir+"/old") },
		func() error { return os.Symlink("secret", dir+"/f") },
	} {
		if err := replace(); err != nil {
			t.Fatal(err)
		}
		clients := []net.Conn{dialTest(t, "tcp", addr), dialTest(t, "tcp", addr)}
		for _, c := range clients {
			if got := testkit.ReadAll(t, c); got != content {
				t.Errorf("%d of %d bytes arrived, or others", len(got), len(content))
			}
			_ = c.Close()
		}
	}
	p.signal(syscall.SIGTERM)
	p.ends(143)
}

// --recv-file keeps the holes of a sparse file, and reports the size and digest
// of all of it.
func TestRecvFileKeepsHoles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content := strings.Repeat("\x00", 40<<20) + testkit.Noise(100_000) + strings.Repeat("\x00", 10<<20)
	p := startPurr(t, opts{dir: dir}, "-l", "--recv-file", "f", "--expect-size", fmt.Sprint(len(content)), "127.0.0.1", "0")
	c := dialTest(t, "tcp", p.addr())
	writeAll(t, c, content)
	_ = c.(*net.TCPConn).CloseWrite()
	p.ends(0)
	p.complains(fmt.Sprintf("received %d bytes, sha256 %s", len(content), sumOf(content)))
	if testkit.ReadFile(t, dir+"/f") != content {
		t.Error("other bytes were stored")
	}
	info, err := os.Stat(dir + "/f")
	if err != nil {
		t.Fatal(err)
	}
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 1<<20 {
		t.Errorf("%d bytes are allocated", used)
	}
}
