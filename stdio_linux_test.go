package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"purr/internal/testkit"
)

// The kinds of stdin and stdout, and their faults.

// A file system that runs full in the middle, with each copier into a file.
func TestDiskRunsFull(t *testing.T) {
	t.Parallel()
	rootOnly(t)
	for _, redirect := range []string{">", ">>"} {
		for _, flags := range []string{"-l", "-l --upper", "-l -k"} {
			t.Run(redirect+" "+flags, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				script := `mount -t tmpfs -o size=1m tmpfs "$1" && cd "$1" && purr ` + flags + ` 127.0.0.1 0 ` + redirect + ` f; s=$?; wc -c <f; exit $s`
				p := shell(t, opts{}, `exec unshare -m sh -c "$1" sh "$2"`, script, dir)
				c := dialTest(t, "tcp", p.addr())
				_, err := io.Copy(c, strings.NewReader(testkit.Noise(eight)))
				if err == nil {
					_, err = io.Copy(io.Discard, c)
				}
				if err == nil {
					t.Error("the sender saw an orderly end")
				}
				p.ends(1)
				p.complains("write to stdout", "no space left on device")
				if got := strings.TrimSpace(p.out.String()); got != "1048576" {
					t.Errorf("%s bytes were stored, want what fits: 1048576", got)
				}
			})
		}
	}
}

// A limit on the size of files is an error like a full disk.
func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := shell(t, opts{dir: dir}, `ulimit -f 100; exec purr -l 127.0.0.1 0 >f`)
	c := dialTest(t, "tcp", p.addr())
	_, _ = io.Copy(c, strings.NewReader(testkit.Noise(quick)))
	p.ends(1)
	p.complains("write to stdout", "file too large")
}

// Each kind of stdout gets every byte, however it was opened.
func TestStdoutKinds(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight/4 + 12345)
	path := testkit.TempFile(t, content)
	for _, test := range []struct{ name, script, keeps string }{
		{"file", `exec purr -l 127.0.0.1 0 >f`, ""},
		{"appended", `printf before >f; exec purr -l 127.0.0.1 0 >>f`, "before"},
		{"read and write", `exec purr -l 127.0.0.1 0 1<>f`, ""},
		{"with an offset", `exec >f; printf before; exec purr -l 127.0.0.1 0`, "before"},
		{"pipe", `purr -l 127.0.0.1 0 | cat >f`, ""},
		{"slow pipe", `purr -l 127.0.0.1 0 | { sleep 0.3; cat; } >f`, ""},
		{"fifo", `mkfifo p; cat p >f & exec purr -l 127.0.0.1 0 >p`, ""},
		{"socket", `socat -u UNIX-LISTEN:s,unlink-close=0 - >f & while ! [ -S s ]; do sleep 0.01; done; exec socat -t 30 UNIX-CONNECT:s,retry=100,interval=0.05 "EXEC:purr -l 127.0.0.1 0"`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(test.script, "socat") {
				testkit.Program(t, "socat", "socat")
			}
			dir := t.TempDir()
			p := shell(t, opts{dir: dir}, test.script)
			sender := startPurr(t, opts{stdin: opened(t, path)}, strings.Split(p.addr(), ":")...)
			sender.ends(0)
			p.ends(0)
			got := func() string { b, _ := os.ReadFile(filepath.Join(dir, "f")); return string(b) }
			if test.name == "fifo" || test.name == "socket" { // the reader may still be writing
				testkit.Eventually(t, "the reader has stored all of it", func() bool { return len(got()) >= len(content) })
			}
			if got() != test.keeps+content {
				t.Errorf("%d of %d bytes were stored, or others", len(got()), len(test.keeps+content))
			}
		})
	}
}

// Each kind of stdin gives every byte, from where it stands.
func TestStdinKinds(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight/4 + 12345)
	path := testkit.TempFile(t, content)
	for _, test := range []struct {
		name, script string
		skip         int
	}{
		{"file", `exec purr 127.0.0.1 $2 <"$1"`, 0},
		{"file with an offset", `exec <"$1"; head -c 1000 >/dev/null; exec purr 127.0.0.1 $2`, 1000},
		{"pipe", `cat "$1" | purr 127.0.0.1 $2`, 0},
		{"slow pipe", `{ head -c 1000 "$1"; sleep 0.2; tail -c +1001 "$1"; } | purr 127.0.0.1 $2`, 0},
		{"small writes", `dd if="$1" bs=777 status=none | purr 127.0.0.1 $2`, 0},
		{"fifo", `mkfifo p; cat "$1" >p & exec purr 127.0.0.1 $2 <p`, 0},
		{"device", `head -c 0 /dev/null; exec purr 127.0.0.1 $2 </dev/null`, -1},
		{"socket", `exec socat -t 30 "EXEC:purr 127.0.0.1 $2" "OPEN:$1,rdonly!!OPEN:/dev/null"`, 0},
	} {
		for _, flag := range []string{"", "-C", "--upper"} {
			t.Run(strings.TrimSpace(test.name+" "+flag), func(t *testing.T) {
				t.Parallel()
				if strings.Contains(test.script, "socat") {
					testkit.Program(t, "socat", "socat")
				}
				ln := listenTest(t)
				p := shell(t, opts{dir: t.TempDir()}, strings.Replace(test.script, "purr ", "purr "+flag+" ", 1), path, portOf(t, ln.Addr()))
				c := acceptTest(t, ln)
				want := content
				switch {
				case test.skip > 0:
					want = content[test.skip:]
				case test.skip < 0:
					want = ""
				}
				switch flag {
				case "--upper":
					want = string(upperASCII([]byte(want)))
				case "-C":
					want = plainCRLF(want)
				}
				if got := testkit.ReadAll(t, c); got != want {
					t.Errorf("%d of %d bytes arrived, or others", len(got), len(want))
				}
				_ = c.Close()
				p.ends(0)
			})
		}
	}
}

// plainCRLF is a simple -C.
func plainCRLF(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] == '\n' && (i == 0 || s[i-1] != '\r') {
			b.WriteByte('\r')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Non-blocking descriptors, as some parents hand them down: nothing is lost,
// nothing spins, and the flag is left as it was.
func TestNonblockingStdio(t *testing.T) {
	t.Parallel()
	content := testkit.Noise(eight)
	for _, mode := range [][]string{{"-l"}, {"-l", "--upper"}, {"-l", "--echo"}} {
		t.Run("stdout "+strings.Join(mode, " "), func(t *testing.T) {
			t.Parallel()
			var ends [2]int
			if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
				t.Fatal(err)
			}
			r := os.NewFile(uintptr(ends[0]), "r")
			defer r.Close()
			// The shell hands down what it has; exec.Cmd would make it blocking.
			w := os.NewFile(uintptr(ends[1]), "w")
			p := shellNonblocking(t, nil, w, append(mode, "127.0.0.1", "0"))
			_ = w.Close()
			client := startPurr(t, opts{stdin: opened(t, testkit.TempFile(t, content))}, "127.0.0.1", p.port())
			time.Sleep(500 * time.Millisecond) // stalled
			want := content
			if mode[len(mode)-1] == "--upper" {
				want = string(upperASCII([]byte(content)))
			}
			if got := testkit.ReadAll(t, r); got != want {
				t.Errorf("%d of %d bytes arrived, or others", len(got), len(want))
			}
			client.ends(0)
			p.ends(0)
			p.quiet()
			if busy := p.busy(); busy > 600*time.Millisecond && !testkit.UnderRace {
				t.Errorf("used %v of the processor", busy)
			}
		})
	}
	t.Run("stdin", func(t *testing.T) {
		t.Parallel()
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		r, w := os.NewFile(uintptr(ends[0]), "r"), os.NewFile(uintptr(ends[1]), "w")
		ln := listenTest(t)
		p := shellNonblocking(t, r, nil, []string{"127.0.0.1", portOf(t, ln.Addr())})
		_ = r.Close()
		c := acceptTest(t, ln)
		time.Sleep(300 * time.Millisecond) // nothing to read yet
		p.runs()
		go func() {
			_, _ = io.Copy(w, strings.NewReader(content))
			_ = w.Close()
		}()
		if got := testkit.ReadAll(t, c); got != content {
			t.Errorf("%d of %d bytes arrived, or others", len(got), len(content))
		}
		_ = c.Close()
		p.ends(0)
		p.quiet()
	})
}

// shellNonblocking starts purr with non-blocking files: the flag is set again
// in the child, because exec.Cmd takes it away.
func shellNonblocking(t *testing.T, stdin, stdout *os.File, args []string) *process {
	t.Helper()
	testkit.Program(t, "python3", "python3")
	o := opts{}
	if stdin != nil {
		o.stdin = stdin
	}
	o.stdout = stdout
	program := "import os,sys\nos.set_blocking(int(sys.argv[1]),False)\nos.execvp('purr',['purr']+sys.argv[2:])"
	fd := "1"
	if stdin != nil {
		fd = "0"
	}
	return shell(t, o, `p=$1; shift; exec python3 -c "$p" "$@"`, append([]string{program, fd}, args...)...)
}

// O_NONBLOCK belongs to the open file that others share: purr does not set it.
func TestStdioStaysBlocking(t *testing.T) {
	t.Parallel()
	server := startPurr(t, opts{openStdin: true, ownStdout: true}, "-l", "-k", "127.0.0.1", "0")
	c := dialTest(t, "tcp", server.addr())
	writeAll(t, c, "x")
	testkit.ReadN(t, server.stdout, 1)
	writeAll(t, server.stdin, "y")
	testkit.ReadN(t, c, 1)
	for fd := range 2 {
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", server.cmd.Process.Pid, fd))
		if err != nil {
			t.Fatal(err)
		}
		var flags int
		for line := range strings.Lines(string(info)) {
			_, _ = fmt.Sscanf(line, "flags:\t%o", &flags)
		}
		if flags&unix.O_NONBLOCK != 0 {
			t.Errorf("descriptor %d was made non-blocking", fd)
		}
	}
}

// No mode spins while it waits for a silent client and a silent stdin.
func TestWaitingCostsNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range [][]string{
		{"-l"}, {"-l", "-k"}, {"-l", "-k", "--echo"}, {"-l", "-w", "60"}, {"-u", "-l"}, {"-u", "-l", "-k"}, {"-u", "-l", "-k", "--echo"},
		{"-l", "-k", "--max-conns", "1"}, {"-l", "--upper"}, {"-l", "-C", "-t"},
	} {
		t.Run(strings.Join(mode, " "), func(t *testing.T) {
			t.Parallel()
			p := startPurr(t, opts{openStdin: true}, append(mode, "127.0.0.1", "0")...)
			network := "tcp"
			if mode[0] == "-u" {
				network = "udp"
			}
			c := dialTest(t, network, p.addr())
			writeAll(t, c, "x")
			p.waitOut("[xX]")
			if network == "tcp" {
				if mode[len(mode)-1] == "1" {
					dialTest(t, "tcp", p.addr())
				}
				_ = c.(*net.TCPConn).CloseWrite() // half-closed, which poll reports as readable
			}
			time.Sleep(500 * time.Millisecond)
			_ = p.cmd.Process.Signal(syscall.SIGTERM) // with a silent stdin and a finished peer it is over
			p.status()
			limit := 200 * time.Millisecond
			if testkit.UnderRace {
				limit *= 3
			}
			if busy := p.busy(); busy > limit {
				t.Errorf("used %v of the processor", busy)
			}
		})
	}
}
