package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// drained counts what comes from c until it ends or the time is over.
func drained(c net.Conn, within time.Duration) int64 {
	_ = c.SetReadDeadline(time.Now().Add(within))
	n, _ := io.Copy(io.Discard, c)
	return n
}

// --rate limits every way of sending. The bounds are wide, because other tests
// run at the same time; over 10 s without them it keeps within 3 %.
func TestRate(t *testing.T) {
	t.Parallel()
	const rate, lasts = 2 << 20, 2 * time.Second
	const slack = 100 * time.Millisecond
	check := func(t testing.TB, n int64, begun time.Time) {
		t.Helper()
		took := time.Since(begun)
		exact := float64(rate) * took.Seconds()
		if got := float64(n); got > 1.1*exact+rate/10 || got < 0.6*exact {
			t.Errorf("%d bytes in %v, want about %.0f", n, took, exact)
		}
	}
	file := fileWith(t, noise(16<<20))
	for _, test := range []struct {
		args string
		in   func() io.Reader // nil: /dev/null
	}{
		{"--rate 2M", func() io.Reader { return endless{} }},
		{"--rate 2048k --upper", func() io.Reader { return endless{} }},
		{"--rate 2097152 -C", func() io.Reader { return endless{} }},
		{"--rate 2M", func() io.Reader { return opened(t, file) }},
		{"--rate 2M --send-file " + file, nil},
	} {
		t.Run(fmt.Sprintf("%s %T", strings.TrimSuffix(test.args, file), test.in), func(t *testing.T) {
			t.Parallel()
			fairly(t, slack, func(t testing.TB) {
				ln := listenTest(t)
				o := opts{}
				if test.in != nil {
					o.stdin = test.in()
				}
				startPurr(t, o, append(words(test.args), "127.0.0.1", portOf(t, ln.Addr()))...)
				c := acceptTest(t, ln)
				begun := time.Now()
				check(t, drained(c, lasts), begun)
			})
		})
	}
	t.Run("all clients together", func(t *testing.T) {
		t.Parallel()
		fairly(t, slack, func(t testing.TB) {
			p := startPurr(t, opts{}, "-l", "-k", "--rate", "2M", "--send-file", file, "127.0.0.1", "0")
			counts := make(chan int64)
			begun := time.Now()
			for range 4 {
				c := dialTest(t, "tcp", p.addr())
				go func() { counts <- drained(c, lasts) }()
			}
			var all int64
			for range 4 {
				n := <-counts
				all += n
				if n < rate/8 {
					t.Errorf("one client got only %d bytes", n)
				}
			}
			check(t, all, begun)
		})
	})
	t.Run("echo", func(t *testing.T) {
		t.Parallel()
		fairly(t, slack, func(t testing.TB) {
			p := startPurr(t, opts{}, "-l", "-k", "--echo", "--rate", "2M", "127.0.0.1", "0")
			c := dialTest(t, "tcp", p.addr())
			begun := time.Now()
			go func() { _, _ = io.Copy(c, endless{}) }()
			check(t, drained(c, lasts), begun)
			_ = c.Close()
		})
	})
	t.Run("datagrams", func(t *testing.T) {
		t.Parallel()
		fairly(t, slack, func(t testing.TB) {
			conn := listenUDPTest(t)
			startPurr(t, opts{stdin: endless{}}, "-u", "--rate", "2M", "127.0.0.1", portOf(t, conn.LocalAddr()))
			begun := time.Now()
			_ = conn.SetReadDeadline(begun.Add(lasts))
			var n int64
			for b := make([]byte, 1<<16); ; {
				m, err := conn.Read(b)
				if err != nil {
					break
				}
				n += int64(m)
			}
			check(t, n, begun)
		})
	})
	t.Run("datagram echo", func(t *testing.T) {
		t.Parallel()
		p := startPurr(t, opts{}, "-u", "-l", "-k", "--echo", "--rate", "20k", "127.0.0.1", "0")
		c := dialTest(t, "udp", p.addr())
		for range 40 {
			writeAll(t, c, strings.Repeat("x", 1024))
		}
		begun := time.Now()
		_ = c.SetReadDeadline(begun.Add(patience))
		for range 40 {
			readN(t, c, 1024)
		}
		if took := time.Since(begun); took < 1700*time.Millisecond {
			t.Errorf("40 KiB took %v at 20 KiB/s", took)
		}
	})
}

// A small rate is smooth from the first byte on.
func TestSmallRate(t *testing.T) {
	t.Parallel()
	ln := listenTest(t)
	p := startPurr(t, opts{stdin: strings.NewReader(noise(2048))}, "--rate", "1k", "127.0.0.1", portOf(t, ln.Addr()))
	c := acceptTest(t, ln)
	begun := time.Now()
	first := make([]byte, 4096)
	n, err := c.Read(first)
	if err != nil || n > 200 {
		t.Errorf("%d bytes came at once (%v)", n, err)
	}
	rest := readAll(t, c)
	if got := string(first[:n]) + rest; got != noise(2048) {
		t.Errorf("got %d bytes", len(got))
	}
	if took := time.Since(begun); took < 1800*time.Millisecond {
		t.Errorf("2 KiB took %v at 1 KiB/s", took)
	}
	_ = c.Close()
	p.ends(0)
}

// Our own wait is nobody's silence: -w does not end what --rate holds back.
func TestRateIsNotIdle(t *testing.T) {
	t.Parallel()
	const slack = 100 * time.Millisecond
	for _, in := range []string{"pipe", "file"} {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			fairly(t, slack, func(t testing.TB) {
				ln := listenTest(t)
				var stdin io.Reader = strings.NewReader("abcd")
				if in == "file" {
					stdin = opened(t, fileWith(t, "abcd"))
				}
				p := startPurr(t, opts{stdin: stdin}, "--rate", "2", "-w", "0.2", "127.0.0.1", portOf(t, ln.Addr()))
				c := acceptTest(t, ln)
				if got := readAll(t, c); got != "abcd" {
					t.Errorf("got %q", got)
				}
				_ = c.Close()
				p.ends(0)
				p.quiet()
			})
		})
	}
	t.Run("echo", func(t *testing.T) {
		t.Parallel()
		fairly(t, slack, func(t testing.TB) {
			p := startPurr(t, opts{}, "-l", "--echo", "--rate", "2", "-w", "0.2", "127.0.0.1", "0")
			c := dialTest(t, "tcp", p.addr())
			writeAll(t, c, "abcd")
			_ = c.(*net.TCPConn).CloseWrite()
			if got := readAll(t, c); got != "abcd" {
				t.Errorf("got %q", got)
			}
			p.ends(0)
		})
	})
	t.Run("datagrams", func(t *testing.T) {
		t.Parallel()
		fairly(t, slack, func(t testing.TB) {
			server := startPurr(t, opts{}, "-u", "-l", "127.0.0.1", "0")
			p := startPurr(t, opts{stdin: strings.NewReader("a\nb\nc\n")}, "-u", "-i", "0.001", "--rate", "4", "-w", "0.2", "127.0.0.1", server.port())
			server.waitOut(`^a\nb\nc\n$`)
			p.ends(0)
		})
	})
}

// Waiting ends with the session.
func TestRateWaitEnds(t *testing.T) {
	t.Parallel()
	file := fileWith(t, noise(quick))
	for _, args := range []string{"--rate 1", "--rate 1 --upper", "--rate 1 --send-file " + file, "--rate 1 --echo", "--rate 1 -u"} {
		t.Run(strings.TrimSuffix(args, file), func(t *testing.T) {
			t.Parallel()
			if strings.HasSuffix(args, "-u") {
				server := startPurr(t, opts{}, "-u", "-l", "127.0.0.1", "0")
				p := startPurr(t, opts{stdin: strings.NewReader(noise(2 * maxDatagram))}, append(words(args), "127.0.0.1", server.port())...)
				server.waitOut("(?s).")
				checkSignal(t, p, syscall.SIGINT)
				return
			}
			ln := listenTest(t)
			p := startPurr(t, opts{stdin: strings.NewReader(noise(quick))}, append(words(args), "127.0.0.1", portOf(t, ln.Addr()))...)
			c := acceptTest(t, ln)
			writeAll(t, c, "hello")
			readN(t, c, 1)
			checkSignal(t, p, syscall.SIGINT)
		})
	}
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		ln := listenTest(t)
		p := startPurr(t, opts{stdin: strings.NewReader(noise(quick))}, "--rate", "1", "127.0.0.1", portOf(t, ln.Addr()))
		c := acceptTest(t, ln)
		readN(t, c, 1)
		reset(t, c)
		begun := time.Now()
		p.ends(1)
		if took := since(begun); took > promptly() {
			t.Errorf("took %v", took)
		}
		p.complains("connection reset by peer")
	})
}

// The bar: on a terminal, for files, from the first second on; it fits, makes
// way for messages, and is gone at the end.
func TestProgressBar(t *testing.T) {
	t.Parallel()
	path := filepath.Join(socketDir(t), "four\x1b[2Jteen")
	if err := os.WriteFile(path, []byte(noise(7<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newScreen(t)
	s.enter("cd " + filepath.Dir(path))
	const bar = `(?m)^\S*four\\x1b\[2Jteen +\d+% \[=*>? *\] \(\d.* ?/7\.0 MiB, .*iB/s\) ETA \d+s$`
	ln := listenTest(t)
	s.enter("clear; sh -c 'echo $$ >pid; exec purr --rate 2M --send-file four* 127.0.0.1 " + portOf(t, ln.Addr()) + "'; echo STATUS $?")
	c := acceptTest(t, ln)
	counted := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, c)
		_ = c.Close()
		counted <- n
	}()
	s.shows(bar)
	// A message goes above it.
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(path), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("kill", "-USR1", strings.TrimSpace(string(pid))).Run(); err != nil {
		t.Fatal(err)
	}
	s.shows(`(?m)^purr: connected to 127\.0\.0\.1 port \d+; sent \d+ bytes(.*\n){1,3}.*left\n\S*four.*ETA \d+s$`)
	// A narrower terminal gets a shorter one.
	s.tmux("resize-window", "-x", "50", "-y", "24")
	s.shows(`(?m)^four\S* +\d+% \[=*>? *\] \(\d.* ?/7\.0 MiB, .*iB/s\) ETA \d+s$`)
	s.status(0)
	if n := <-counted; n != 7<<20 {
		t.Errorf("sent %d bytes", n)
	}
	// What a terminal has broken when it became narrower stays in the row above.
	if n := strings.Count(s.text(), "% ["); n > 1 || !regexp.MustCompile(`(?m)^STATUS 0\n\$ *\n`).MatchString(s.text()) {
		t.Errorf("the bar is not gone:\n%s", s.text())
	}
}

// Where there is to be no bar there is none: nobody asked, or there is no
// terminal, or it was switched off.
func TestNoProgressBar(t *testing.T) {
	t.Parallel()
	file := fileWith(t, noise(1_400_000))
	for _, flags := range []string{"--no-progress --send-file " + file, "--quiet --send-file " + file, "--json --send-file " + file, "<" + file, "--send-file " + file + " 2>err"} {
		t.Run(strings.ReplaceAll(flags, file, "FILE"), func(t *testing.T) {
			t.Parallel()
			s := newScreen(t)
			s.enter("cd " + s.dir)
			c := s.dial("--rate 1M " + flags)
			seen := ""
			_ = c.SetReadDeadline(time.Now().Add(patience))
			for b := make([]byte, 64<<10); ; {
				n, err := c.Read(b)
				seen += s.text()
				if n == 0 || err != nil {
					break
				}
			}
			_ = c.Close()
			s.status(0)
			if seen += s.text(); strings.Contains(seen, "% [") || strings.Contains(seen, "MiB") {
				t.Errorf("there was a bar:\n%s", s.text())
			}
			if b, _ := os.ReadFile(filepath.Join(s.dir, "err")); strings.Contains(string(b), "%") {
				t.Errorf("said %q", b)
			}
		})
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		columns int
		want    string
	}{
		{"/a/name", 7, "/a/name"}, {"/a/name", 6, "name"}, {"/a/name", 3, "nam"}, {"name", 3, "nam"},
		{"d/ää", 3, "ä"}, {"/a/", 2, ""}, {"name", -1, ""}, {"10.0.0.1 port 9000", 10, "10.0.0.1 p"},
	} {
		if got := fit(test.name, test.columns); got != test.want {
			t.Errorf("%q in %d columns: %q, want %q", test.name, test.columns, got, test.want)
		}
	}
}

// --progress: lines where stderr is no terminal, events under --json.
func TestProgressLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"--progress", `(?m)^purr: 127\.0\.0\.1 port \d+: [0-9.]+ .*iB of [56]\.\d MiB \(\d+ %\), .*iB/s, after 5(\.\d+)?s, 1?\d*s left\n`},
		{"--progress --json", `(?m)^\{"event":"progress","name":"127\.0\.0\.1 port \d+","moved":\d+,"size":6000000,"speed":[0-9.]+,"elapsed":5(\.\d+)?,"left":\d+\}\n`},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			ln := listenTest(t)
			stdin := opened(t, fileWith(t, noise(6_000_000)))
			p := startPurr(t, opts{stdin: stdin}, append(words(test.args), "--rate", "1M", "127.0.0.1", portOf(t, ln.Addr()))...)
			c := acceptTest(t, ln)
			n := drained(c, patience)
			_ = c.Close()
			p.ends(0)
			if n != 6_000_000 {
				t.Errorf("sent %d bytes", n)
			}
			if !regexp.MustCompile(test.want).MatchString(p.err.String()) {
				t.Errorf("said %s, want %s", p.err, test.want)
			}
		})
	}
}
